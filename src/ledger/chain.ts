/**
 * @file The embedded chain's state and rules, pure: what a call needs, what it changes, and what the end of a block does.
 * Same genesis and same calls in the same blocks give the same state. Later rules of Bittensor widen this file.
 */
import { z } from 'zod';
import { countSchema, type Hash, type Hotkey, hashSchema, hotkeySchema } from '../protocol/names.ts';
import { fromHex, toHex } from '../util/bytes.ts';
import { assertNever } from '../util/errors.ts';
import type { Call } from './calls.ts';
import { type EpochNeuron, type Payment, payEmission, runEpoch } from './epoch.ts';
import { LedgerError } from './errors.ts';

const raoSchema = z
  .string()
  .regex(/^[0-9]{1,38}$/)
  .transform((text) => BigInt(text));

/** What makes a chain: written once, first in its file. Amounts in rao (10⁻⁹ TAO). */
const genesisFields = {
  /** 2: block hashes are made with salts that become public (`hash-chain.ts`). Chains of version 1 are not read. */
  version: z.literal(2),
  chainId: z.string().min(1).max(128),
  netuid: countSchema.max(65_535),
  tempoBlocks: countSchema.min(1),
  blockMs: countSchema.min(1),
  startMs: countSchema,
  /** Coldkey that gets the owner's 18 %. */
  owner: hotkeySchema,
  emissionPerBlockRao: countSchema,
  /** Balance of a coldkey that the chain has not seen before. */
  endowmentRao: countSchema,
  /** Price of a registration. */
  burnRao: countSchema,
  minStakeRao: countSchema,
  maxUids: countSchema.min(1).max(65_536),
  maxValidators: countSchema.min(1),
  kappa: countSchema.max(65_535),
  activityCutoffBlocks: countSchema.min(1),
  weightsRateLimitBlocks: countSchema,
  /** Commitment bytes of one hotkey in a tempo; each counts at least 100. */
  commitmentSpaceBytes: countSchema,
};
/** What everybody may know of it; block 0's hash is of this. */
export const publicGenesisSchema = z.strictObject({
  ...genesisFields,
  /** SHA-256 of the secret that salts follow from. */
  secretHash: hashSchema,
});
export type PublicGenesis = z.infer<typeof publicGenesisSchema>;

export const genesisSchema = z.strictObject({
  ...genesisFields,
  /** Goes into every block's salt, so that nobody without the file knows an empty block's hash before its time. */
  secret: hashSchema,
});
export type Genesis = z.infer<typeof genesisSchema>;
/** What the chain's rules read of a genesis. */
export type ChainRules = Omit<PublicGenesis, 'secretHash'>;

export function publicGenesisOf(
  { secret, ...fields }: Genesis,
  sha256: (bytes: Uint8Array) => Uint8Array,
): PublicGenesis {
  return { ...fields, secretHash: toHex(sha256(fromHex(secret)!)) as Hash };
}

export type GenesisOptions = Pick<Genesis, 'chainId' | 'netuid' | 'tempoBlocks' | 'blockMs' | 'owner'> &
  Partial<Omit<Genesis, 'version'>>;

/** Defaults are the chain's, but for emission and endowment, which a local network needs at once. */
export function makeGenesis(options: GenesisOptions & Pick<Genesis, 'startMs' | 'secret'>): Genesis {
  return genesisSchema.parse({
    version: 2,
    emissionPerBlockRao: 1_000_000,
    endowmentRao: 1_000_000_000_000,
    burnRao: 0,
    minStakeRao: 2_000_000,
    maxUids: 256,
    maxValidators: 128,
    kappa: 32_767,
    activityCutoffBlocks: 5_000,
    weightsRateLimitBlocks: options.tempoBlocks,
    commitmentSpaceBytes: 3_100,
    ...options,
  });
}

const neuronSchema = z.object({
  hotkey: hotkeySchema,
  coldkey: hotkeySchema,
  stakeRao: raoSchema,
  emissionRao: raoSchema,
  validatorPermit: z.boolean(),
  registeredAtBlock: countSchema,
  lastUpdateBlock: countSchema.nullable(),
  weights: z.array(z.tuple([countSchema, countSchema])),
  incentive: z.number(),
  dividends: z.number(),
  consensus: z.number(),
  validatorTrust: z.number(),
});

export const chainStateSchema = z.object({
  /** By uid. */
  neurons: z.array(neuronSchema),
  /** Free balance by coldkey. */
  balances: z.record(z.string(), raoSchema),
  commitments: z.record(z.string(), z.object({ block: countSchema, data: z.string() })),
  commitmentSpace: z.record(z.string(), z.object({ tempo: countSchema, usedBytes: countSchema })),
  /** By hotkey: next nonce, and the last accepted call, so that a repeated one is recognised. */
  accounts: z.record(z.string(), z.object({ nonce: countSchema, lastCall: hashSchema, block: countSchema })),
  lastEpochBlock: countSchema,
  pendingEmissionRao: raoSchema,
  issuedRao: raoSchema,
});
export type ChainState = z.infer<typeof chainStateSchema>;
type NeuronState = ChainState['neurons'][number];

