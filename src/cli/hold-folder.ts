/** @file A folder is one process's: a second one with the same keys and state would contradict the first. */
import { JournalError } from '../journal/errors.ts';
import { type FolderLock, lockFolder } from '../journal/folder-lock.ts';
import { UsageError } from '../util/errors.ts';

/** @throws UsageError if another live process holds the folder */
export async function holdFolder(dir: string, command: string): Promise<FolderLock> {
  return await lockFolder(dir).catch((cause) => {
    throw asUsage(cause, dir, command);
  });
}

/** Two processes in one folder is the operator's mistake; everything else stays what it was. */
export function asUsage(error: unknown, dir: string, command: string): unknown {
  if (!(error instanceof JournalError) || error.code !== 'LOCKED') return error;
  const sentence = `${dir} is in use by another ${command} (${error.message}); stop that one, or choose another folder with --dir`;
  return new UsageError(sentence, { cause: error });
}
