/** @file Artifacts of a bucket in parts: read by range, and written before their root is known. */
import { randomUUID } from 'node:crypto';
import type { ArtifactRef } from '../protocol/manifest.ts';
import { type Hash, hashSchema } from '../protocol/names.ts';
import { notFound, StoreError, sizeMismatch } from './errors.ts';
import { ArtifactHasher } from './node-hash.ts';
import type { ArtifactWriter, StoreParts } from './port.ts';
import type { S3Bucket, S3Part } from './s3-bucket.ts';
import { storeKey } from './s3-place.ts';

/** What is needed of the store that the artifacts get their names in. */
export interface NamingStore {
  stat(root: Hash): Promise<number | null>;
  write(artifact: ArtifactRef, chunks: AsyncIterable<Uint8Array>): Promise<void>;
  readKey(key: string, range: { readonly from: number; readonly to: number }): AsyncIterable<Uint8Array>;
  readBack(artifact: ArtifactRef): Promise<void>;
}

export interface S3PartsOptions {
  readonly partBytes: number;
  readonly parallelParts: number;
}

/** S3 copies at most so much at once. */
const maxCopyBytes = 5 * 1024 ** 3;

export function s3Parts(bucket: S3Bucket, store: NamingStore, options: S3PartsOptions): StoreParts {
  return {
    read: async ({ root, sizeBytes }, { from, to }, { signal } = {}) => {
      if (!hashSchema.safeParse(root).success) throw notFound(JSON.stringify(root.slice(0, 80)));
      const key = storeKey(root);
      if (to <= from) return new Uint8Array(0);
      const bytes = new Uint8Array(to - from);
      let filled = 0;
      while (filled < bytes.byteLength) {
        const range = { from: from + filled, to: Math.min(to, from + filled + options.partBytes) };
        const answer = await bucket.read(key, range, signal);
        if (answer.totalBytes !== sizeBytes) throw sizeMismatch(root, sizeBytes, answer.totalBytes);
        if (answer.bytes.byteLength !== range.to - range.from)
          throw new StoreError('UNAVAILABLE', `${root}: the server sent less than the range that was asked for`);
        bytes.set(answer.bytes, filled);
        filled += answer.bytes.byteLength;
      }
      return bytes;
    },
    create: async (sizeBytes) => {
      const key = `incoming/own/${randomUUID()}`;
      return new S3Writer({ bucket, store, key, upload: await bucket.begin(key), sizeBytes, ...options });
    },
  };
}

interface WriterParts extends S3PartsOptions {
  readonly bucket: S3Bucket;
  readonly store: NamingStore;
  readonly key: string;
  readonly upload: string;
  readonly sizeBytes: number;
}

/** Into a place of its own, in memory for a few parts; copied to its name when that is known, and read back there. */
class S3Writer implements ArtifactWriter {
  readonly #to: WriterParts;
  readonly #hasher = new ArtifactHasher();
  readonly #puts: Promise<S3Part>[] = [];
  #part: Uint8Array;
  #filled = 0;
  #sizeBytes = 0;

  constructor(to: WriterParts) {
    this.#to = to;
    this.#part = new Uint8Array(to.partBytes);
  }

  async write(bytes: Uint8Array): Promise<void> {
    const { sizeBytes, key } = this.#to;
    this.#sizeBytes += bytes.byteLength;
    if (this.#sizeBytes > sizeBytes) throw sizeMismatch(key, sizeBytes, this.#sizeBytes);
    this.#hasher.update(bytes);
    for (let at = 0; at < bytes.byteLength; ) {
      const piece = bytes.subarray(at, at + this.#part.byteLength - this.#filled);
      this.#part.set(piece, this.#filled);
      this.#filled += piece.byteLength;
      at += piece.byteLength;
      if (this.#filled === this.#part.byteLength) await this.#send();
    }
  }

  async finish() {
    const { bucket, store, key, upload, sizeBytes } = this.#to;
    if (this.#filled > 0 || this.#puts.length === 0) await this.#send();
    if (this.#sizeBytes !== sizeBytes) throw sizeMismatch(key, sizeBytes, this.#sizeBytes);
    const artifact = this.#hasher.finish();
    await bucket.complete(key, upload, await Promise.all(this.#puts));
    const arrived = await bucket.head(key);
    if (arrived === null) throw new StoreError('UNAVAILABLE', `${artifact.root}: what was put together is gone`);
    if ((await store.stat(artifact.root)) !== sizeBytes) {
      if (sizeBytes > maxCopyBytes) await store.write(artifact, store.readKey(key, { from: 0, to: sizeBytes }));
      else {
        await bucket.copy(key, storeKey(artifact.root), arrived.etag);
        await store.readBack(artifact);
      }
    }
    await bucket.delete(key);
    return artifact;
  }

  async abort(): Promise<void> {
    await Promise.allSettled(this.#puts);
    const { bucket, key, upload } = this.#to;
    // What is over already needs no end; a lifecycle rule takes what cannot be reached.
    await bucket.abort(key, upload).catch(() => {});
    await bucket.delete(key).catch(() => {});
  }

  async #send(): Promise<void> {
    const { bucket, key, upload, parallelParts, partBytes } = this.#to;
    const part = this.#part.subarray(0, this.#filled);
    if (this.#puts.length >= parallelParts) await this.#puts[this.#puts.length - parallelParts];
    const put = bucket.putPart({ key, upload, number: this.#puts.length + 1 }, part);
    put.catch(() => {}); // heard of at the end
    this.#puts.push(put);
    this.#part = new Uint8Array(partBytes);
    this.#filled = 0;
  }
}
