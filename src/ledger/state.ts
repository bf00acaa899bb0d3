/** @file The embedded chain's state: what its calls and blocks have made so far. Plain data, JSON both ways. */
import { z } from 'zod';
import { countSchema, type Hotkey, hashSchema, hotkeySchema } from '../protocol/names.ts';
import { axonSchema, identitySchema } from './calls.ts';
import { refused } from './errors.ts';
import type { ChainRules } from './genesis.ts';
import type { Neuron } from './port.ts';

const raoSchema = z
  .string()
  .regex(/^[0-9]{1,38}$/)
  .transform((text) => BigInt(text));
const sparseRow = z.array(z.tuple([countSchema, countSchema]));

const neuronSchema = z.object({
  hotkey: hotkeySchema,
  coldkey: hotkeySchema,
  stakeRao: raoSchema,
  /** In all, and of the last epoch, which pruning goes by. */
  emissionRao: raoSchema,
  lastEmissionRao: raoSchema,
  validatorPermit: z.boolean(),
  registeredAtBlock: countSchema,
  lastUpdateBlock: countSchema.nullable(),
  weights: sparseRow,
  bonds: sparseRow,
  incentive: z.number(),
  dividends: z.number(),
  consensus: z.number(),
  validatorTrust: z.number(),
});

const commitSchema = z.object({ hash: hashSchema, block: countSchema, epoch: countSchema });

export const chainStateSchema = z.object({
  /** By uid. */
  neurons: z.array(neuronSchema),
  /** Stake of hotkeys that lost their uid. */
  departed: z.record(z.string(), z.object({ coldkey: hotkeySchema, stakeRao: raoSchema })),
  /** Free balance by account. */
  balances: z.record(z.string(), raoSchema),
  commitments: z.record(z.string(), z.object({ block: countSchema, data: z.string() })),
  commitmentSpace: z.record(z.string(), z.object({ tempo: countSchema, usedBytes: countSchema })),
  axons: z.record(z.string(), z.object({ block: countSchema, axon: axonSchema })),
  /** By coldkey. */
  identities: z.record(z.string(), identitySchema),
  /** Weights that were committed to and not revealed, the oldest first, by hotkey. */
  weightCommits: z.record(z.string(), z.array(commitSchema)),
  /** Price of a registration right after the last one. */
  burn: z.object({ rao: raoSchema, block: countSchema }).nullable(),
  /** By account: next nonce, and the last accepted call, so that a repeated one is recognised. */
  accounts: z.record(z.string(), z.object({ nonce: countSchema, lastCall: hashSchema, block: countSchema })),
  lastEpochBlock: countSchema,
  epochIndex: countSchema,
  pendingEmissionRao: raoSchema,
  /** Emitted, and destroyed (prices of registrations, incentive of the owner's hotkeys), since block 0. */
  issuedRao: raoSchema,
  burnedRao: raoSchema,
});
export type ChainState = z.infer<typeof chainStateSchema>;
export type NeuronState = ChainState['neurons'][number];

export function initialState(): ChainState {
  return {
    neurons: [],
    departed: {},
    balances: {},
    commitments: {},
    commitmentSpace: {},
    axons: {},
    identities: {},
    weightCommits: {},
    burn: null,
    accounts: {},
    lastEpochBlock: 0,
    epochIndex: 0,
    pendingEmissionRao: 0n,
    issuedRao: 0n,
    burnedRao: 0n,
  };
}

/** JSON that `chainStateSchema` reads back; rao as text. */
export function stateToJson(state: ChainState): unknown {
  return JSON.parse(JSON.stringify(state, (_, value) => (typeof value === 'bigint' ? String(value) : value)));
}

export const uidOf = (state: ChainState, hotkey: Hotkey): number =>
  state.neurons.findIndex((neuron) => neuron.hotkey === hotkey);

/** @throws LedgerError NOT_REGISTERED */
export function registered(state: ChainState, hotkey: Hotkey): { readonly uid: number; readonly neuron: NeuronState } {
  const uid = uidOf(state, hotkey);
  if (uid >= 0) return { uid, neuron: state.neurons[uid]! };
  throw refused('NOT_REGISTERED', 'HotKeyNotRegisteredInSubNet', `${hotkey} is no neuron here; register it first`);
}

export const balanceOf = (state: ChainState, rules: ChainRules, account: Hotkey): bigint =>
  state.balances[account] ?? BigInt(rules.endowmentRao);

/** The balance, if it is enough. @throws LedgerError BALANCE */
export function requireBalance(state: ChainState, rules: ChainRules, account: Hotkey, amountRao: bigint): bigint {
  const balanceRao = balanceOf(state, rules, account);
  if (balanceRao >= amountRao) return balanceRao;
  const sentence = `${account} holds ${balanceRao} rao, needs ${amountRao}; transfer some to it`;
  throw refused('BALANCE', 'NotEnoughBalanceToStake', sentence);
}

/** As the port shows them, by uid. */
export const neuronsOf = (state: ChainState, { immunityBlocks }: Pick<ChainRules, 'immunityBlocks'>): Neuron[] =>
  state.neurons.map((neuron, uid) => ({
    uid,
    hotkey: neuron.hotkey,
    coldkey: neuron.coldkey,
    stakeRao: Number(neuron.stakeRao),
    validatorPermit: neuron.validatorPermit,
    registeredAtBlock: neuron.registeredAtBlock,
    emissionRao: Number(neuron.emissionRao),
    incentive: neuron.incentive,
    dividends: neuron.dividends,
    validatorTrust: Math.min(1, neuron.validatorTrust),
    consensus: neuron.consensus,
    lastUpdateBlock: neuron.lastUpdateBlock,
    immuneUntilBlock: neuron.registeredAtBlock + immunityBlocks,
    axon: state.axons[neuron.hotkey]?.axon ?? null,
  }));
