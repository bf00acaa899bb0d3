/** @file The ledger: identities, stake, weights, payment and anchors, under Bittensor's words. */
import type { Hash, Hotkey } from '../protocol/names.ts';
import type { LedgerSigner, SignedCall } from './calls.ts';

export type { LedgerSigner };

export interface Neuron {
  readonly uid: number;
  readonly hotkey: Hotkey;
  readonly coldkey: Hotkey;
  readonly stakeRao: number;
  readonly validatorPermit: boolean;
  readonly registeredAtBlock: number;
  /** Paid in all so far. */
  readonly emissionRao: number;
  /** Share of the last tempo's miner emission, in [0, 1]. */
  readonly incentive: number;
}

export interface Block {
  readonly number: number;
  readonly hash: Hash;
  readonly timeMs: number;
}

/** A made block, with what its hash can be recomputed from (`hash-chain.ts`). */
export interface BlockRecord {
  readonly number: number;
  readonly hash: Hash;
  readonly salt: Hash;
}

/** Accepted calls in the chain's order. */
export interface CallPage {
  /** `parent`: hash of the block before the call's. */
  readonly calls: readonly { readonly block: number; readonly parent: Hash; readonly signed: SignedCall }[];
  /** Where the next page begins; the same as asked for once there is nothing more. */
  readonly next: number;
}

/**
 * Failures: LedgerError with codes NOT_REGISTERED, RATE_LIMIT, BAD_WEIGHTS, NO_PERMIT, BAD_SIGNATURE, BALANCE (not enough
 * rao), NO_SLOT (all uids taken), TOO_LARGE, DISK_FULL, UNAVAILABLE (retryable). A call that was answered is durable.
 */
export interface Ledger {
  readonly chainId: string;
  readonly netuid: number;
  readonly tempoBlocks: number;
  head(): Promise<Block>;
  /** Null if the block is not made yet. */
  block(number: number): Promise<Block | null>;
  /** Registers a hotkey; the same hotkey twice gives its neuron. */
  register(signer: LedgerSigner, options: { readonly coldkey: Hotkey }): Promise<Neuron>;
  addStake(signer: LedgerSigner, options: { readonly amountRao: number }): Promise<void>;
  /** Relative weights by uid (any non-negative numbers, normalised to u16 by the chain's rule); once a tempo. */
  setWeights(signer: LedgerSigner, weights: ReadonlyMap<number, number>): Promise<void>;
  /** Anchors up to 128 bytes under the hotkey (one commitment a hotkey; history stays readable by block). */
  commit(signer: LedgerSigner, data: Uint8Array): Promise<{ readonly block: number }>;
  commitment(hotkey: Hotkey): Promise<{ readonly block: number; readonly data: Uint8Array } | null>;
  /** All neurons by uid. */
  metagraph(): Promise<readonly Neuron[]>;
  /** Weights that a validator set last, u16 by uid. */
  weights(hotkey: Hotkey): Promise<ReadonlyMap<number, number>>;
  /** The made ones among the blocks [from, from + limit), in order. */
  blocks(from: number, limit: number): Promise<readonly BlockRecord[]>;
  /** At most `limit` calls from `cursor` on, which is 0 or a page's `next`: who registered, staked, committed to and weighed what, when. */
  calls(cursor: number, limit: number): Promise<CallPage>;
  close(): Promise<void>;
}
