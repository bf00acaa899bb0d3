/** @file Writing all of the bytes: one call may write a part of them only, on a disk that fills up the first part without an error. */
import type { FileHandle } from 'node:fs/promises';

/** The greatest length that every platform's call takes. */
const maxWriteBytes = 2 ** 30;

/** `position`: in the file; null: where it stands. Throws what the file system throws; then a part may be written. */
export async function writeAll(file: FileHandle, bytes: Uint8Array, position: number | null = null): Promise<void> {
  for (let done = 0; done < bytes.byteLength; ) {
    const length = Math.min(bytes.byteLength - done, maxWriteBytes);
    const { bytesWritten } = await file.write(bytes, done, length, position === null ? null : position + done);
    done += bytesWritten;
  }
}
