/** @file The terminal of a command under test: what it says is kept, nobody stops it. */
import type { Io } from '../../src/cli/io.ts';

export function testIo({ cwd }: { readonly cwd: string }) {
  const [lines, errors]: [string[], string[]] = [[], []];
  const never = new AbortController().signal;
  const io: Io = {
    out: (line) => void lines.push(line),
    write: (text) => void lines.push(text),
    err: (line) => void errors.push(line),
    terminal: null,
    environment: {},
    ...{ cwd, stop: never, force: never },
  };
  return { io, lines, errors };
}
