/** @file What to type after a run, for its summary: with the checkpoint, with its GGUF files in other programs, to train on. */
import { ggufCommands } from '../export/gguf-commands.ts';
import { typedPath } from '../paths.ts';
import type { UpOptions } from './options.ts';

export interface RunResults {
  /** Null: none yet. */
  readonly checkpoint: string | null;
  readonly ggufFiles: readonly string[];
}

export function nextCommands(
  { checkpoint, ggufFiles }: RunResults,
  { chosen: run, preset, seed, dir }: Pick<UpOptions, 'chosen' | 'preset' | 'seed' | 'dir'>,
  cwd: string,
): readonly string[] {
  // Phases end a run of a file; a limit of its own lets it train past them.
  const asked = run === null ? `--preset ${preset} --seed ${seed}` : `${run.arguments.join(' ')} --tokens 0`;
  const resume = `./bin/accrete up ${asked} --dir ${typedPath(dir, cwd)}     # trains on`;
  if (checkpoint === null) return [resume];
  const generate = `./bin/accrete generate --checkpoint ${typedPath(checkpoint, cwd)} --prompt "The people of"`;
  // Of several the one that is small and next to exact.
  const chosen = ggufFiles.find((file) => file.includes('Q8_0')) ?? ggufFiles[0];
  return [generate, ...(chosen === undefined ? [] : ggufCommands(chosen, cwd)), resume];
}
