/**
 * @file A learner's state on disk: `learner.safetensors` in its folder. Written beside it under another name, synced and
 * renamed, so that the one before stays whole until the new one is; read only up to the size that it can have.
 */
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { UsageError } from '../../util/errors.ts';

const fileName = 'learner.safetensors';

/** Makes `folder` where it is absent. */
export function writeLearnerFile(folder: string, bytes: Uint8Array): void {
  mkdirSync(folder, { recursive: true });
  const temporary = join(folder, `.${fileName}.partial-${process.pid}`);
  try {
    const file = openSync(temporary, 'w');
    try {
      for (let done = 0; done < bytes.byteLength; )
        done += writeSync(file, bytes, done, Math.min(bytes.byteLength - done, 2 ** 30));
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, join(folder, fileName));
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  syncFolder(folder);
}

/** @throws UsageError where the file is absent or larger than `maxBytes` */
export function readLearnerFile(folder: string, maxBytes: number): Uint8Array {
  const path = join(folder, fileName);
  const info = statSync(path, { throwIfNoEntry: false });
  if (info === undefined)
    throw new UsageError(`--resume ${folder}: there is no ${fileName}; give the folder of an earlier --save`);
  if (info.size > maxBytes)
    throw new UsageError(`--resume ${folder}: ${info.size} bytes; this model's state has at most ${maxBytes}`);
  return readFileSync(path);
}

/** Makes the rename durable; platforms that cannot open a folder go without. */
function syncFolder(folder: string): void {
  let handle: number;
  try {
    handle = openSync(folder, 'r');
  } catch {
    return;
  }
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