export function initialState(): ChainState {
  return {
    neurons: [],
    balances: {},
    commitments: {},
    commitmentSpace: {},
    accounts: {},
    lastEpochBlock: 0,
    pendingEmissionRao: 0n,
    issuedRao: 0n,
  };
}

/** JSON that `chainStateSchema` reads back; rao as text. */
export function stateToJson(state: ChainState): unknown {
  return JSON.parse(JSON.stringify(state, (_, value) => (typeof value === 'bigint' ? String(value) : value)));
}

export const uidOf = (state: ChainState, hotkey: Hotkey): number =>
  state.neurons.findIndex((neuron) => neuron.hotkey === hotkey);

/**
 * Checks a call in the block that is being made; throws LedgerError, or gives the change to make. Nothing is changed
 * before that change is called, so that it can be written to disk first.
 */
export function planCall(
  state: ChainState,
  genesis: ChainRules,
  hotkey: Hotkey,
  call: Call,
  block: number,
): () => void {
  switch (call.name) {
    case 'burned_register':
      return planRegister(state, genesis, { hotkey, coldkey: call.args.coldkey, block });
    case 'add_stake':
      return planStake(state, genesis, hotkey, BigInt(call.args.amountRao));
    case 'set_weights':
      return planWeights(state, genesis, { hotkey, ...call.args, block });
    case 'set_commitment':
      return planCommitment(state, genesis, { hotkey, data: call.args.data, block });
    default:
      return assertNever(call);
  }
}

function registered(state: ChainState, hotkey: Hotkey): NeuronState & { readonly uid: number } {
  const uid = uidOf(state, hotkey);
  if (uid < 0) {
    throw new LedgerError(
      'NOT_REGISTERED',
      `HotKeyNotRegisteredInSubNet: ${hotkey} is no neuron here; register it first`,
    );
  }
  return { ...state.neurons[uid]!, uid };
}

const balanceOf = (state: ChainState, genesis: ChainRules, coldkey: Hotkey): bigint =>
  state.balances[coldkey] ?? BigInt(genesis.endowmentRao);

function requireBalance(state: ChainState, genesis: ChainRules, coldkey: Hotkey, amountRao: bigint): bigint {
  const balanceRao = balanceOf(state, genesis, coldkey);
  if (balanceRao >= amountRao) return balanceRao;
  throw new LedgerError('BALANCE', `NotEnoughBalanceToStake: ${coldkey} holds ${balanceRao} rao, needs ${amountRao}`);
}

function planRegister(
  state: ChainState,
  genesis: ChainRules,
  { hotkey, coldkey, block }: { readonly hotkey: Hotkey; readonly coldkey: Hotkey; readonly block: number },
): () => void {
  if (uidOf(state, hotkey) >= 0) throw new LedgerError('BAD_CALL', `HotKeyAlreadyRegisteredInSubNet: ${hotkey}`);
  if (state.neurons.length >= genesis.maxUids) {
    throw new LedgerError('NO_SLOT', `NoNeuronIdAvailable: all ${genesis.maxUids} uids are taken`);
  }
  const burnRao = BigInt(genesis.burnRao);
  const balanceRao = requireBalance(state, genesis, coldkey, burnRao);
  return () => {
    state.balances[coldkey] = balanceRao - burnRao;
    state.neurons.push({
      hotkey,
      coldkey,
      stakeRao: 0n,
      emissionRao: 0n,
      validatorPermit: false,
      registeredAtBlock: block,
      lastUpdateBlock: null,
      weights: [],
      incentive: 0,
      dividends: 0,
      consensus: 0,
      validatorTrust: 0,
    });
  };
}

function planStake(state: ChainState, genesis: ChainRules, hotkey: Hotkey, amountRao: bigint): () => void {
  const { uid, coldkey } = registered(state, hotkey);
  if (amountRao < BigInt(genesis.minStakeRao)) {
    throw new LedgerError(
      'BALANCE',
      `StakeAmountTooLow: expected at least ${genesis.minStakeRao} rao, got ${amountRao}`,
    );
  }
  const balanceRao = requireBalance(state, genesis, coldkey, amountRao);
  return () => {
    state.balances[coldkey] = balanceRao - amountRao;
    state.neurons[uid]!.stakeRao += amountRao;
  };
}

interface WeightsCall {
  readonly hotkey: Hotkey;
  readonly uids: readonly number[];
  readonly values: readonly number[];
  readonly block: number;
}

