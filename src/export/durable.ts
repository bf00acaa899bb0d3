/** @file Files that are whole or absent: written in full, synced, renamed; and the errors that this can end in. Does file I/O. */
import { type FileHandle, lstat, open } from 'node:fs/promises';
import { ExportError } from './errors.ts';

export async function writeSynced(path: string, write: (file: FileHandle) => Promise<void>): Promise<void> {
  const file = await open(path, 'wx');
  try {
    await write(file);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Makes the entries of a folder durable; platforms that cannot open a folder go without. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => null);
  try {
    await handle?.sync();
  } catch (error) {
    if (!['EPERM', 'EISDIR', 'EINVAL'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  } finally {
    await handle?.close();
  }
}

export async function isPresent(path: string): Promise<boolean> {
  return await lstat(path).then(
    () => true,
    () => false,
  );
}

export function asExportError(cause: unknown, target: string): ExportError {
  if (cause instanceof ExportError) return cause;
  const { code, message } = cause as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new ExportError('DISK_FULL', `${target}: the disk is full; nothing was written`, { cause, retryable: true });
  if (code === 'ENOTEMPTY' || code === 'EEXIST')
    return new ExportError('TARGET_EXISTS', `${target} appeared while it was being written`, { cause });
  return new ExportError('WRITE_FAILED', `${target}: ${message}`, { cause });
}
