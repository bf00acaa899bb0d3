/** @file A source's file as a stream of bytes: plain, gzip or Zstandard, told by its first bytes. Bounded memory; does file I/O. */
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { createGunzip } from 'node:zlib';
import { DataError } from '../errors.ts';
import { ZstdStream } from './zstd.ts';

export type Packing = 'plain' | 'gzip' | 'zstd' | 'parquet';

/** What the file's first bytes say that it is. @throws DataError NOT_FOUND */
export async function packingOf(path: string): Promise<Packing> {
  const file = await open(path, 'r').catch((cause: NodeJS.ErrnoException) => {
    throw new DataError('NOT_FOUND', `${path}: the file cannot be opened (${cause.code})`, { cause });
  });
  try {
    const head = Buffer.alloc(4);
    const { bytesRead } = await file.read(head, 0, 4, 0);
    if (bytesRead >= 2 && head[0] === 0x1f && head[1] === 0x8b) return 'gzip';
    if (bytesRead === 4 && head.readUInt32LE() === 0xfd2fb528) return 'zstd';
    if (bytesRead === 4 && head.toString('latin1') === 'PAR1') return 'parquet';
    return 'plain';
  } finally {
    await file.close();
  }
}

/** Decompressed bytes in order. @throws DataError TRUNCATED, DAMAGED */
export async function* inputBytes(path: string): AsyncGenerator<Uint8Array> {
  const packing = await packingOf(path);
  if (packing === 'gzip') yield* gunzipped(path);
  else if (packing === 'zstd') yield* unzstded(path);
  else yield* createReadStream(path, { highWaterMark: 1 << 18 }) as AsyncIterable<Buffer>;
}

async function* gunzipped(path: string): AsyncGenerator<Uint8Array> {
  const file = createReadStream(path, { highWaterMark: 1 << 18 });
  const gunzip = createGunzip({ chunkSize: 1 << 18 });
  file.on('error', (error) => gunzip.destroy(error));
  file.pipe(gunzip);
  try {
    yield* gunzip as AsyncIterable<Buffer>;
  } catch (cause) {
    throw unreadable(path, 'gzip', cause as NodeJS.ErrnoException);
  } finally {
    file.destroy();
    gunzip.destroy();
  }
}

async function* unzstded(path: string): AsyncGenerator<Uint8Array> {
  let ready: Uint8Array[] = [];
  const stream = await ZstdStream.open((bytes) => ready.push(bytes));
  try {
    // Small steps: a step may decompress to thousands of times its size.
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 15 })) {
      stream.push(chunk as Buffer);
      const given = ready;
      ready = [];
      yield* given;
    }
    stream.end();
  } catch (cause) {
    throw unreadable(path, 'Zstandard', cause as Error);
  }
}

function unreadable(path: string, kind: string, cause: NodeJS.ErrnoException): DataError {
  if (cause instanceof DataError) return cause;
  const isCut = /unexpected end|middle of a frame|unexpected EOF/i.test(cause.message);
  return isCut
    ? new DataError('TRUNCATED', `${path}: the ${kind} data is cut short; fetch or copy the file again`, { cause })
    : new DataError('DAMAGED', `${path}: the ${kind} data cannot be read (${cause.message}); fetch it again`, {
        cause,
      });
}
