/**
 * @file One inner step: batch → loss and gradients → inner optimiser → selection biases. Does no I/O and reads no clock;
 * sequences and the learning rate come in with the call. The same calls give the same bits on one kind of machine
 * and device.
 */
import { type Sequence, stackSequences } from '../data/shards.ts';
import type { Device } from '../engine/device.ts';
import { type Feeds, openSession, type Session } from '../engine/session.ts';
import type { QuasarLongConfig } from '../model/quasar-long/config.ts';
import { frozenNames } from '../model/quasar-long/frozen.ts';
import { buildLossGraph, type LossGraph } from '../model/quasar-long/graphs.ts';
import { updateSelectionBias } from '../model/quasar-long/selection-bias.ts';
import { type TensorView, viewOf } from '../tensor/view.ts';
import { assert } from '../util/errors.ts';
import { TrainingError } from './errors.ts';
import { feedsOf, type ModelState } from './model-state.ts';
import type { InnerOptimizer } from './optimizer.ts';
import { type RouterHealth, RouterWatch } from './router-health.ts';

export interface InnerLoopOptions {
  /** Sequences of one micro-batch. */
  readonly batch: number;
  /** Micro-batches of one step; 1 by default. More need a model that `accumulates`. */
  readonly microBatches?: number;
  /** Coefficient of the z-loss; 0 by default. */
  readonly zLoss?: number;
  readonly seqLen: number;
  readonly threads: number;
  /** The model's own by default; another must have the same parameters (a phase's positions). */
  readonly config?: QuasarLongConfig;
  /** Of the forward and backward pass; default cpu. */
  readonly device?: Device;
  /** Gradient checkpointing: less memory, more work, the same bits. */
  readonly recomputeLayers?: boolean;
  /** u of the balancing rule. */
  readonly selectionBiasRate: number;
}

export interface InnerStepResult {
  /** Mean over the labels that count, in nats a token, before the update. */
  readonly loss: number;
  readonly gradNorm: number;
  /** Tokens read. */
  readonly tokens: number;
  /** Greatest expert load over the mean load, worst layer: 1 is balance. */
  readonly imbalance: number;
  /** Of each layer with experts. */
  readonly routers: readonly RouterHealth[];
  /** Loss or gradient was not finite: nothing was changed. */
  readonly isSkipped: boolean;
}

