/** @file The ledger: identities, stake, weights, payment and anchors, under Bittensor's words. */
import type { Hash, Hotkey } from '../protocol/names.ts';
import type { Axon, Identity, LedgerSigner, SignedCall } from './calls.ts';
import type { CommittedWeights } from './committed-weights.ts';

export type { Axon, CommittedWeights, Identity, LedgerSigner };

export interface Neuron {
  readonly uid: number;
  readonly hotkey: Hotkey;
  readonly coldkey: Hotkey;
  readonly stakeRao: number;
  readonly validatorPermit: boolean;
  readonly registeredAtBlock: number;
  /** Paid in all so far; on Bittensor, which keeps no sum, in the last tempo. */
  readonly emissionRao: number;
  /** Share of the last tempo's miner emission, in [0, 1]. */
  readonly incentive: number;
  /** Share of the last tempo's validator emission; agreement with consensus; consensus weight; all in [0, 1]. */
  readonly dividends: number;
  readonly validatorTrust: number;
  readonly consensus: number;
  /** Block of its weights; null if it set none. */
  readonly lastUpdateBlock: number | null;
  /** Before this block it keeps its uid, whatever it earns. */
  readonly immuneUntilBlock: number;
  readonly axon: Axon | null;
}

/** The subnet's rules and clock, as they stand. */
export interface Subnet {
  readonly chainId: string;
  readonly netuid: number;
  readonly owner: Hotkey;
  readonly block: number;
  readonly tempoBlocks: number;
  readonly lastEpochBlock: number;
  readonly nextEpochBlock: number;
  readonly epochIndex: number;
  readonly neuronCount: number;
  readonly maxUids: number;
  readonly maxValidators: number;
  /** Price of a registration now. */
  readonly burnRao: number;
  readonly minStakeRao: number;
  readonly emissionPerBlockRao: number;
  readonly issuedRao: number;
  /** Null where the chain keeps no such sum. */
  readonly burnedRao: number | null;
  readonly weightsRateLimitBlocks: number;
  readonly weightsVersionKey: number;
  readonly isCommitReveal: boolean;
  readonly revealPeriodEpochs: number;
  readonly yumaVersion: 2 | 3;
  readonly isLiquidAlpha: boolean;
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

/** Something that a hotkey committed to. */
export interface Anchor {
  readonly block: number;
  readonly hotkey: Hotkey;
  /** Hex. */
  readonly data: string;
}

export interface RegisterOptions {
  readonly coldkey: Hotkey;
  readonly hotkey?: Hotkey;
  /** A price above this is refused; what was shown and agreed to. */
  readonly maxBurnRao?: number;
}

export interface StakeOptions {
  readonly amountRao: number;
  readonly hotkey?: Hotkey;
}

/** Accepted calls in the chain's order. */
export interface CallPage {
  /** `parent`: hash of the block before the call's. */
  readonly calls: readonly { readonly block: number; readonly parent: Hash; readonly signed: SignedCall }[];
  /** Where the next page begins; the same as asked for once there is nothing more. */
  readonly next: number;
}

/**
 * Failures: LedgerError with codes NOT_REGISTERED, NOT_ASSOCIATED (another coldkey's), RATE_LIMIT, BAD_WEIGHTS, NO_PERMIT,
 * COMMIT_REVEAL, BAD_SIGNATURE, BAD_CALL, BALANCE (not enough rao), NO_SLOT (all uids taken and immune), TOO_LARGE,
 * DISK_FULL, WRONG_NETWORK, UNSUPPORTED (this chain has no such thing), UNAVAILABLE (retryable: nothing was done).
 * Messages begin with the chain's name (`chainErrorOf`). A call that was answered is durable.
 */
export interface Ledger {
  readonly chainId: string;
  readonly netuid: number;
  readonly tempoBlocks: number;
  head(): Promise<Block>;
  /** Null if the block is not made yet. */
  block(number: number): Promise<Block | null>;
  subnet(): Promise<Subnet>;
  /** Free rao of an account. */
  balance(account: Hotkey): Promise<bigint>;
  /**
   * Registers a hotkey; the same hotkey twice gives its neuron. The signer pays: the hotkey itself for its coldkey, or, with
   * `hotkey`, the coldkey, as on Bittensor.
   */
  register(signer: LedgerSigner, options: RegisterOptions): Promise<Neuron>;
  /** From the signer's balance onto `hotkey`, or onto the signer. */
  addStake(signer: LedgerSigner, options: StakeOptions): Promise<void>;
  /** Back to the coldkey that signs. */
  removeStake(signer: LedgerSigner, options: StakeOptions): Promise<void>;
  transfer(signer: LedgerSigner, options: { readonly to: Hotkey; readonly amountRao: number }): Promise<void>;
  /** Relative weights by uid (any non-negative numbers, normalised to u16 by the chain's rule); once a tempo. */
  setWeights(
    signer: LedgerSigner,
    weights: ReadonlyMap<number, number>,
    options?: { readonly versionKey?: number },
  ): Promise<void>;
  /** Where `isCommitReveal`: the hash first, the weights themselves `revealPeriodEpochs` later. */
  commitWeights(signer: LedgerSigner, weights: CommittedWeights): Promise<{ readonly block: number }>;
  revealWeights(signer: LedgerSigner, weights: CommittedWeights): Promise<void>;
  serveAxon(signer: LedgerSigner, axon: Axon): Promise<void>;
  /** Signed by a coldkey that owns a registered hotkey. */
  setIdentity(signer: LedgerSigner, identity: Identity): Promise<void>;
  identity(coldkey: Hotkey): Promise<Identity | null>;
  /** Anchors up to 128 bytes under the hotkey (one commitment a hotkey; history stays readable by block). */
  commit(signer: LedgerSigner, data: Uint8Array): Promise<{ readonly block: number }>;
  commitment(hotkey: Hotkey): Promise<{ readonly block: number; readonly data: Uint8Array } | null>;
  /** All neurons by uid. */
  metagraph(): Promise<readonly Neuron[]>;
  /** Weights that a validator set last, u16 by uid. */
  weights(hotkey: Hotkey): Promise<ReadonlyMap<number, number>>;
  /** What was committed to in the blocks [fromBlock, toBlock], in order. */
  anchors(range: { readonly fromBlock: number; readonly toBlock: number }): Promise<readonly Anchor[]>;
  close(): Promise<void>;
}

/** A ledger whose whole history can be read and made again: the embedded chain, not Bittensor. */
export interface RecordedLedger extends Ledger {
  /** The made ones among the blocks [from, from + limit), in order. */
  blocks(from: number, limit: number): Promise<readonly BlockRecord[]>;
  /** At most `limit` calls from `cursor` on, which is 0 or a page's `next`: who registered, staked, committed to and weighed what, when. */
  calls(cursor: number, limit: number): Promise<CallPage>;
}

/** Weights as the subnet wants them: plain, or by hash first and revealed epochs later. */
export interface WeightSetter {
  /** @throws LedgerError as `setWeights` and `commitWeights` */
  set(weights: ReadonlyMap<number, number>): Promise<'set' | 'committed'>;
  /** Reveals what is due, if anything; to be called every few blocks. @throws LedgerError UNAVAILABLE */
  revealDue(): Promise<number>;
}
