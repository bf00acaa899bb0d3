/**
 * @file Evaluators of a run's phases: a session for each length and kind of positions, and the held-out text that releases of the phase
 * are evaluated on. The newest two stay open: around a phase change both are asked for.
 */
import { type Evaluator, openEvaluator } from '../../evaluation/evaluator.ts';
import { type HeldOutSequence, type HeldOutStage, heldOutPlaces, heldOutSequences } from '../../evaluation/held-out.ts';
import { phaseOf } from '../../journal/queries.ts';
import type { RunState } from '../../journal/state.ts';
import type { RunManifest } from '../../protocol/manifest.ts';
import { canonicalJson } from '../../util/canonical-json.ts';
import { configOfPhase } from '../phase-config.ts';
import type { RunText } from '../run-data.ts';
import type { RunModel } from '../run-model.ts';

export interface PhaseEvaluatorDeps {
  readonly run: RunState;
  readonly manifest: RunManifest;
  readonly model: RunModel;
  readonly text: RunText;
  readonly threads: number;
}

const evaluationBatch = 8;
const keptSessions = 2;

export class PhaseEvaluators {
  readonly #deps: PhaseEvaluatorDeps;
  readonly #open = new Map<string, Promise<Evaluator>>();

  constructor(deps: PhaseEvaluatorDeps) {
    this.#deps = deps;
  }

  /** Good until others of other phases have been asked for. @throws EngineError */
  async of(phase: number): Promise<Evaluator> {
    const { run, manifest, model, threads } = this.#deps;
    const { sequenceLength: seqLen, context = {} } = phaseOf(run, phase);
    const key = canonicalJson({ seqLen, context });
    const known = this.#open.get(key);
    if (known !== undefined) return known;
    for (const [name, evaluator] of this.#open) {
      if (this.#open.size < keptSessions) break;
      this.#open.delete(name);
      await (await evaluator).close();
    }
    const batch = Math.min(evaluationBatch, manifest.evaluation.gainSequences);
    const opening = openEvaluator(configOfPhase(model.config, { context }), { batch, seqLen, threads });
    this.#open.set(key, opening);
    return opening;
  }

  /** The text on which releases of a phase are evaluated: the same for all validators. */
  heldOut(phase: number): Promise<ReadonlyMap<HeldOutStage, readonly HeldOutSequence[]>> {
    const { run, manifest, text } = this.#deps;
    const { sequenceLength: seqLen, mixture } = phaseOf(run, phase);
    const sequences = manifest.evaluation.heldOutSequences;
    const { shards, loaded, endOfText } = text;
    const asked = { shards, seqLen, sequences, mixture };
    return text.reading(heldOutPlaces(asked), () => heldOutSequences({ ...asked, loaded, endOfText }));
  }

  async close(): Promise<void> {
    for (const evaluator of this.#open.values()) await (await evaluator).close();
    this.#open.clear();
  }
}
