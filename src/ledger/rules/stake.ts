/** @file Rao: transfers, stake on a hotkey, and back. Who signs pays; stake belongs to the hotkey's coldkey. */
import type { Hotkey } from '../../protocol/names.ts';
import { refused } from '../errors.ts';
import type { ChainRules } from '../genesis.ts';
import { balanceOf, type ChainState, registered, requireBalance, uidOf } from '../state.ts';

export interface StakeCall {
  readonly signer: Hotkey;
  readonly hotkey: Hotkey;
  readonly amountRao: bigint;
}

export function planAddStake(
  state: ChainState,
  rules: ChainRules,
  { signer, hotkey, amountRao }: StakeCall,
): () => void {
  const { neuron } = registered(state, hotkey);
  if (signer !== hotkey && signer !== neuron.coldkey)
    throw refused('NOT_ASSOCIATED', 'NonAssociatedColdKey', `${hotkey} belongs to ${neuron.coldkey}, not to ${signer}`);
  if (amountRao < BigInt(rules.minStakeRao))
    throw refused('BALANCE', 'StakeAmountTooLow', `expected at least ${rules.minStakeRao} rao, got ${amountRao}`);
  const balanceRao = requireBalance(state, rules, signer, amountRao);
  return () => {
    state.balances[signer] = balanceRao - amountRao;
    neuron.stakeRao += amountRao;
  };
}

export function planRemoveStake(
  state: ChainState,
  rules: ChainRules,
  { signer, hotkey, amountRao }: StakeCall,
): () => void {
  const holder = state.neurons[uidOf(state, hotkey)] ?? state.departed[hotkey];
  if (holder === undefined)
    throw refused('NOT_REGISTERED', 'HotKeyAccountNotExists', `no stake lies on ${hotkey}; check the address`);
  if (signer !== holder.coldkey)
    throw refused(
      'NOT_ASSOCIATED',
      'NonAssociatedColdKey',
      `the stake on ${hotkey} is ${holder.coldkey}'s; sign with it`,
    );
  if (amountRao === 0n || amountRao > holder.stakeRao)
    throw refused(
      'BALANCE',
      'NotEnoughStakeToWithdraw',
      `${holder.stakeRao} rao lie on ${hotkey}, asked for ${amountRao}`,
    );
  return () => {
    holder.stakeRao -= amountRao;
    if (holder.stakeRao === 0n) delete state.departed[hotkey];
    state.balances[signer] = balanceOf(state, rules, signer) + amountRao;
  };
}

export interface Transfer {
  readonly signer: Hotkey;
  readonly to: Hotkey;
  readonly amountRao: bigint;
}

export function planTransfer(state: ChainState, rules: ChainRules, { signer, to, amountRao }: Transfer): () => void {
  const balanceRao = requireBalance(state, rules, signer, amountRao);
  return () => {
    state.balances[signer] = balanceRao - amountRao;
    state.balances[to] = balanceOf(state, rules, to) + amountRao;
  };
}
