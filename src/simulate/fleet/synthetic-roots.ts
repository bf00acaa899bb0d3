/** @file Names of bytes that do not exist: 64 digits of hex from a seed, never two alike. */
import type { ArtifactRef } from '../../protocol/manifest.ts';
import type { Hash } from '../../protocol/names.ts';
import { Rng } from '../../util/rng.ts';

export class SyntheticRoots {
  readonly #rng: Rng;

  constructor(seed: string) {
    this.#rng = new Rng(`roots ${seed}`);
  }

  hash(): Hash {
    let text = '';
    for (let word = 0; word < 8; word++) text += this.#rng.uint32().toString(16).padStart(8, '0');
    return text as Hash;
  }

  next(sizeBytes: number): ArtifactRef {
    return { root: this.hash(), sizeBytes };
  }
}
