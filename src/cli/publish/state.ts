/** @file What was published last, and where, by target: what the next publishing checks the branch against. Does file I/O. */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { z } from 'zod';
import type { LastPublished } from '../../publish/port.ts';
import { UsageError } from '../../util/errors.ts';

const stateSchema = z.strictObject({
  version: z.literal(1),
  targets: z.record(
    z.string(),
    z.strictObject({
      revision: z.string().max(100),
      tag: z.string().max(100),
      files: z.array(z.string().max(1_000)).max(100_000),
    }),
  ),
});
type State = z.infer<typeof stateSchema>;

export async function readLast(path: string, target: string): Promise<LastPublished | null> {
  return (await read(path)).targets[target] ?? null;
}

export async function writeLast(path: string, target: string, last: LastPublished): Promise<void> {
  const state = await read(path);
  const next = { ...state, targets: { ...state.targets, [target]: { ...last, files: [...last.files] } } };
  const temporary = `${path}.${process.pid}`;
  await writeFile(temporary, `${JSON.stringify(next, null, 2)}\n`);
  await rename(temporary, path);
}

async function read(path: string): Promise<State> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (text === null) return { version: 1, targets: {} };
  try {
    return stateSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new UsageError(
      `${path} is damaged; remove it, look at what is published, and give the branch's commit with --parent`,
      { cause },
    );
  }
}
