/**
 * @file Muon (Jordan, kellerjordan.github.io/posts/muon): the momentum of a matrix, orthogonalised by Newton-Schulz
 * steps, is its update; everything else learns by AdamW. The update is scaled by 0.2·√max(rows, columns), which gives it
 * the usual RMS of AdamW's, so that one learning rate and one decay serve both (Moonlight, arXiv:2502.16982, section 2.2).
 * The products run in the tensor engine, one session for each shape; experts of a layer are one batch.
 */
import type { Device } from '../engine/device.ts';
import { type Graph, GraphBuilder, type Tensor } from '../engine/graph.ts';
import { openSession, type Session } from '../engine/session.ts';
import type { FlatEntry, FlatParams } from '../tensor/flat-params.ts';
import { KernelMemory, type Region } from '../tensor/kernels/memory.ts';
import { viewOf } from '../tensor/view.ts';
import { assert } from '../util/errors.ts';
import { AdamW, type AdamWOptions, clipScale, defaultTraits, type InnerOptimizer } from './optimizer.ts';

export interface MuonOptions extends AdamWOptions {
  /** μ of the matrices' Nesterov momentum. */
  readonly momentum: number;
  readonly newtonSchulzSteps: number;
  readonly threads: number;
  /** Where the products run; default `cpu`. */
  readonly device?: Device;
  /** How many matrices a tensor holds side by side on its last axis, each orthogonalised alone; null: AdamW. */
  readonly matricesOf: (entry: FlatEntry) => number | null;
}

/** Jordan's quintic: steep at 0, so that five steps bring singular values from 0.01 into about [0.7, 1.2]. */
const [quinticA, quinticB, quinticC] = [3.4445, -4.775, 2.0315];
const normFloor = 1e-7;
const updateRms = 0.2;

interface Matrix {
  readonly entry: FlatEntry;
  readonly parts: number;
  readonly decay: number;
  readonly learningRate: number;
}

/**
 * Which tensors of a model Muon moves: weight matrices, but not embedding, head and router, whose rows are looked up or
 * scored one by one. `experts_w12` holds gate and up side by side: two maps of one input, so each gets a whole update of
 * its own; orthogonalised together, columns of one would be made to avoid those of the other.
 */
export function matricesFromContract(
  contract: readonly {
    readonly name: string;
    readonly shape: readonly number[];
    readonly decay: boolean;
    readonly isRouted: boolean;
  }[],
): (entry: { readonly name: string }) => number | null {
  const parts = new Map<string, number>();
  for (const { name, shape, decay, isRouted } of contract) {
    const isTable = /^model\.word_embeddings\.|^lm_head\.|\.mlp\.gate\.weight$/.test(name);
    if (decay && !isTable && (isRouted || shape.length === 2)) parts.set(name, name.endsWith('.experts_w12') ? 2 : 1);
  }
  return ({ name }) => parts.get(name) ?? null;
}

export class Muon implements InnerOptimizer {
  readonly #memory: KernelMemory;
  readonly #params: Region;
  readonly #gradients: Region;
  /** Moves what is no matrix; its first moments hold the matrices' momentum in their places, its second stay 0 there. */
  readonly #adamw: AdamW;
  /** Takes one orthogonalised matrix. */
  readonly #update: Region;
  readonly #matrices: readonly Matrix[];
  readonly #options: MuonOptions;
  readonly #sessions = new Map<string, Session>();

