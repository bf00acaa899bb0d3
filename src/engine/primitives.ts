/**
 * @file The primitives of the graph and the attributes of each. Every table keyed by `Primitive` (gradients, reference
 * evaluation, ONNX emission) is a mapped type over this one, so that a primitive without a rule does not compile.
 */
import type { DType, TypedArray } from '../tensor/dtype.ts';
import type { Shape } from '../tensor/shape.ts';

type None = Readonly<Record<never, never>>;

export interface MatmulAttrs {
  /** Multiply with the last two axes of the operand exchanged. */
  readonly transA: boolean;
  readonly transB: boolean;
  readonly alpha: number;
}

interface ReduceAttrs {
  /** Ascending, non-negative. */
  readonly axes: readonly number[];
  readonly keepDims: boolean;
}

/** Knuth's multiplicative constant: the factor of the n-gram hash. */
export const ngramFactor = 2654435761;

/** Optional inputs of a scan, in the order in which they follow the required ones. */
export type DeltaScanInput = 'addend' | 'initial' | 'keep';

interface UnaryAttrs {
  neg: None;
  exp: None;
  log: None;
  sqrt: None;
  reciprocal: None;
  square: None;
  abs: None;
  sin: None;
  cos: None;
  tanh: None;
  sigmoid: None;
  silu: None;
  softplus: None;
  not: None;
  stopGradient: None;
}

interface BinaryAttrs {
  add: None;
  sub: None;
  mul: None;
  div: None;
  minimum: None;
  maximum: None;
  equal: None;
  less: None;
  lessEqual: None;
  greater: None;
  greaterEqual: None;
  and: None;
  or: None;
}

export interface PrimitiveAttrs extends UnaryAttrs, BinaryAttrs {
  input: { readonly name: string };
  param: { readonly name: string };
  constant: { readonly data: TypedArray };
  cast: { readonly to: DType };
  clamp: { readonly min: number; readonly max: number };
  where: None;
  matmul: MatmulAttrs;
  /** Rows of x in groups, group e by matrix e. */
  groupedMatmul: { readonly transB: boolean };
  /** The k best experts of each row by their scores, weighted by the softmax of these. */
  mixtureOfExperts: { readonly k: number };
  /** The weight gradient of groupedMatmul. */
  groupedOuter: None;
  reduceSum: ReduceAttrs;
  reduceMax: ReduceAttrs;
  reduceMin: ReduceAttrs;
  softmax: None;
  /** `symbols`: the names whose run-time sizes are the inputs after the first. */
  reshape: { readonly shape: Shape; readonly symbols: readonly string[] };
  expand: { readonly shape: Shape; readonly symbols: readonly string[] };
  transpose: { readonly perm: readonly number[] };
  concat: { readonly axis: number };
  slice: { readonly axis: number; readonly start: number; readonly end: number | null; readonly step: number };
  split: { readonly axis: number; readonly sizes: readonly number[] };
  pad: { readonly axis: number; readonly before: number; readonly after: number };
  gather: None;
  gatherRows: { readonly masked: boolean };
  gatherElements: { readonly axis: number };
  scatterElements: { readonly axis: number; readonly reduction: 'none' | 'add' };
  topK: { readonly k: number; readonly sorted: boolean };
  cumsum: { readonly axis: number; readonly exclusive: boolean; readonly reverse: boolean };
  range: { readonly symbol: string };
  dimSize: { readonly axis: number };
  crossEntropy: { readonly ignoreIndex: number };
  rmsNorm: { readonly epsilon: number };
  /** Hashes of runs of `order` tokens, below `slots`. */
  ngramSlots: { readonly order: number; readonly slots: number };
  unitLowerTriangularInverse: None;
  /** R = U + alphaW W S; S' = keep S + alphaK Kᵀ R + addend, along axis 1 (backwards if `reverse`). */
  deltaStateScan: {
    readonly reverse: boolean;
    readonly alphaW: number;
    readonly alphaK: number;
    readonly optional: readonly DeltaScanInput[];
  };
  /** S' = decay S + update along axis 1 (backwards if `reverse`). */
  diagonalStateScan: { readonly reverse: boolean; readonly hasInitial: boolean };
}

export type Primitive = keyof PrimitiveAttrs;
export type UnaryPrimitive = keyof UnaryAttrs;
export type BinaryPrimitive = keyof BinaryAttrs;
