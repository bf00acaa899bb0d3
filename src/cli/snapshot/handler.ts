/** @file Does `accrete snapshot`. */
import { resolve } from 'node:path';
import { UsageError } from '../../util/errors.ts';
import { openRecordedRun } from '../api/recorded-run.ts';
import { writeSnapshotFolder } from '../api/snapshot-folder.ts';
import type { Handler } from '../command.ts';
import { systemClock } from '../environment.ts';

export const handle: Handler = async (settings, io) => {
  if (settings.argument === null) throw new UsageError('expected the folder of a run, e.g. .accrete/run');
  const dir = resolve(io.cwd, settings.argument);
  const out = settings.path('out');
  const merges = settings.count('merges', { min: 0, max: 1_000_000 });
  const claims = settings.count('claims', { min: 0, max: 1_000_000 });
  const releases = settings.count('releases', { min: 0, max: 1_000_000 });
  const recorded = await openRecordedRun({ dir, clock: systemClock });
  try {
    const { files, asOf } = await writeSnapshotFolder(recorded, { dir, out, merges, claims, releases });
    if (settings.switch('json')) io.out(JSON.stringify({ out, files: files.length, entries: asOf.size }));
    else io.out(`${files.length} files of ${asOf.size} entries in ${out}`);
    return 0;
  } finally {
    await recorded.close();
  }
};
