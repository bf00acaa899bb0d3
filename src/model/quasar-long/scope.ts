/**
 * @file What every layer's graph function is handed: the builder, the config, the static sizes, the params by
 * checkpoint name, and what is common to all layers (rotation, document boundaries, carried states). Values between
 * layers are flat: (rows, hidden), rows = batch x time.
 */
import type { GraphBuilder, Tensor } from '../../engine/graph.ts';
import type { Shape } from '../../tensor/shape.ts';
import { assert } from '../../util/errors.ts';
import type { QuasarLongConfig } from './config.ts';
import { buildContract } from './contract.ts';
import type { Rotation } from './rope.ts';

/** Which document of its row each token belongs to (`packing.ts`). */
export interface Documents {
  /** (batch, time) f32: 1, 2, .. in each row. */
  readonly ids: Tensor;
}

/** States of cached decoding: read before, written after the tokens of one run. */
export interface Carry {
  /** The state as the previous run left it. */
  read(name: string, shape: Shape): Tensor;
  write(name: string, tensor: Tensor): void;
  /** No attention score comes near the end of what e^x can hold: softmax is summed without a running maximum. */
  readonly hasSmallScores: boolean;
  /** Rows that earlier runs left under this name, and place for those of this run. */
  cache(name: string, rows: CachedRows): readonly CacheSegment[];
}

export interface CachedRows {
  /** (parts, time, width): what this run adds to each part. */
  readonly fresh: Tensor;
  /** Later runs read only so many rows of before; Infinity: all. */
  readonly keep: number;
}

/** Consecutive rows, oldest first: one tensor (rows, width) for each part, the number of rows known at run time. */
export type CacheSegment = readonly Tensor[];

/** Sums over the tokens of a batch; no gradient passes. */
export interface RoutingReport {
  /** (experts) f32: assignments to each. */
  readonly load: Tensor;
  /** (experts): the normalised scores. */
  readonly shares: Tensor;
}

export interface Scope {
  readonly g: GraphBuilder;
  readonly config: QuasarLongConfig;
  readonly batch: number;
  readonly time: number;
  /** Tokens of one chunk of the recurrent branches. */
  readonly chunk: number;
  /** (batch, time), i64. */
  readonly inputIds: Tensor;
  /** (batch, time), i64. */
  readonly positions: Tensor;
  /** Null where no token is rotated. */
  readonly rotation: Rotation | null;
  /** Null where every row is one document. */
  readonly documents: Documents | null;
  readonly carry: Carry | null;
  /** Routed experts are one operator, which has no gradient. */
  readonly fusesExperts: boolean;
  /** A tensor of the checkpoint: params are differentiable, the other kinds are plain inputs. */
  readonly param: (name: string) => Tensor;
  /** What a router did with one batch, under the name of its selection bias. */
  readonly report: (name: string, routing: RoutingReport) => void;
}

/** Declares every tensor of the contract, so that one set of feeds serves all graphs of a config. */
export function paramReader(g: GraphBuilder, config: QuasarLongConfig): (name: string) => Tensor {
  const declared = new Map<string, Tensor>();
  for (const { name, shape, kind, dtype } of buildContract(config))
    declared.set(name, kind === 'param' ? g.param(name, shape) : g.input(name, shape, dtype === 'I64' ? 'i64' : 'f32'));
  return (name) => {
    const tensor = declared.get(name);
    assert(tensor !== undefined, `${name} is not in the parameter contract`);
    return tensor;
  };
}

/** W x (+ b) with W [out, in]; x (rows, in). */
export function linear(scope: Scope, x: Tensor, prefix: string, hasBias = false): Tensor {
  const y = scope.g.matmul(x, scope.param(`${prefix}.weight`), { transB: true });
  return hasBias ? scope.g.add(y, scope.param(`${prefix}.bias`)) : y;
}

/** (batch, time, heads, width) → (batch·heads, chunks, chunk, width); zeros fill the last chunk. */
export function toChunks(scope: Scope, x: Tensor): Tensor {
  const { g, batch, chunk } = scope;
  const [, , heads, width] = x.shape as [number, number, number, number];
  const { chunks, padding } = chunking(scope);
  const byHead = g.pad(g.transpose(x, [0, 2, 1, 3]), 2, 0, padding);
  return g.reshape(byHead, [batch * heads, chunks, chunk, width]);
}

/** (batch·heads, chunks, chunk, width) → (batch, time, heads, width); drops the filling. */
export function fromChunks(scope: Scope, x: Tensor, heads: number): Tensor {
  const { g, batch, time, chunk } = scope;
  const { chunks } = chunking(scope);
  const width = x.shape[3] as number;
  const byHead = g.reshape(x, [batch, heads, chunks * chunk, width]);
  return g.transpose(g.slice(byHead, 2, 0, time), [0, 2, 1, 3]);
}

export function chunking({ time, chunk }: Pick<Scope, 'time' | 'chunk'>): { chunks: number; padding: number } {
  const chunks = Math.ceil(time / chunk);
  return { chunks, padding: chunks * chunk - time };
}

/** (batch, time, kvHeads, width) → (batch, time, heads, width): query head n reads key-value head ⌊n/G⌋. */
export function repeatHeads(scope: Scope, x: Tensor, heads: number): Tensor {
  const { g } = scope;
  const [batch, time, kvHeads, width] = x.shape as [number, number, number, number];
  if (kvHeads === heads) return x;
  const wide = g.expand(g.reshape(x, [batch, time, kvHeads, 1, width]), [batch, time, kvHeads, heads / kvHeads, width]);
  return g.reshape(wide, [batch, time, heads, width]);
}

/** A constant [chunk, chunk] matrix of f(row, column). */
export function chunkMatrix(scope: Scope, f: (row: number, column: number) => number): Tensor {
  const { g, chunk: C } = scope;
  return g.constant(
    Float32Array.from({ length: C * C }, (_, i) => f(Math.floor(i / C), i % C)),
    [C, C],
  );
}
