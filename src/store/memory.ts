/** @file The store in memory, for simulations; held to the same contract as the others. */
import type { ArtifactRef } from '../protocol/manifest.ts';
import type { Hash } from '../protocol/names.ts';
import { concatBytes } from '../util/bytes.ts';
import { notFound, sizeMismatch } from './errors.ts';
import { checkArtifact, hashArtifact } from './node-hash.ts';
import type { Store, StoreParts } from './port.ts';

export class MemoryStore implements Store {
  readonly #artifacts = new Map<Hash, Uint8Array>();

  async put(expected: ArtifactRef, bytes: Uint8Array, options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    options.signal?.throwIfAborted();
    checkArtifact(expected, bytes);
    // A copy: the caller may go on using its buffer.
    if (!this.#artifacts.has(expected.root)) this.#artifacts.set(expected.root, bytes.slice());
  }

  async get(artifact: ArtifactRef, options: { readonly signal?: AbortSignal } = {}): Promise<Uint8Array> {
    options.signal?.throwIfAborted();
    return this.#bytesOf(artifact).slice();
  }

  protected readPart(artifact: ArtifactRef, { from, to }: { readonly from: number; readonly to: number }): Uint8Array {
    return this.#bytesOf(artifact).slice(from, to);
  }

  #bytesOf({ root, sizeBytes }: ArtifactRef): Uint8Array {
    const bytes = this.#artifacts.get(root);
    if (bytes === undefined) throw notFound(root);
    if (bytes.byteLength !== sizeBytes) throw sizeMismatch(root, sizeBytes, bytes.byteLength);
    return bytes;
  }

  readonly parts: StoreParts = {
    read: async (artifact, range, options) => {
      options?.signal?.throwIfAborted();
      return this.readPart(artifact, range);
    },
    create: async (sizeBytes) => {
      const written: Uint8Array[] = [];
      return {
        write: async (bytes) => void written.push(bytes.slice()),
        finish: async () => {
          const bytes = concatBytes(...written);
          const artifact = hashArtifact(bytes);
          if (bytes.byteLength !== sizeBytes) throw sizeMismatch(artifact.root, sizeBytes, bytes.byteLength);
          await this.put(artifact, bytes);
          return artifact;
        },
        abort: async () => void written.splice(0),
      };
    },
  };

  async stat(root: Hash): Promise<number | null> {
    return this.#artifacts.get(root)?.byteLength ?? null;
  }

  /** What is there, with sizes. */
  sizes(): ReadonlyMap<Hash, number> {
    return new Map([...this.#artifacts].map(([root, { byteLength }]) => [root, byteLength]));
  }

  async remove(root: Hash): Promise<boolean> {
    return this.#artifacts.delete(root);
  }
}
