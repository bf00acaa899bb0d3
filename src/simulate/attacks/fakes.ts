/** @file What attackers are made of: pseudo-gradients that no training made, and steps that nobody did. */
import { medianNorm } from '../../journal/queries.ts';
import { decodeFragment, encodeFragment } from '../../merge/codecs/fragment-file.ts';
import type { Fragment } from '../../merge/fragment-plan.ts';
import { emptyFragment, type FragmentValues } from '../../merge/fragment-values.ts';
import type { Hash } from '../../protocol/names.ts';
import type { TrainPlan } from '../../roles/miner/events.ts';
import type { ThreadStepReport } from '../../roles/miner/learner-thread.ts';
import { runModelOf } from '../../roles/run-model.ts';
import { learningRateAt } from '../../training/schedule.ts';
import type { Rng } from '../../util/rng.ts';
import type { BehaviourContext } from '../network.ts';

export const fragmentOf = ({ manifest }: BehaviourContext, id: number): Fragment =>
  runModelOf(manifest).plan.fragments[id]!;

export function encodeClaim({ manifest }: BehaviourContext, fragment: Fragment, values: FragmentValues): Uint8Array {
  return encodeFragment(manifest.codec, fragment, values).bytes;
}

export function decodeClaim({ manifest }: BehaviourContext, fragment: Fragment, bytes: Uint8Array): FragmentValues {
  return decodeFragment(manifest.codec, fragment, bytes);
}

/** `change` of each parameter's number; selection biases stay as they are. */
export function changed(
  context: BehaviourContext,
  id: number,
  bytes: Uint8Array,
  change: (x: number) => number,
): Uint8Array {
  const fragment = fragmentOf(context, id);
  const { params, selectionBias } = decodeClaim(context, fragment, bytes);
  return encodeClaim(context, fragment, { params: params.map(change), selectionBias });
}

export const emptyClaim = (context: BehaviourContext, id: number): Uint8Array =>
  encodeClaim(context, fragmentOf(context, id), emptyFragment(fragmentOf(context, id)));

/** Noise of the norm that the fragment's last merges had; of 0.1 per √step before the first. */
export function noiseClaim(context: BehaviourContext, id: number, steps: number, rng: Rng): Uint8Array {
  const fragment = fragmentOf(context, id);
  const norm = (medianNorm(context.client.state, id) ?? 0.1) * Math.sqrt(steps);
  const values = emptyFragment(fragment);
  const scale = norm / Math.sqrt(fragment.elementCount);
  for (let i = 0; i < values.params.length; i++) values.params[i] = scale * rng.normal();
  return encodeClaim(context, fragment, values);
}

/** What a step would report that nobody did: plausible numbers, and the root of some other state. */
export function fakedStep({ manifest }: BehaviourContext, plan: TrainPlan, root: Hash | null): ThreadStepReport {
  const { recipe, phases } = manifest;
  const { schedule, sequenceLength } = phases[plan.phase]!;
  return {
    loss: 5,
    gradNorm: 1,
    tokens: recipe.batchSequences * sequenceLength,
    imbalance: 1,
    routers: [],
    isSkipped: false,
    stateFault: null,
    learningRate: learningRateAt(schedule, plan.scheduleTokens) * plan.warmup,
    stateRoot: plan.withStateRoot ? root : null,
  };
}
