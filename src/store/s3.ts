/**
 * @file The store in an S3 bucket, for who has its credentials: `PREFIX/store/ROOT`, so that a public bucket (or any mirror of
 * it) is itself a store over HTTP. Large artifacts are written in parts and read in parallel ranges, with memory for a few
 * parts; each is written once. What a server may not check is read back: an object put together from parts.
 */
import type { ArtifactRef } from '../protocol/manifest.ts';
import { type Hash, hashSchema } from '../protocol/names.ts';
import { hashMismatch, notFound, StoreError, sizeMismatch } from './errors.ts';
import { ArtifactHasher, checkArtifact, hashArtifact } from './node-hash.ts';
import type { Store, StoreParts } from './port.ts';
import type { S3Bucket, S3Part } from './s3-bucket.ts';
import { s3Parts } from './s3-parts.ts';
import { storeKey } from './s3-place.ts';

export interface S3StoreOptions {
  /** What is read and written at once; S3 wants at least 5 MiB. */
  readonly partBytes?: number;
  readonly parallelParts?: number;
  /** Refused before memory is taken for it. */
  readonly maxArtifactBytes?: number;
}

type Chunks = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/** S3 takes 10,000. */
const maxParts = 9_000;

/** What was found damaged, until its lifecycle rule takes it. */
const damagedKey = (root: Hash): string => `damaged/${root}`;

export class S3Store implements Store {
  readonly parts: StoreParts;
  readonly #bucket: S3Bucket;
  readonly #partBytes: number;
  readonly #parallelParts: number;
  readonly #maxArtifactBytes: number;

