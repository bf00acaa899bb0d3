/**
 * @file The embedded chain's rules, pure: what a call needs, what it changes, and what the end of a block does. Same genesis and
 * same calls in the same blocks give the same state. Each kind of call has its rules in `rules/`.
 */
import type { Hotkey } from '../protocol/names.ts';
import { assertNever } from '../util/errors.ts';
import type { Call, CallArgs } from './calls.ts';
import { type Payment, payEmission } from './emission.ts';
import type { ChainRules } from './genesis.ts';
import { planAxon, planCommitment, planIdentity } from './rules/records.ts';
import { planRegister } from './rules/registration.ts';
import { planAddStake, planRemoveStake, planTransfer } from './rules/stake.ts';
import { planCommitWeights, planRevealWeights, planSetWeights, unexpiredCommits } from './rules/weights.ts';
import { balanceOf, type ChainState, uidOf } from './state.ts';
import { runYuma, sharesOf, type YumaNeuron, type YumaParams } from './yuma/epoch.ts';

/**
 * Checks a call in the block that is being made; throws LedgerError, or gives the change to make. Nothing is changed
 * before that change is called. `signer` is the account that signed.
 */
export function planCall(state: ChainState, rules: ChainRules, signer: Hotkey, call: Call, block: number): () => void {
  switch (call.name) {
    case 'burned_register':
      return planRegister(state, rules, { ...partiesOf(signer, call.args), payer: signer, block });
    case 'add_stake':
    case 'remove_stake': {
      const stake = { signer, hotkey: call.args.hotkey ?? signer, amountRao: BigInt(call.args.amountRao) };
      return call.name === 'add_stake' ? planAddStake(state, rules, stake) : planRemoveStake(state, rules, stake);
    }
    case 'transfer':
      return planTransfer(state, rules, { signer, to: call.args.to, amountRao: BigInt(call.args.amountRao) });
    case 'set_weights': {
      const { uids, values, versionKey = 0 } = call.args;
      return planSetWeights(state, rules, { hotkey: signer, uids, values, versionKey, block });
    }
    case 'commit_weights':
      return planCommitWeights(state, rules, { hotkey: signer, hash: call.args.hash, block });
    case 'reveal_weights':
      return planRevealWeights(state, rules, { hotkey: signer, ...call.args, block });
    case 'serve_axon':
      return planAxon(state, rules, { hotkey: signer, axon: call.args, block });
    case 'set_identity':
      return planIdentity(state, signer, call.args);
    case 'set_commitment':
      return planCommitment(state, rules, { hotkey: signer, data: call.args.data, block });
    default:
      return assertNever(call);
  }
}

/** A coldkey registers its hotkey, as on the chain; or a hotkey registers itself for a coldkey, and pays itself. */
const partiesOf = (signer: Hotkey, args: CallArgs<'burned_register'>) =>
  'hotkey' in args ? { hotkey: args.hotkey, coldkey: signer } : { hotkey: signer, coldkey: args.coldkey };

/** What an epoch paid, by uid, and the weights that it read. */
export interface EpochRecord {
  readonly payment: Payment;
  readonly weights: readonly (readonly (readonly [uid: number, weight: number])[])[];
}

export const nextEpochBlock = ({ lastEpochBlock }: ChainState, { firstEpochBlock, tempoBlocks }: ChainRules): number =>
  lastEpochBlock === 0 ? (firstEpochBlock ?? tempoBlocks) : lastEpochBlock + tempoBlocks;

/** What the end of block `block` does: emission, and the epoch when a tempo has passed since the last one, else null. */
export function endBlock(state: ChainState, rules: ChainRules, block: number): EpochRecord | null {
  state.pendingEmissionRao += BigInt(rules.emissionPerBlockRao);
  if (block < nextEpochBlock(state, rules)) return null;
  const lastTempoBlock = state.lastEpochBlock === 0 ? 0 : state.lastEpochBlock + 1;
  const record = runEpoch(state, rules, { atBlock: block, lastTempoBlock });
  state.lastEpochBlock = block;
  state.epochIndex++;
  return record;
}

function runEpoch(
  state: ChainState,
  rules: ChainRules,
  time: { readonly atBlock: number; readonly lastTempoBlock: number },
): EpochRecord {
  const result = runYuma(yumaNeurons(state, rules), yumaParams(state, rules), time);
  const emissionRao = state.pendingEmissionRao;
  const payment = payEmission(emissionRao, {
    incentive: sharesOf(result.serverShare),
    dividends: sharesOf(result.validatorShare),
  });
  const weights = state.neurons.map((neuron) => neuron.weights);
  state.pendingEmissionRao = 0n;
  state.issuedRao += emissionRao;
  state.balances[rules.owner] = balanceOf(state, rules, rules.owner) + payment.ownerRao;
  const [incentive, dividends] = [sharesOf(result.incentive), sharesOf(result.dividends)];
  const [consensus, validatorTrust] = [sharesOf(result.consensus), sharesOf(result.validatorTrust)];
  const serverRao: bigint[] = [];
  for (const [uid, neuron] of state.neurons.entries()) {
    // What the owner's own hotkeys would be paid for serving is burned: weights on them pay nobody.
    const isBurned = neuron.coldkey === rules.owner || neuron.hotkey === rules.owner;
    if (isBurned) state.burnedRao += payment.serverRao[uid]!;
    serverRao.push(isBurned ? 0n : payment.serverRao[uid]!);
    const paidRao = payment.validatorRao[uid]! + serverRao[uid]!;
    neuron.stakeRao += paidRao;
    neuron.emissionRao += paidRao;
    neuron.lastEmissionRao = paidRao;
    neuron.incentive = incentive[uid]!;
    neuron.dividends = dividends[uid]!;
    neuron.consensus = consensus[uid]!;
    neuron.validatorTrust = validatorTrust[uid]!;
    neuron.validatorPermit = result.validatorPermits[uid]!;
    neuron.bonds = result.bonds[uid]!.map(([j, value]) => [j, value]);
    if (!neuron.validatorPermit) neuron.weights = [];
  }
  return { payment: { ...payment, serverRao }, weights };
}

function yumaNeurons(state: ChainState, rules: ChainRules): YumaNeuron[] {
  return state.neurons.map((neuron) => ({
    ...neuron,
    lastUpdateBlock: neuron.lastUpdateBlock ?? neuron.registeredAtBlock,
    commitBlock: rules.isCommitReveal ? (unexpiredCommits(state, rules, neuron.hotkey)[0]?.block ?? null) : null,
  }));
}

function yumaParams(state: ChainState, rules: ChainRules): YumaParams {
  const { kappa, maxValidators, activityCutoffBlocks, bondsPenalty, bondsMovingAverage } = rules;
  const { alphaLow, alphaHigh, alphaSigmoidSteepness } = rules;
  const ownerUid = uidOf(state, rules.owner);
  return {
    ...{ version: rules.yumaVersion, liquidAlpha: rules.isLiquidAlpha, path: 'sparse' },
    ...{ kappa, maxValidators, activityCutoffBlocks, bondsPenalty, bondsMovingAverage },
    ...{ alphaLow, alphaHigh, alphaSigmoidSteepness },
    stakeThresholdRao: BigInt(rules.stakeThresholdRao),
    ownerUid: ownerUid < 0 ? null : ownerUid,
  };
}
