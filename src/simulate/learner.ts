/** @file A learner in this process on virtual time: real training, whose steps take as long as the simulated machine needs. */
import type { LoadedShards } from '../data/shards.ts';
import type { RunManifest } from '../protocol/manifest.ts';
import type { Hash } from '../protocol/names.ts';
import { Learner, type PublishedFragment } from '../roles/learner/learner.ts';
import { keptStates } from '../roles/learner/state-folder.ts';
import type { TrainPlan } from '../roles/miner/events.ts';
import type { LearnerThread } from '../roles/miner/learner-thread.ts';
import type { PhaseTerms } from '../roles/run-data.ts';
import type { Clock } from '../util/clock.ts';
import { nodeSha256 } from '../util/node-sha256.ts';

export interface SimulatedMachine {
  readonly clock: Clock;
  /** Virtual time of one inner step, or of one on so many tokens that begins now. */
  readonly stepMs: number | ((tokens: number) => number);
  readonly signal: AbortSignal;
  /** Tokens of every inner step that was truly done. */
  readonly onTokens: (tokens: number) => void;
}

/** Does its calls one after another, as the thread does. */
export function openSimulatedLearner(
  parts: {
    readonly manifest: RunManifest;
    readonly loaded: LoadedShards;
    readonly start: readonly PublishedFragment[];
    readonly frozen: Uint8Array | null;
  },
  machine: SimulatedMachine,
): LearnerThread {
  const states = new Map<Hash, Uint8Array>();
  let terms: PhaseTerms = { phases: parts.manifest.phases, cursors: [] };
  const learner = new Learner({
    ...parts,
    terms: () => terms,
    threads: 1,
    hash: nodeSha256,
    onState: async ({ root, parts: live }) => {
      states.set(root, Buffer.concat(live));
      if (states.size > keptStates(parts.manifest.audit.window)) states.delete(states.keys().next().value!);
    },
  });
  let last: Promise<unknown> = Promise.resolve();
  const next = <T>(call: () => Promise<T> | T): Promise<T> => {
    const result = last.then(call);
    last = result.catch(() => {});
    return result;
  };
  return {
    prepare: (phase, now) =>
      next(() => {
        terms = now;
        return learner.prepare(phase);
      }),
    step: (plan: TrainPlan) =>
      next(async () => {
        const report = await learner.step(plan);
        machine.onTokens(report.tokens);
        const { stepMs } = machine;
        await machine.clock.sleep(
          typeof stepMs === 'number' ? stepMs : Math.ceil(stepMs(report.tokens)),
          machine.signal,
        );
        return { ...report, stateFault: null };
      }),
    claim: (fragment) => next(() => learner.claim(fragment)),
    takeIn: (fragment, published) => next(() => learner.takeIn(fragment, published)),
    keptState: async (root) => states.get(root) ?? null,
    close: () => next(() => learner.close()),
  };
}
