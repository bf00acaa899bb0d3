/**
 * @file True metadata of Bittensor's runtime, spec 424 (version 16, 337,961 bytes), which is not ours to publish: the file that
 * ACCRETE_CHAIN_METADATA names, or `shared/chain/bittensor-424.scale` beside the clone. `state_getMetadata` of a node gives it too.
 * SHA-256 66ee6af3ca885bb752f3e21ba1722e07d6aff7f242abd3e7abb8ac4f2774fb77.
 */
import { existsSync, readFileSync } from 'node:fs';
import { describe, it } from 'vitest';

const place =
  process.env.ACCRETE_CHAIN_METADATA ?? new URL('../../../shared/chain/bittensor-424.scale', import.meta.url);

/** Null where the file is not at hand. */
export const chainMetadata: Uint8Array | null = existsSync(place) ? new Uint8Array(readFileSync(place)) : null;

/** `describe` of what needs it; without it, one test that is skipped by this name. */
export function describeOnChain(name: string, body: () => void): void {
  if (chainMetadata !== null) describe(name, body);
  else it.skip(`${name}: needs the chain's metadata (ACCRETE_CHAIN_METADATA)`, () => {});
}
