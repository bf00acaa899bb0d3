/** @file Weights: `set_weights` with the checks of the chain in their order, and the two steps of commit-reveal (version 2). */
import { blake2b256 } from '../../protocol/hash.ts';
import type { Hash, Hotkey } from '../../protocol/names.ts';
import { toHex } from '../../util/bytes.ts';
import { committedBytes } from '../committed-weights.ts';
import { refused } from '../errors.ts';
import type { ChainRules } from '../genesis.ts';
import { type ChainState, registered } from '../state.ts';

export interface WeightsCall {
  readonly hotkey: Hotkey;
  readonly uids: readonly number[];
  readonly values: readonly number[];
  readonly versionKey: number;
  readonly block: number;
}

const maxUnrevealed = 10;

const bad = (chainError: string, sentence: string) => refused('BAD_WEIGHTS', chainError, sentence);

export function planSetWeights(state: ChainState, rules: ChainRules, call: WeightsCall): () => void {
  if (rules.isCommitReveal)
    throw refused(
      'COMMIT_REVEAL',
      'CommitRevealEnabled',
      'this subnet takes weights by commit_weights and reveal_weights',
    );
  return planWeights(state, rules, call, { isReveal: false });
}

function planWeights(
  state: ChainState,
  rules: ChainRules,
  call: WeightsCall,
  { isReveal }: { readonly isReveal: boolean },
): () => void {
  const { hotkey, uids, values, block } = call;
  const { neurons } = state;
  if (uids.length !== values.length)
    throw bad('WeightVecNotEqualSize', `${uids.length} uids, ${values.length} weights; give one weight a uid`);
  if (uids.length > neurons.length)
    throw bad('UidsLengthExceedUidsInSubNet', `${uids.length} uids, but the subnet has ${neurons.length}`);
  const { uid: own, neuron } = registered(state, hotkey);
  requireWeightStake(rules, neuron.stakeRao);
  const { weightsVersionKey } = rules;
  if (weightsVersionKey !== 0 && call.versionKey < weightsVersionKey) {
    const sentence = `expected version key ${weightsVersionKey} or later, got ${call.versionKey}; update the validator`;
    throw bad('IncorrectWeightVersionKey', sentence);
  }
  if (!isReveal) requireRate(rules, neuron.lastUpdateBlock, block, 'SettingWeightsTooFast');
  const isSelf = uids.length === 1 && uids[0] === own;
  if (!neuron.validatorPermit && !isSelf && hotkey !== rules.owner) {
    const sentence = `${hotkey} has no validator permit; stake, and wait for the next epoch`;
    throw refused('NO_PERMIT', 'NeuronNoValidatorPermit', sentence);
  }
  if (new Set(uids).size !== uids.length) throw bad('DuplicateUids', 'a uid is named twice');
  const unknown = uids.find((uid) => uid >= neurons.length);
  if (unknown !== undefined) throw bad('UidVecContainInvalidOne', `uid ${unknown} is not taken`);
  const largest = values.reduce((a, b) => Math.max(a, b), 0);
  const least = Math.min(neurons.length, rules.minAllowedWeights);
  if (largest === 0 || (uids.length < least && !isSelf))
    throw bad('WeightVecLengthIsLow', `expected at least ${Math.max(1, least)} weights above 0, got ${uids.length}`);
  const total = values.reduce((a, b) => a + b, 0);
  if (!isSelf && Math.floor((largest / total) * 65_535) > rules.maxWeightLimit)
    throw bad(
      'MaxWeightExceeded',
      `one weight is ${largest} of ${total}; the limit is ${rules.maxWeightLimit} of 65535`,
    );
  return () => {
    neuron.weights = uids.map((uid, i) => [uid, Math.floor((values[i]! * 65_535) / largest)]);
    if (!isReveal) neuron.lastUpdateBlock = block;
  };
}

function requireWeightStake(rules: ChainRules, stakeRao: bigint): void {
  const least = BigInt(rules.minStakeToSetWeightsRao);
  if (stakeRao < least)
    throw refused(
      'BALANCE',
      'NotEnoughStakeToSetWeights',
      `expected a stake of ${least} rao, got ${stakeRao}; stake more`,
    );
}

function requireRate(rules: ChainRules, last: number | null, block: number, chainError: string): void {
  const nextBlock = last === null ? 0 : last + rules.weightsRateLimitBlocks;
  if (block >= nextBlock) return;
  const sentence = `weights may be set again in block ${nextBlock}, this is ${block}`;
  throw refused('RATE_LIMIT', chainError, sentence, { nextBlock, block });
}

export interface CommitCall {
  readonly hotkey: Hotkey;
  readonly hash: Hash;
  readonly block: number;
}

export function planCommitWeights(
  state: ChainState,
  rules: ChainRules,
  { hotkey, hash, block }: CommitCall,
): () => void {
  if (!rules.isCommitReveal)
    throw refused('COMMIT_REVEAL', 'CommitRevealDisabled', 'this subnet takes plain weights: use set_weights');
  const { neuron } = registered(state, hotkey);
  requireWeightStake(rules, neuron.stakeRao);
  requireRate(rules, neuron.lastUpdateBlock, block, 'CommittingWeightsTooFast');
  const open = unexpiredCommits(state, rules, hotkey);
  if (open.length >= maxUnrevealed)
    throw refused('RATE_LIMIT', 'TooManyUnrevealedCommits', `${open.length} commits wait; reveal them first`);
  return () => {
    state.weightCommits[hotkey] = [...open, { hash, block, epoch: state.epochIndex }];
    neuron.lastUpdateBlock = block;
  };
}

/** Those whose time to be revealed has not passed. */
export const unexpiredCommits = (state: ChainState, rules: ChainRules, hotkey: Hotkey) =>
  (state.weightCommits[hotkey] ?? []).filter(({ epoch }) => state.epochIndex <= epoch + rules.revealPeriodEpochs);

export interface RevealCall extends WeightsCall {
  readonly salt: readonly number[];
}

export function planRevealWeights(state: ChainState, rules: ChainRules, call: RevealCall): () => void {
  const { hotkey } = call;
  const no = (chainError: string, sentence: string) => refused('COMMIT_REVEAL', chainError, sentence);
  if (!rules.isCommitReveal) throw no('CommitRevealDisabled', 'this subnet takes plain weights: use set_weights');
  const all = state.weightCommits[hotkey] ?? [];
  if (all.length === 0) throw no('NoWeightsCommitFound', `${hotkey} has committed to nothing; commit first`);
  const hash = toHex(blake2b256(committedBytes(hotkey, rules.netuid, call)));
  const open = unexpiredCommits(state, rules, hotkey);
  const at = open.findIndex((commit) => commit.hash === hash);
  if (at < 0) {
    if (all.some((commit) => commit.hash === hash))
      throw no('ExpiredWeightCommit', 'the epoch to reveal it in has passed; commit anew');
    throw no('InvalidRevealCommitHashNotMatch', 'no commit is of these uids, weights, salt and version key');
  }
  const dueEpoch = open[at]!.epoch + rules.revealPeriodEpochs;
  if (state.epochIndex < dueEpoch)
    throw no('RevealTooEarly', `it may be revealed in epoch ${dueEpoch}, this is ${state.epochIndex}`);
  const setWeights = planWeights(state, rules, call, { isReveal: true });
  return () => {
    setWeights();
    state.weightCommits[hotkey] = open.slice(at + 1);
  };
}
