/** @file Reading a part of a file, at once and whole: for readers that cannot wait. */
import { closeSync, openSync, readSync } from 'node:fs';

/** Bytes [from, to); null: there is no such file; fewer bytes: the file ends there. Throws what the file system throws. */
export function readFilePart(
  path: string,
  { from, to }: { readonly from: number; readonly to: number },
): Uint8Array | null {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  try {
    const bytes = new Uint8Array(to - from);
    for (let done = 0; done < bytes.length; ) {
      const count = readSync(file, bytes, done, bytes.length - done, from + done);
      if (count === 0) return bytes.subarray(0, done);
      done += count;
    }
    return bytes;
  } finally {
    closeSync(file);
  }
}
