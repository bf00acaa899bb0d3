/**
 * @file Uploads into a bucket by people without credentials. Who may store an artifact is given requests that are presigned for
 * a place of their own, `PREFIX/incoming/ROOT/LEARNER`, bound to size, SHA-256 and time. A server checks no root, so what lies
 * there is nobody's artifact: it is read back, hashed, and only then copied to its name. So nobody can take another's
 * name with other bytes, and what readers see was right when it was named.
 */

import type { ArtifactRef } from '../protocol/manifest.ts';
import { uploadPartBytes } from '../protocol/messages.ts';
import type { Hash, LearnerId } from '../protocol/names.ts';
import type { Log } from '../util/clock.ts';
import { StoreError } from './errors.ts';
import { hashArtifact } from './node-hash.ts';
import type { Store, WriteGrant } from './port.ts';
import { presignedToken } from './presigned.ts';
import type { S3Store } from './s3.ts';
import type { PresignedRequest, S3Bucket } from './s3-bucket.ts';
import { storeKey } from './s3-place.ts';

export interface S3UploadsOptions {
  readonly nowMs: () => number;
  readonly log: Log;
  readonly grantMs: number;
  /** S3 wants at least 5 MiB; the asker's hashes are of such parts. */
  readonly partBytes?: number;
  /** What is larger is written through this process: S3 copies at most 5 GiB at once. */
  readonly maxCopyBytes?: number;
}

export interface UploadRequest {
  readonly artifact: ArtifactRef;
  readonly learner: LearnerId;
  /** SHA-256 of each part, as the asker says. */
  readonly parts: readonly Hash[] | undefined;
}

interface Pending {
  readonly artifact: ArtifactRef;
  readonly key: string;
  readonly learner: LearnerId;
  /** Null: one request for all. */
  readonly upload: string | null;
  readonly partCount: number;
  readonly expiresAtMs: number;
}

/** Known uploads are forgotten so long after their grants: a new grant brings them back. */
const forgetMs = 600_000;

export class S3Uploads {
  readonly #bucket: S3Bucket;
  readonly #store: S3Store;
  readonly #options: S3UploadsOptions;
  readonly #partBytes: number;
  readonly #pending = new Map<Hash, Map<string, Pending>>();
  readonly #admitting = new Map<Hash, Promise<number | null>>();

  constructor(parts: { readonly bucket: S3Bucket; readonly store: S3Store }, options: S3UploadsOptions) {
    this.#bucket = parts.bucket;
    this.#store = parts.store;
    this.#options = options;
    this.#partBytes = options.partBytes ?? uploadPartBytes;
  }

  /** The owner's store, which takes in what was uploaded when it is asked whether it is there. */
  get store(): Store {
    const store = this.#store;
    return {
      put: (expected, bytes, options) => store.put(expected, bytes, options),
      get: (artifact, options) => store.get(artifact, options),
      stat: (root) => this.stat(root),
      parts: store.parts,
      remove: (root) => store.remove(root),
    };
  }

