/** @file The newest artifacts that were read and checked, up to a bound of bytes: a claim's bytes are read once for all checks. */
import type { ArtifactRef } from '../protocol/manifest.ts';
import type { Hash } from '../protocol/names.ts';
import type { ReadPart } from '../roles/artifact-reader.ts';
import { StoreError } from '../store/errors.ts';
import type { ArtifactAnswer, PublicRecord } from './record.ts';

export class ArtifactCache {
  readonly #record: Pick<PublicRecord, 'artifact' | 'part'>;
  readonly #maxBytes: number;
  /** Oldest use first. */
  readonly #held = new Map<Hash, Uint8Array>();
  #heldBytes = 0;

  constructor(record: Pick<PublicRecord, 'artifact' | 'part'>, maxBytes: number) {
    this.#record = record;
    this.#maxBytes = maxBytes;
  }

  /** Reads artifacts in parts, and holds none of them; null where the record cannot. Throws Unavailable for a missing one. */
  get part(): ReadPart | null {
    const record = this.#record;
    if (record.part === undefined) return null;
    return async (artifact, range) => {
      try {
        return await record.part!(artifact, range);
      } catch (error) {
        if (!(error instanceof StoreError && error.code === 'NOT_FOUND')) throw error;
        throw new Unavailable(artifact, { kind: 'missing' });
      }
    };
  }

  async get(artifact: ArtifactRef): Promise<ArtifactAnswer> {
    const held = this.#held.get(artifact.root);
    if (held !== undefined && held.byteLength === artifact.sizeBytes) {
      this.#held.delete(artifact.root);
      this.#held.set(artifact.root, held);
      return { kind: 'found', bytes: held };
    }
    const answer = await this.#record.artifact(artifact);
    if (answer.kind === 'found') this.#keep(artifact.root, answer.bytes);
    return answer;
  }

  #keep(root: Hash, bytes: Uint8Array): void {
    if (bytes.byteLength > this.#maxBytes / 4 || this.#held.has(root)) return;
    this.#held.set(root, bytes);
    this.#heldBytes += bytes.byteLength;
    for (const [oldest, old] of this.#held) {
      if (this.#heldBytes <= this.#maxBytes) return;
      this.#held.delete(oldest);
      this.#heldBytes -= old.byteLength;
    }
  }
}

/** An artifact that a recomputation needs is not there. */
export class Unavailable extends Error {
  readonly artifact: ArtifactRef;
  readonly answer: Exclude<ArtifactAnswer, { kind: 'found' }>;

  constructor(artifact: ArtifactRef, answer: Exclude<ArtifactAnswer, { kind: 'found' }>) {
    super(`artifact ${artifact.root} is ${answer.kind}`);
    this.artifact = artifact;
    this.answer = answer;
  }
}

/** The bytes, or throws Unavailable. */
export async function need(cache: ArtifactCache, artifact: ArtifactRef): Promise<Uint8Array> {
  const answer = await cache.get(artifact);
  if (answer.kind === 'found') return answer.bytes;
  throw new Unavailable(artifact, answer);
}
