/** @file Does `accrete export`. */

import { existsSync } from 'node:fs';
import { rmdir } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { ExportError } from '../../export/errors.ts';
import { partialFolderOf } from '../../export/staged.ts';
import { JournalError } from '../../journal/errors.ts';
import { type FolderLock, lockFolder } from '../../journal/folder-lock.ts';
import { UsageError } from '../../util/errors.ts';
import { locateCheckpoint } from '../checkpoint-place.ts';
import type { Handler } from '../command.ts';
import { typedPath } from '../paths.ts';
import { parseExportOptions } from './options.ts';
import { progressBar } from './progress.ts';
import { openSource } from './source.ts';
import type { ExportTarget, ExportTargetName } from './targets.ts';

const targets: { readonly [N in ExportTargetName]: () => Promise<ExportTarget> } = {
  hf: async () => (await import('./to-hf.ts')).toHf,
  gguf: async () => (await import('./to-gguf.ts')).toGguf,
  mlx: async () => (await import('./to-mlx.ts')).toMlx,
};

export const handle: Handler = async (settings, io) => {
  const parsed = parseExportOptions(settings);
  const target = await targets[parsed.to]();
  // Also said when it would be written; here before what may take long.
  if (existsSync(parsed.out))
    throw new ExportError('TARGET_EXISTS', `${parsed.out} is there already; choose another name or remove it`);
  const checkpoint = await locateCheckpoint(settings, io);
  const options = { ...parsed, checkpoint, name: parsed.name ?? basename(checkpoint) };
  const source = await openSource(options.checkpoint, options.name);
  const bar = process.stderr.isTTY && !settings.switch('json') ? progressBar(process.stderr) : null;
  try {
    const lock = await holdPartial(options.out);
    try {
      const run = {
        signal: io.stop,
        onProgress: (progress: Parameters<NonNullable<typeof bar>['update']>[0]) => bar?.update(progress),
        say: (sentence: string) => io.err(sentence),
      };
      const { fields, sentence, next } = await target(options, source, run);
      bar?.close();
      if (settings.switch('json')) io.out(JSON.stringify({ file: options.out, ...fields }));
      else {
        io.out(`${typedPath(options.out, io.cwd)}: ${sentence}`);
        for (const line of ['', 'Type next:', ...next(io.cwd).map((command) => `  ${command}`)]) io.out(line);
      }
      return 0;
    } finally {
      await lock?.release();
      // What an interrupted export left stays.
      await rmdir(partialFolderOf(options.out)).catch(() => {});
    }
  } finally {
    bar?.close();
    await source.close();
  }
};

/** Two exports to one path would write into each other's files. Null: there is no folder to lie in; the export says so. */
async function holdPartial(out: string): Promise<FolderLock | null> {
  if (!existsSync(dirname(out))) return null;
  return await lockFolder(partialFolderOf(out)).catch((cause: unknown) => {
    if (!(cause instanceof JournalError) || cause.code !== 'LOCKED') throw cause;
    throw new UsageError(`--out: ${out} is being written by another accrete export (${cause.message})`, { cause });
  });
}