  /** @throws StoreError FORBIDDEN if the parts' hashes are not those of an upload of this size */
  async grant({ artifact, learner, parts }: UploadRequest): Promise<WriteGrant> {
    const { root, sizeBytes } = artifact;
    const count = Math.max(1, Math.ceil(sizeBytes / this.#partBytes));
    if (parts?.length !== count) {
      const sentence = `${root}: expected the SHA-256 of ${count} parts of ${this.#partBytes} bytes, got ${parts?.length ?? 'none'}; is this program older than the orchestrator?`;
      throw new StoreError('FORBIDDEN', sentence);
    }
    this.#forget();
    const key = `incoming/${root}/${hashArtifact(Buffer.from(`${learner} ${sizeBytes}`)).root.slice(0, 32)}`;
    const upload = count === 1 ? null : ((await this.#bucket.uploads(key))[0] ?? (await this.#bucket.begin(key)));
    const expiresAtMs = this.#options.nowMs() + this.#options.grantMs;
    const requests: PresignedRequest[] = [];
    for (const [i, sha256] of parts.entries()) {
      const size = Math.min(this.#partBytes, sizeBytes - i * this.#partBytes);
      const terms = { sizeBytes: size, sha256, expiresInSeconds: Math.ceil(this.#options.grantMs / 1_000) };
      requests.push(
        upload === null
          ? await this.#bucket.presignPut(key, terms)
          : await this.#bucket.presignPart({ key, upload, number: i + 1 }, terms),
      );
    }
    const pending = this.#pending.get(root) ?? new Map<string, Pending>();
    pending.set(key, { artifact, key, learner, upload, partCount: count, expiresAtMs });
    this.#pending.set(root, pending);
    const token = presignedToken({
      version: 1,
      partBytes: this.#partBytes,
      requests: requests.map(({ url, headers }) => ({ url, headers: { ...headers } })),
    });
    return { artifact, token, expiresAtMs };
  }

  /** Size of an artifact, also of one whose upload has just ended. */
  async stat(root: Hash): Promise<number | null> {
    // Who asks meanwhile hears the same: a copy is there for nobody before it is known to be right.
    const admitting = this.#admitting.get(root);
    if (admitting !== undefined) return admitting;
    if (!this.#pending.has(root)) return this.#store.stat(root);
    const looking = this.#look(root).finally(() => this.#admitting.delete(root));
    this.#admitting.set(root, looking);
    return looking;
  }

  async #look(root: Hash): Promise<number | null> {
    return (await this.#store.stat(root)) ?? this.#admitAny(root);
  }

  async #admitAny(root: Hash): Promise<number | null> {
    for (const pending of [...this.#pending.get(root)!.values()]) {
      if (!(await this.#admit(pending))) continue;
      this.#pending.delete(root);
      return pending.artifact.sizeBytes;
    }
    return null;
  }

  /** False if nothing has arrived, or other bytes than promised, which are deleted. */
  async #admit(pending: Pending): Promise<boolean> {
    const { artifact, key, learner } = pending;
    if (pending.upload !== null && !(await this.#putTogether(pending, pending.upload))) return false;
    const arrived = await this.#bucket.head(key);
    if (arrived === null) return false;
    const isRight =
      arrived.sizeBytes === artifact.sizeBytes &&
      (await this.#store.hashOf(key, artifact.sizeBytes)).root === artifact.root;
    if (!isRight) {
      this.#options.log.warn('an upload is not what its grant is for', { root: artifact.root, learner });
      await this.#bucket.delete(key);
      return false;
    }
    const { maxCopyBytes = 5 * 1024 ** 3 } = this.#options;
    if (artifact.sizeBytes > maxCopyBytes)
      await this.#store.write(artifact, this.#store.readKey(key, { from: 0, to: artifact.sizeBytes }));
    else {
      const copied = await this.#bucket.copy(key, storeKey(artifact.root), arrived.etag);
      if (copied === null) return false;
      // Not surely of what was just hashed: the place is the learner's, and not all servers look at the condition.
      if (bare(copied) !== bare(arrived.etag) && !(await this.#isRight(artifact))) return false;
    }
    await this.#bucket.delete(key);
    return true;
  }

  /** What is wrong is set aside. */
  async #isRight(artifact: ArtifactRef): Promise<boolean> {
    try {
      await this.#store.readBack(artifact);
      return true;
    } catch (error) {
      if (error instanceof StoreError && error.code === 'HASH_MISMATCH') return false;
      throw error;
    }
  }

  /** False while parts are missing. */
  async #putTogether({ key, artifact, partCount }: Pending, upload: string): Promise<boolean> {
    const found = await this.#bucket.parts(key, upload, partCount);
    // Over already: it was put together before an answer got lost.
    if (found === null) return true;
    if (found.parts.length !== partCount || found.sizeBytes !== artifact.sizeBytes) return false;
    await this.#bucket.complete(key, upload, found.parts);
    return true;
  }

  #forget(): void {
    const nowMs = this.#options.nowMs();
    for (const [root, pending] of this.#pending) {
      for (const [key, { expiresAtMs }] of pending) if (nowMs > expiresAtMs + forgetMs) pending.delete(key);
      if (pending.size === 0) this.#pending.delete(root);
    }
  }
}

/** Servers differ in whether they quote it. */
const bare = (etag: string): string => etag.replaceAll('"', '');
