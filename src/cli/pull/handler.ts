/** @file Does `accrete pull`. */
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { UsageError } from '../../util/errors.ts';
import { releaseOf } from '../checkpoint-place.ts';
import type { Handler } from '../command.ts';
import { formatBytes } from '../output.ts';
import { typedPath } from '../paths.ts';
import { interruptedExitCode } from '../speech.ts';
import { bring, openSource, originOf, ownPlace } from './place.ts';

export const handle: Handler = async (settings, io) => {
  if (settings.argument === null) throw new UsageError("say what to fetch: a run's URL, or owner/name of a repository");
  const isJson = settings.switch('json');
  const parallel = settings.count('parallel', { min: 1, max: 64 });
  const choice = {
    release: releaseOf(settings),
    revision: settings.isGiven('revision') ? settings.text('revision') : null,
    takesAll: settings.switch('all'),
  };
  if (choice.release !== null && choice.revision !== null)
    throw new UsageError('--release and --revision exclude each other');
  try {
    const source = await openSource(originOf(settings.argument), choice, io);
    const target = settings.has('out') ? settings.path('out') : ownPlace(source);
    if (!settings.has('out')) await mkdir(dirname(target), { recursive: true });
    const report = await bring(source, target, { parallel, io, isQuiet: isJson });
    if (isJson) io.out(JSON.stringify({ folder: target, source: source.name, ...report }));
    else
      io.out(
        `${typedPath(target, io.cwd)}: ${source.name}, ${report.files} files, ${formatBytes(report.totalBytes)}, ` +
          `each checked; ${formatBytes(report.fetchedBytes)} fetched now`,
      );
    return 0;
  } catch (error) {
    if (!io.stop.aborted) throw error;
    io.err('stopped; the same command goes on from here');
    return interruptedExitCode;
  }
};