/** The checks of `set_weights` in the chain's order. */
function planWeights(state: ChainState, genesis: ChainRules, { hotkey, uids, values, block }: WeightsCall): () => void {
  const bad = (sentence: string) => new LedgerError('BAD_WEIGHTS', sentence);
  if (uids.length !== values.length) {
    throw bad(`WeightVecNotEqualSize: ${uids.length} uids, ${values.length} weights`);
  }
  if (uids.length > state.neurons.length) {
    throw bad(`UidsLengthExceedUidsInSubNet: ${uids.length} of ${state.neurons.length}`);
  }
  const { uid: own, lastUpdateBlock, validatorPermit } = registered(state, hotkey);
  const nextBlock = lastUpdateBlock === null ? 0 : lastUpdateBlock + genesis.weightsRateLimitBlocks;
  if (block < nextBlock) {
    throw new LedgerError('RATE_LIMIT', `SettingWeightsTooFast: weights may be set again in block ${nextBlock}`, {
      context: { nextBlock, block },
    });
  }
  if (!validatorPermit && !(uids.length === 1 && uids[0] === own)) {
    throw new LedgerError(
      'NO_PERMIT',
      `NeuronNoValidatorPermit: ${hotkey} has no validator permit; stake, and wait for the next epoch`,
    );
  }
  if (new Set(uids).size !== uids.length) throw bad('DuplicateUids: a uid is named twice');
  const unknown = uids.find((uid) => uid >= state.neurons.length);
  if (unknown !== undefined) throw bad(`UidVecContainInvalidOne: uid ${unknown} is not taken`);
  const largest = Math.max(0, ...values);
  if (largest === 0) throw bad('WeightVecLengthIsLow: expected at least one weight above 0');
  return () => {
    const neuron = state.neurons[own]!;
    neuron.weights = uids.map((uid, i) => [uid, Math.floor((values[i]! * 65_535) / largest)]);
    neuron.lastUpdateBlock = block;
  };
}

interface CommitmentCall {
  readonly hotkey: Hotkey;
  readonly data: string;
  readonly block: number;
}

function planCommitment(state: ChainState, genesis: ChainRules, { hotkey, data, block }: CommitmentCall): () => void {
  registered(state, hotkey);
  const tempo = Math.floor(block / genesis.tempoBlocks);
  const space = state.commitmentSpace[hotkey];
  const usedBytes = (space?.tempo === tempo ? space.usedBytes : 0) + Math.max(100, data.length / 2);
  if (usedBytes > genesis.commitmentSpaceBytes) {
    const nextBlock = (tempo + 1) * genesis.tempoBlocks;
    throw new LedgerError(
      'RATE_LIMIT',
      `SpaceLimitExceeded: ${genesis.commitmentSpaceBytes} bytes a tempo; more from block ${nextBlock}`,
      { context: { nextBlock, block } },
    );
  }
  return () => {
    state.commitments[hotkey] = { block, data };
    state.commitmentSpace[hotkey] = { tempo, usedBytes };
  };
}

/** What an epoch paid, and from which rows: weights of those that lose their permit are gone after it. */
export interface EpochRecord {
  readonly block: number;
  readonly payment: Payment;
  /** By uid. */
  readonly weights: readonly (readonly (readonly [uid: number, weight: number])[])[];
}

/** What the end of block `block` does: emission, and the epoch when a tempo has passed since the last one, else null. */
export function endBlock(state: ChainState, genesis: ChainRules, block: number): EpochRecord | null {
  state.pendingEmissionRao += BigInt(genesis.emissionPerBlockRao);
  if (block - state.lastEpochBlock < genesis.tempoBlocks) return null;
  state.lastEpochBlock = block;
  const result = runEpoch(state.neurons.map(toEpochNeuron), genesis, block);
  const emissionRao = state.pendingEmissionRao;
  const payment = payEmission(emissionRao, result);
  const weights = state.neurons.map((neuron) => neuron.weights);
  state.pendingEmissionRao = 0n;
  state.issuedRao += emissionRao;
  const owner = genesis.owner;
  state.balances[owner] = balanceOf(state, genesis, owner) + payment.ownerRao;
  for (const [uid, neuron] of state.neurons.entries()) {
    const paidRao = payment.serverRao[uid]! + payment.validatorRao[uid]!;
    neuron.stakeRao += paidRao;
    neuron.emissionRao += paidRao;
    neuron.incentive = result.incentive[uid]!;
    neuron.dividends = result.dividends[uid]!;
    neuron.consensus = result.consensus[uid]!;
    neuron.validatorTrust = result.validatorTrust[uid]!;
    neuron.validatorPermit = result.validatorPermits[uid]!;
    if (!neuron.validatorPermit) neuron.weights = [];
  }
  return { block, payment, weights };
}

function toEpochNeuron(neuron: NeuronState, uid: number): EpochNeuron {
  const { stakeRao, validatorPermit, lastUpdateBlock, registeredAtBlock } = neuron;
  return { uid, stakeRao, validatorPermit, lastUpdateBlock, registeredAtBlock, weights: new Map(neuron.weights) };
}