  constructor(bucket: S3Bucket, options: S3StoreOptions = {}) {
    this.#bucket = bucket;
    this.#partBytes = options.partBytes ?? 16 * 1024 ** 2;
    this.#parallelParts = options.parallelParts ?? 4;
    this.#maxArtifactBytes = options.maxArtifactBytes ?? 2 * 1024 ** 3;
    this.parts = s3Parts(bucket, this, { partBytes: this.#partBytes, parallelParts: this.#parallelParts });
  }

  async put(expected: ArtifactRef, bytes: Uint8Array, options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    options.signal?.throwIfAborted();
    checkArtifact(expected, bytes);
    if (bytes.byteLength > this.#partBytes) return this.write(expected, [bytes], options);
    if (!(await this.#makeRoom(expected, options.signal))) return;
    // The server checks the body's SHA-256, which is signed. Whoever was faster wrote the same bytes.
    await this.#bucket.put(storeKey(expected.root), bytes, options.signal);
  }

  /** `put` of bytes that come in chunks, with memory for a few parts. An artifact that is there is not read again. */
  async write(
    expected: ArtifactRef,
    chunks: Chunks,
    { signal }: { readonly signal?: AbortSignal } = {},
  ): Promise<void> {
    signal?.throwIfAborted();
    if (!(await this.#makeRoom(expected, signal))) return;
    const key = storeKey(expected.root);
    const upload = await this.#bucket.begin(key, signal);
    let isNew: boolean;
    try {
      const parts = await this.#putParts({ key, upload, expected, chunks, signal });
      isNew = await this.#bucket.complete(key, upload, parts, signal);
    } catch (error) {
      await this.#bucket.abort(key, upload).catch(() => {}); // a lifecycle rule takes what is left
      throw error;
    }
    if (!isNew) await this.#bucket.abort(key, upload).catch(() => {});
    await this.readBack(expected, signal);
  }

  async get(artifact: ArtifactRef, { signal }: { readonly signal?: AbortSignal } = {}): Promise<Uint8Array> {
    const { root, sizeBytes } = artifact;
    signal?.throwIfAborted();
    if (sizeBytes > this.#maxArtifactBytes)
      throw new StoreError(
        'TOO_LARGE',
        `${root}: expected at most ${this.#maxArtifactBytes} bytes, its name says ${sizeBytes}`,
      );
    const key = keyOf(root);
    const actual = await this.#bucket.head(key, signal);
    if (actual === null) throw notFound(root);
    if (actual.sizeBytes !== sizeBytes) throw sizeMismatch(root, sizeBytes, actual.sizeBytes);
    const bytes = await this.#fetch(key, sizeBytes, signal);
    const found = hashArtifact(bytes);
    if (found.root === root) return bytes;
    // Damage on the way is gone at the second look; then it is the server's, and makes way for a good copy.
    const again = await this.#fetch(key, sizeBytes, signal);
    if (hashArtifact(again).root === root) return again;
    await this.#setAside(root, actual.etag);
    throw hashMismatch(root, found.root);
  }

  /** The bytes [from, to) in order, unchecked, by ranges that are read ahead: for handing on to a reader who checks. */
  read(root: Hash, range: { readonly from: number; readonly to: number }): AsyncIterable<Uint8Array> {
    return this.readKey(keyOf(root), range);
  }

  async *readKey(
    key: string,
    { from, to }: { readonly from: number; readonly to: number },
    signal?: AbortSignal,
  ): AsyncIterable<Uint8Array> {
    const ahead: Promise<{ readonly bytes: Uint8Array }>[] = [];
    try {
      for (let at = from; at < to || ahead.length > 0; ) {
        while (at < to && ahead.length < this.#parallelParts) {
          const part = this.#bucket.read(key, { from: at, to: Math.min(to, at + this.#partBytes) }, signal);
          part.catch(() => {}); // heard of when its turn comes
          ahead.push(part);
          at += this.#partBytes;
        }
        yield (await ahead.shift()!).bytes;
      }
    } finally {
      await Promise.allSettled(ahead);
    }
  }

  /** What an object hashes to, in memory for a few parts. */
  async hashOf(key: string, sizeBytes: number, signal?: AbortSignal): Promise<ArtifactRef> {
    const hasher = new ArtifactHasher();
    for await (const chunk of this.readKey(key, { from: 0, to: sizeBytes }, signal)) hasher.update(chunk);
    return hasher.finish();
  }

  async stat(root: Hash): Promise<number | null> {
    if (!hashSchema.safeParse(root).success) return null;
    return (await this.#bucket.head(storeKey(root)))?.sizeBytes ?? null;
  }

  async remove(root: Hash): Promise<boolean> {
    if ((await this.stat(root)) === null) return false;
    await this.#bucket.delete(storeKey(root));
    return true;
  }

  /** False if the artifact is there already; what has its name and another size makes way. */
  async #makeRoom({ root, sizeBytes }: ArtifactRef, signal: AbortSignal | undefined): Promise<boolean> {
    const actual = await this.#bucket.head(keyOf(root), signal);
    if (actual === null) return true;
    if (actual.sizeBytes === sizeBytes) return false;
    await this.#setAside(root, actual.etag);
    return true;
  }

  async #fetch(key: string, sizeBytes: number, signal: AbortSignal | undefined): Promise<Uint8Array> {
    const bytes = new Uint8Array(sizeBytes);
    let filled = 0;
    for await (const chunk of this.readKey(key, { from: 0, to: sizeBytes }, signal)) {
      bytes.set(chunk, filled);
      filled += chunk.byteLength;
    }
    return bytes;
  }

  async #putParts(upload: Upload): Promise<readonly S3Part[]> {
    const { key, expected, signal } = upload;
    const partBytes = this.#partBytesFor(expected.sizeBytes);
    const hasher = new ArtifactHasher();
    const parts: Promise<S3Part>[] = [];
    let sizeBytes = 0;
    try {
      for await (const part of partsOf(upload, partBytes)) {
        sizeBytes += part.byteLength;
        hasher.update(part);
        // The oldest must have left before another is taken in.
        if (parts.length >= this.#parallelParts) await parts[parts.length - this.#parallelParts];
        const put = this.#bucket.putPart({ key, upload: upload.upload, number: parts.length + 1 }, part, signal);
        put.catch(() => {}); // heard of below
        parts.push(put);
      }
      if (sizeBytes !== expected.sizeBytes) throw sizeMismatch(expected.root, expected.sizeBytes, sizeBytes);
      const { root } = hasher.finish();
      if (root !== expected.root) throw hashMismatch(expected.root, root);
      return await Promise.all(parts);
    } catch (error) {
      await Promise.allSettled(parts); // else a late part outlives the end of its upload
      throw error;
    }
  }

  #partBytesFor(sizeBytes: number): number {
    const mebibyte = 1024 ** 2;
    return Math.max(this.#partBytes, Math.ceil(sizeBytes / maxParts / mebibyte) * mebibyte);
  }

  /** @throws StoreError HASH_MISMATCH if what lies under the artifact's name is another thing, which is set aside */
  async readBack({ root, sizeBytes }: ArtifactRef, signal?: AbortSignal): Promise<void> {
    const actual = await this.#bucket.head(storeKey(root), signal);
    if (actual === null) throw notFound(root);
    if (actual.sizeBytes === sizeBytes && (await this.hashOf(storeKey(root), sizeBytes, signal)).root === root) return;
    await this.#setAside(root, actual.etag);
    throw new StoreError('HASH_MISMATCH', `${root}: the server put other bytes together than were sent; try again`, {
      retryable: true,
    });
  }

  /** `etag`: of what was found wrong; what another has mended meanwhile stays. */
  async #setAside(root: Hash, etag: string): Promise<void> {
    if ((await this.#bucket.copy(storeKey(root), damagedKey(root), etag)) === null) return;
    if ((await this.#bucket.head(storeKey(root)))?.etag === etag) await this.#bucket.delete(storeKey(root));
  }
}

interface Upload {
  readonly key: string;
  readonly upload: string;
  readonly expected: ArtifactRef;
  readonly chunks: Chunks;
  readonly signal: AbortSignal | undefined;
}

/** Chunks of any size as parts of one size, the last shorter; never more bytes than expected. An empty artifact is one part. */
async function* partsOf({ expected, chunks, signal }: Upload, partBytes: number): AsyncIterable<Uint8Array> {
  let part = new Uint8Array(Math.min(partBytes, expected.sizeBytes));
  let filled = 0;
  let sizeBytes = 0;
  for await (const chunk of chunks) {
    signal?.throwIfAborted();
    sizeBytes += chunk.byteLength;
    if (sizeBytes > expected.sizeBytes) throw sizeMismatch(expected.root, expected.sizeBytes, sizeBytes);
    for (let at = 0; at < chunk.byteLength; ) {
      const piece = chunk.subarray(at, at + part.byteLength - filled);
      part.set(piece, filled);
      filled += piece.byteLength;
      at += piece.byteLength;
      if (filled < part.byteLength) continue;
      yield part;
      part = new Uint8Array(Math.min(partBytes, Math.max(1, expected.sizeBytes - sizeBytes + chunk.byteLength - at)));
      filled = 0;
    }
  }
  if (filled > 0 || sizeBytes === 0) yield part.subarray(0, filled);
}

function keyOf(root: Hash): string {
  if (!hashSchema.safeParse(root).success) throw notFound(JSON.stringify(root.slice(0, 80)));
  return storeKey(root);
}
