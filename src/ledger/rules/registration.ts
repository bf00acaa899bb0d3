/** @file Burned registration: who pays, what it costs, and whose uid is taken when all are. */
import type { Hotkey } from '../../protocol/names.ts';
import { refused } from '../errors.ts';
import type { ChainRules } from '../genesis.ts';
import { type ChainState, type NeuronState, requireBalance, uidOf } from '../state.ts';
import { one, safeExp } from '../yuma/fixed.ts';

/**
 * Price of a registration in `block`: times `burnIncreasePercent` after each, halving every `burnHalfLifeBlocks`, within
 * bounds. Reckoned from the last registration in one step, where the chain steps block by block.
 */
export function burnPriceRao(state: ChainState, rules: ChainRules, block: number): bigint {
  const bounded = (rao: bigint): bigint => {
    const [least, most] = [BigInt(rules.minBurnRao), BigInt(rules.maxBurnRao)];
    return rao < least ? least : rao > most ? most : rao;
  };
  if (state.burn === null) return bounded(BigInt(rules.burnRao));
  const halves = (block - state.burn.block) / rules.burnHalfLifeBlocks;
  const whole = Math.floor(halves);
  const factor = BigInt(Math.floor(safeExp(-(halves - whole) * Math.LN2) * one));
  return bounded(((state.burn.rao * factor) >> 32n) >> BigInt(Math.min(whole, 256)));
}

export interface Registration {
  readonly hotkey: Hotkey;
  /** Owns the neuron. */
  readonly coldkey: Hotkey;
  /** Signed, and pays. */
  readonly payer: Hotkey;
  readonly block: number;
}

export function planRegister(state: ChainState, rules: ChainRules, registration: Registration): () => void {
  const { hotkey, coldkey, payer, block } = registration;
  if (!rules.isRegistrationOpen)
    throw refused('BAD_CALL', 'SubNetRegistrationDisabled', `subnet ${rules.netuid} takes nobody now; ask its owner`);
  if (uidOf(state, hotkey) >= 0)
    throw refused('BAD_CALL', 'HotKeyAlreadyRegisteredInSubNet', `${hotkey} has a uid; nothing is to be done`);
  const departed = state.departed[hotkey];
  if (departed !== undefined && departed.coldkey !== coldkey)
    throw refused(
      'NOT_ASSOCIATED',
      'NonAssociatedColdKey',
      `${hotkey} belongs to ${departed.coldkey}; use that coldkey`,
    );
  const priceRao = burnPriceRao(state, rules, block);
  const balanceRao = requireBalance(state, rules, payer, priceRao);
  const uid = state.neurons.length < rules.maxUids ? state.neurons.length : pruned(state, rules, block);
  return () => {
    state.balances[payer] = balanceRao - priceRao;
    state.burnedRao += priceRao;
    const raisedRao = (priceRao * BigInt(rules.burnIncreasePercent)) / 100n;
    const mostRao = BigInt(rules.maxBurnRao);
    state.burn = { rao: raisedRao > mostRao ? mostRao : raisedRao, block };
    if (uid < state.neurons.length) depart(state, state.neurons[uid]!);
    delete state.departed[hotkey];
    state.neurons[uid] = newNeuron({ hotkey, coldkey, stakeRao: departed?.stakeRao ?? 0n, block });
  };
}

/** The uid with the least emission in the last epoch, of equal ones the oldest; not who is immune, not the owner. */
function pruned(state: ChainState, rules: ChainRules, block: number): number {
  let lowest = -1;
  for (const [uid, neuron] of state.neurons.entries()) {
    if (block - neuron.registeredAtBlock < rules.immunityBlocks || neuron.hotkey === rules.owner) continue;
    const before = state.neurons[lowest];
    const isLower =
      before === undefined ||
      neuron.lastEmissionRao < before.lastEmissionRao ||
      (neuron.lastEmissionRao === before.lastEmissionRao && neuron.registeredAtBlock < before.registeredAtBlock);
    if (isLower) lowest = uid;
  }
  if (lowest >= 0) return lowest;
  const freeAt = Math.min(...state.neurons.map((neuron) => neuron.registeredAtBlock)) + rules.immunityBlocks;
  const sentence = `all ${rules.maxUids} uids are taken and immune; try again from block ${freeAt}`;
  throw refused('NO_SLOT', 'NoNeuronIdAvailable', sentence, { nextBlock: freeAt });
}

/** The stake stays its coldkey's: it can be removed, and comes back with the hotkey. */
function depart(state: ChainState, { hotkey, coldkey, stakeRao }: NeuronState): void {
  if (stakeRao > 0n) state.departed[hotkey] = { coldkey, stakeRao };
  delete state.axons[hotkey];
  delete state.weightCommits[hotkey];
}

function newNeuron({
  hotkey,
  coldkey,
  stakeRao,
  block,
}: Omit<Registration, 'payer'> & { stakeRao: bigint }): NeuronState {
  return {
    ...{ hotkey, coldkey, stakeRao, emissionRao: 0n, lastEmissionRao: 0n, validatorPermit: false },
    ...{ registeredAtBlock: block, lastUpdateBlock: null, weights: [], bonds: [] },
    ...{ incentive: 0, dividends: 0, consensus: 0, validatorTrust: 0 },
  };
}
