/** @file Does `accrete publish`: progress on standard error, then where the release is. */
import { readdir, rm, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { JournalError } from '../../journal/errors.ts';
import { type FolderLock, lockFolder } from '../../journal/folder-lock.ts';
import { UsageError } from '../../util/errors.ts';
import type { Handler } from '../command.ts';
import { gather, type Place, placeOf } from './gather.ts';
import { openTarget, parsePublishOptions } from './options.ts';
import { readLast, writeLast } from './state.ts';

export const handle: Handler = async (settings, io) => {
  const options = parsePublishOptions(settings, io.cwd);
  const target = await openTarget(options.to, io, options);
  const place = await placeOf(options.checkpoint);
  const last = await readLast(place.state, target.name);
  const lock = await hold(place);
  try {
    const say = (sentence: string) => io.err(sentence);
    const publication = await gather(options, place, { signal: io.stop, onProgress: () => {}, say });
    say(`publishing ${publication.files.length} files to ${target.name} as ${publication.tag}`);
    const parent = options.parent === null ? {} : { parent: options.parent };
    const { revision, url, isKnown, isHead } = await target.publish(publication, {
      last,
      ...parent,
      signal: io.stop,
      say,
    });
    // A release from before the last one, published again, does not move the branch.
    if (isHead)
      await writeLast(place.state, target.name, {
        ...{ revision, tag: publication.tag },
        files: publication.files.map(({ path }) => path),
      });
    // What is published needs no copy here.
    for (const path of await exportsIn(place.stage)) await rm(path, { recursive: true, force: true });
    if (settings.switch('json'))
      io.out(JSON.stringify({ target: target.name, tag: publication.tag, revision, url, isKnown }));
    else io.out(isKnown ? `${url}: published already, nothing to do` : `${url}: published`);
    return 0;
  } finally {
    await lock.release();
    await removeEmpty(place);
  }
};

/** Of the stage; the lock, which lies there too, may be another process's by now. */
const exportsIn = async (stage: string): Promise<string[]> =>
  (await readdir(stage).catch(() => [])).filter((name) => !name.startsWith('lock')).map((name) => join(stage, name));

/** Exports that were written stay until they are published; folders without any do not. */
async function removeEmpty({ stage, runDir }: Place): Promise<void> {
  const folders = [...(await exportsIn(stage)), stage, ...(runDir === null ? [] : [dirname(stage)])];
  for (const folder of folders) await rmdir(folder).catch(() => {});
}

/** Two at once would write into each other's exports. The lock lies in the folder of exports. */
async function hold({ stage, checkpoint }: Place): Promise<FolderLock> {
  return await lockFolder(stage).catch((cause: unknown) => {
    if (!(cause instanceof JournalError) || cause.code !== 'LOCKED') throw cause;
    throw new UsageError(`${checkpoint} is being published by another accrete publish (${dirname(stage)})`, { cause });
  });
}