  /** @throws KernelMemoryError KERNEL_MEMORY_FULL */
  constructor(params: FlatParams, gradients: FlatParams, options: MuonOptions) {
    const traitsOf = options.traitsOf ?? defaultTraits;
    this.#memory = params.memory;
    this.#params = params.region;
    this.#gradients = gradients.region;
    this.#options = options;
    this.#matrices = params.entries.flatMap((entry) => {
      const parts = options.matricesOf(entry);
      return parts === null ? [] : [{ entry, parts, ...traitsOf(entry)! }];
    });
    this.#adamw = new AdamW(params, gradients, {
      ...options,
      traitsOf: (entry) => (options.matricesOf(entry) === null ? traitsOf(entry) : null),
    });
    this.#update = this.#memory.allocateF32(longest(params));
  }

  /** Kernel memory that an optimiser of `params` allocates. */
  static footprint(params: Pick<FlatParams, 'length' | 'entries'>): number {
    return AdamW.footprint(params) + KernelMemory.footprint(4 * longest(params));
  }

  get stepCount(): number {
    return this.#adamw.stepCount;
  }

  state(): readonly Float32Array[] {
    return this.#adamw.state();
  }

  restore(stepCount: number, state: readonly Float32Array[]): void {
    this.#adamw.restore(stepCount, state);
  }

  /** Overwrites the matrices' gradients. @throws EngineError */
  async step(learningRate: number): Promise<number> {
    const gradNorm = this.#adamw.step(learningRate);
    if (!Number.isFinite(gradNorm)) return gradNorm;
    const scale = clipScale(gradNorm, this.#options.clipNorm);
    for (const matrix of this.#matrices) {
      this.#momentum(matrix, scale);
      await this.#orthogonalise(matrix);
      this.#apply(matrix, learningRate);
    }
    return gradNorm;
  }

  async close(): Promise<void> {
    for (const session of this.#sessions.values()) await session.release();
    this.#sessions.clear();
  }

  /** m ← μm + g; g ← g + μm (Nesterov), g the clipped gradient. */
  #momentum({ entry: { offset, length } }: Matrix, scale: number): void {
    const { kernels } = this.#memory;
    const gradient = this.#gradients.byteOffset + 4 * offset;
    const momentum = this.#adamw.firstMoments.byteOffset + 4 * offset;
    kernels.scale(scale, gradient, length);
    kernels.scale(this.#options.momentum, momentum, length);
    kernels.axpy(1, gradient, momentum, length);
    kernels.axpy(this.#options.momentum, momentum, gradient, length);
  }

  async #orthogonalise({ entry: { shape, offset, length }, parts }: Matrix): Promise<void> {
    const key = `${shape}/${parts}`;
    let session = this.#sessions.get(key);
    if (session === undefined) {
      const graph = orthogonaliseGraph(shape, parts, this.#options.newtonSchulzSteps);
      const { threads, device = 'cpu' } = this.#options;
      session = await openSession(graph, { threads, device });
      this.#sessions.set(key, session);
    }
    const { buffer } = this.#memory;
    const gradient = new Float32Array(buffer, this.#gradients.byteOffset + 4 * offset, length);
    const update = new Float32Array(buffer, this.#update.byteOffset, length);
    await session.run({ matrix: viewOf(gradient, shape) }, ['update'], { update: viewOf(update, shape) });
  }

  /** θ ← θ·(1 − ηλ) − η·0.2·√max(rows, columns)·update. */
  #apply({ entry: { shape, offset, length }, parts, decay, learningRate: factor }: Matrix, learningRate: number): void {
    const rate = learningRate * factor;
    const param = this.#params.byteOffset + 4 * offset;
    const [rows, columns] = [shape.at(-2)!, shape.at(-1)! / parts];
    this.#memory.kernels.scale(1 - rate * this.#options.weightDecay * decay, param, length);
    const reach = updateRms * Math.sqrt(Math.max(rows, columns));
    this.#memory.kernels.axpy(-rate * reach, this.#update.byteOffset, param, length);
  }
}

/** Input `matrix`, output `update` of the same shape (…, rows, parts·columns): each matrix near the closest U·Vᵀ. */
export function orthogonaliseGraph(shape: readonly number[], parts: number, steps: number): Graph {
  const g = new GraphBuilder();
  const whole = g.input('matrix', shape);
  const columns = shape.at(-1)! / parts;
  assert(Number.isInteger(columns), `${shape} does not hold ${parts} matrices side by side`);
  const axis = shape.length - 1;
  const updates = Array.from({ length: parts }, (_, part) =>
    newtonSchulz(g, parts === 1 ? whole : g.slice(whole, axis, part * columns, (part + 1) * columns), steps),
  );
  g.output('update', parts === 1 ? updates[0]! : g.concat(updates, axis));
  return g.build();
}

/** X ← aX + (bA + cA²)X with A = XXᵀ, from X of Frobenius norm 1; for tall X the same on the other side. */
function newtonSchulz(g: GraphBuilder, matrix: Tensor, steps: number): Tensor {
  const [rows, columns] = matrix.shape.slice(-2) as [number, number];
  const axis = matrix.shape.length - 1;
  const squares = g.reduceSum(g.reduceSum(g.square(matrix), axis, true), axis - 1, true);
  let x = g.div(matrix, g.maximum(g.sqrt(squares), normFloor));
  for (let step = 0; step < steps; step++) {
    const isWide = rows <= columns;
    const a = g.matmul(x, x, isWide ? { transB: true } : { transA: true });
    const b = g.add(g.mul(a, quinticB), g.mul(g.matmul(a, a), quinticC));
    x = g.add(g.mul(x, quinticA), isWide ? g.matmul(b, x) : g.matmul(x, b));
  }
  return x;
}

const longest = ({ entries }: Pick<FlatParams, 'entries'>): number =>
  entries.reduce((most, { length }) => Math.max(most, length), 0);
