/**
 * @file One inner step: batch → loss and gradients → clipped AdamW → selection biases. Does no I/O and reads no clock;
 * sequences and the learning rate come in with the call. The same calls give the same bits on one kind of machine.
 */
import { type Sequence, stackSequences } from '../data/shards.ts';
import { openSession, type Session } from '../engine/session.ts';
import { buildLossGraph, type LossGraph } from '../model/quasar-long/graphs.ts';
import { loadImbalance, updateSelectionBias } from '../model/quasar-long/selection-bias.ts';
import { type TensorView, viewOf } from '../tensor/view.ts';
import { TrainingError } from './errors.ts';
import type { ModelState } from './model-state.ts';

/** What changes the parameters: clips `gradients` to a global norm and descends them. */
export interface InnerOptimizer {
  /** Returns the gradient's norm before clipping; a norm that is not finite changes nothing. */
  step(learningRate: number): number;
}

export interface InnerLoopOptions {
  readonly batch: number;
  readonly seqLen: number;
  readonly threads: number;
  /** u of the balancing rule. */
  readonly selectionBiasRate: number;
}

export interface InnerStepResult {
  /** Mean over the labels that count, in nats a token, before the update. */
  readonly loss: number;
  readonly gradNorm: number;
  /** Tokens read: batch × sequence length. */
  readonly tokens: number;
  /** Greatest expert load over the mean load, worst layer: 1 is balance. */
  readonly imbalance: number;
  /** Loss or gradient was not finite: nothing was changed. */
  readonly isSkipped: boolean;
}

/** Steps in a row that may be skipped before the loop gives up. */
const maxSkipped = 10;

export class InnerLoop {
  readonly #model: ModelState;
  readonly #optimizer: InnerOptimizer;
  readonly #options: InnerLoopOptions;
  readonly #graph: LossGraph;
  readonly #session: Session;
  readonly #fetch: readonly string[];
  /** Gradients are written straight into their buffer. */
  readonly #targets: Readonly<Record<string, TensorView>>;
  #skippedInARow = 0;

  private constructor(parts: {
    model: ModelState;
    optimizer: InnerOptimizer;
    options: InnerLoopOptions;
    graph: LossGraph;
    session: Session;
  }) {
    this.#model = parts.model;
    this.#optimizer = parts.optimizer;
    this.#options = parts.options;
    this.#graph = parts.graph;
    this.#session = parts.session;
    const { gradientNames, loadNames } = parts.graph;
    this.#fetch = ['loss', ...loadNames.map((name) => `load:${name}`), ...gradientNames.map((name) => `grad:${name}`)];
    const { gradients } = parts.model;
    this.#targets = Object.fromEntries(
      gradientNames.map((name) => [`grad:${name}`, viewOf(gradients.view(name), gradients.entry(name).shape)]),
    );
  }

  static async open(model: ModelState, optimizer: InnerOptimizer, options: InnerLoopOptions): Promise<InnerLoop> {
    const { batch, seqLen, threads } = options;
    const graph = buildLossGraph(model.config, { batch, seqLen, packed: true, gradients: true });
    const session = await openSession(graph.graph, { threads });
    return new InnerLoop({ model, optimizer, options, graph, session });
  }

  /** `sequences`: one row of the batch each. @throws TrainingError BAD_BATCH, DIVERGED */
  async step(sequences: readonly Sequence[], learningRate: number): Promise<InnerStepResult> {
    const { batch, seqLen } = this.#options;
    if (sequences.length !== batch || sequences.some(({ inputIds }) => inputIds.length !== seqLen))
      throw new TrainingError(
        'BAD_BATCH',
        `expected ${batch} sequences of ${seqLen} tokens, got ${sequences.length} of ${sequences[0]?.inputIds.length}`,
      );
    const { inputIds, positionIds, labels } = stackSequences(sequences);
    const shape = [batch, seqLen];
    const outputs = await this.#session.run(
      {
        ...this.#model.feeds,
        input_ids: viewOf(inputIds, shape),
        position_ids: viewOf(positionIds, shape),
        labels: viewOf(labels, shape),
      },
      this.#fetch,
      this.#targets,
    );
    const f32 = (name: string): Float32Array => outputs[name]!.data as Float32Array;
    const loss = f32('loss')[0]!;
    const gradNorm = Number.isFinite(loss) ? this.#optimizer.step(learningRate) : Number.NaN;
    const isSkipped = !Number.isFinite(gradNorm);
    this.#countSkipped(isSkipped);
    const loads = this.#graph.loadNames.map((name) => [name, f32(`load:${name}`)] as const);
    if (!isSkipped)
      for (const [name, load] of loads)
        updateSelectionBias(this.#model.biases.view(name), load, this.#options.selectionBiasRate);
    const imbalance = Math.max(1, ...loads.map(([, load]) => loadImbalance(load)));
    return { loss, gradNorm, tokens: batch * seqLen, imbalance, isSkipped };
  }

  async close(): Promise<void> {
    await this.#session.release();
  }

  #countSkipped(isSkipped: boolean): void {
    this.#skippedInARow = isSkipped ? this.#skippedInARow + 1 : 0;
    if (this.#skippedInARow > maxSkipped)
      throw new TrainingError('DIVERGED', `loss or gradient not finite in ${this.#skippedInARow} steps in a row`);
  }
}