interface MicroBatch {
  readonly loss: number;
  /** Labels that count. */
  readonly counted: number;
  /** Assignments to each expert, by router. */
  readonly loads: readonly Float32Array[];
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
  readonly #watches: readonly RouterWatch[];
  /** Steps in a row that changed nothing; part of a learner's state. */
  skippedInARow = 0;

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
    this.#watches = loadNames.map((name) => new RouterWatch(name));
    this.#fetch = [
      'loss',
      'sequence_tokens',
      ...loadNames.map((name) => `load:${name}`),
      ...gradientNames.map((name) => `grad:${name}`),
    ];
    const { gradients } = parts.model;
    this.#targets = Object.fromEntries(
      gradientNames.map((name) => [`grad:${name}`, viewOf(gradients.view(name), gradients.entry(name).shape)]),
    );
  }

  static async open(model: ModelState, optimizer: InnerOptimizer, options: InnerLoopOptions): Promise<InnerLoop> {
    const { batch, seqLen, threads, device = 'cpu', microBatches = 1, zLoss = 0, recomputeLayers = false } = options;
    assert(microBatches === 1 || model.accumulator !== null, 'micro-batches need a model that accumulates');
    const graph = buildLossGraph(options.config ?? model.config, {
      batch,
      seqLen,
      packed: true,
      gradients: true,
      frozen: frozenNames(model.contract),
      zLoss,
      recomputeLayers,
    });
    const session = await openSession(graph.graph, { threads, device });
    return new InnerLoop({ model, optimizer, options, graph, session });
  }

  /** `sequences`: whole micro-batches, at most as many as there are. @throws TrainingError BAD_BATCH, DIVERGED */
  async step(sequences: readonly Sequence[], learningRate: number): Promise<InnerStepResult> {
    const { batch, seqLen, microBatches = 1 } = this.#options;
    const [rows, most] = [sequences.length, batch * microBatches];
    if (rows === 0 || rows % batch !== 0 || rows > most || sequences.some(({ inputIds }) => inputIds.length !== seqLen))
      throw new TrainingError(
        'BAD_BATCH',
        `expected up to ${most} sequences of ${seqLen} tokens, ${batch} at a time, got ${rows} of ${sequences[0]?.inputIds.length}`,
      );
    // Frozen tensors that are stored as bfloat16 are widened once a step, and only for it.
    const feeds = feedsOf(this.#model);
    const { loss, loads } =
      microBatches === 1 ? await this.#run(sequences, feeds) : await this.#accumulate(sequences, feeds);
    const gradNorm = Number.isFinite(loss) ? await this.#optimizer.step(learningRate) : Number.NaN;
    const isSkipped = !Number.isFinite(gradNorm);
    this.#countSkipped(isSkipped);
    if (!isSkipped)
      this.#graph.loadNames.forEach((name, i) => {
        const { biases } = this.#model;
        if (biases.has(name)) updateSelectionBias(biases.view(name), loads[i]!, this.#options.selectionBiasRate);
      });
    const routers = this.#watches.map((watch, i) => watch.add(loads[i]!));
    const imbalance = Math.max(1, ...routers.map((router) => router.imbalance));
    return { loss, gradNorm, tokens: rows * seqLen, imbalance, routers, isSkipped };
  }

  /** One micro-batch; its gradients are in their buffer afterwards. */
  async #run(sequences: readonly Sequence[], feeds: Feeds): Promise<MicroBatch> {
    const { inputIds, positionIds, labels } = stackSequences(sequences);
    const shape = [this.#options.batch, this.#options.seqLen];
    const outputs = await this.#session.run(
      {
        ...feeds,
        input_ids: viewOf(inputIds, shape),
        position_ids: viewOf(positionIds, shape),
        labels: viewOf(labels, shape),
      },
      this.#fetch,
      this.#targets,
    );
    const f32 = (name: string): Float32Array => outputs[name]!.data as Float32Array;
    const counted = f32('sequence_tokens').reduce((sum, count) => sum + count, 0);
    return { loss: f32('loss')[0]!, counted, loads: this.#graph.loadNames.map((name) => f32(`load:${name}`)) };
  }

  /** Means weighted by the labels that count, so that they are those of one large batch up to rounding. */
  async #accumulate(sequences: readonly Sequence[], feeds: Feeds): Promise<MicroBatch> {
    const { batch } = this.#options;
    const { memory, gradients } = this.#model;
    const accumulator = this.#model.accumulator!;
    const [from, sum, n] = [gradients.region.byteOffset, accumulator.region.byteOffset, gradients.length];
    accumulator.flat().fill(0);
    let [loss, counted] = [0, 0];
    const loads = this.#graph.loadNames.map((name) => new Float32Array(this.#model.biases.entry(name).length));
    for (let first = 0; first < sequences.length; first += batch) {
      const part = await this.#run(sequences.slice(first, first + batch), feeds);
      memory.kernels.axpy(part.counted, from, sum, n);
      loss += part.loss * part.counted;
      counted += part.counted;
      for (const [i, load] of part.loads.entries()) load.forEach((count, e) => void (loads[i]![e]! += count));
    }
    gradients.flat().set(accumulator.flat());
    memory.kernels.scale(1 / Math.max(1, counted), from, n);
    return { loss: loss / Math.max(1, counted), counted, loads };
  }

  async close(): Promise<void> {
    await this.#session.release();
  }

  #countSkipped(isSkipped: boolean): void {
    this.skippedInARow = isSkipped ? this.skippedInARow + 1 : 0;
    if (this.skippedInARow > maxSkipped)
      throw new TrainingError('DIVERGED', `loss or gradient not finite in ${this.skippedInARow} steps in a row`);
  }
}
