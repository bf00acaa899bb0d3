/** @file How each primitive is written in ONNX operators, chosen for speed on ONNX Runtime's CPU provider. */
import { type Shape, splitDim } from '../tensor/shape.ts';
import type { Node, Tensor } from './graph.ts';
import { onnxDataType } from './onnx-schema.ts';
import { float, type OnnxWriter } from './onnx-writer.ts';
import { ngramFactor, type Primitive } from './primitives.ts';
import { doublingMasks } from './triangular.ts';

/** The greatest finite float32. */
const maxFloat32 = (2 - 2 ** -23) * 2 ** 127;

/** What a rule is given: names of the inputs, names that it must give its outputs ('' where nobody reads one). */
export interface EmitContext {
  readonly w: OnnxWriter;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

export type EmitRule<P extends Primitive> = (context: EmitContext, node: Node<P>) => void;

/** One operator, inputs and outputs in order. */
const direct =
  <P extends Primitive>(type: string): EmitRule<P> =>
  ({ w, inputs, outputs }) =>
    w.opInto(type, inputs, {}, outputs);

/** Leaves and aliases: the emitter names them by itself. */
const nothing = (): void => {};

/** What changes no result; finite, for a shader may take it that no number is infinite. */
const neutral = { ReduceSum: 0, ReduceMax: -maxFloat32, ReduceMin: maxFloat32 };

/**
 * WebGPU refuses to reduce, and to multiply, over an axis of size 0 (ONNX Runtime 1.30), which only an axis of unknown
 * size can have: it gets one entry more. Integers are reduced on the CPU.
 */
const isMaybeEmpty = ({ device }: OnnxWriter, { shape, dtype }: Tensor, axis: number): boolean =>
  device === 'webgpu' && dtype === 'f32' && typeof shape.at(axis) !== 'number';

const reduce =
  (type: keyof typeof neutral): EmitRule<'reduceSum' | 'reduceMax' | 'reduceMin'> =>
  ({ w, inputs: [x], outputs }, { attrs: { axes, keepDims }, inputs: [tensor] }) => {
    const padded = axes
      .filter((axis) => isMaybeEmpty(w, tensor!, axis))
      .reduce((name, axis) => w.longer(name, axis, neutral[type]), x!);
    w.opInto(type, [padded, w.ints(axes)], { keepdims: Number(keepDims) }, outputs);
  };

const matmul: EmitRule<'matmul'> = ({ w, inputs, outputs }, { attrs, inputs: [left, right] }) => {
  const axes = [attrs.transA ? -2 : -1, attrs.transB ? -1 : -2] as const;
  const isPadded = isMaybeEmpty(w, left!, axes[0]);
  const [a, b] = axes.map((axis, i) => (isPadded ? w.longer(inputs[i]!, axis, 0) : inputs[i]!)) as [string, string];
  w.matmul(a, b, [left!.shape.length, right!.shape.length], attrs, outputs[0]);
};

/** An i64 vector of the sizes of `shape`; `sizes` are the run-time scalars of `symbols`. */
function emitShape(w: OnnxWriter, shape: Shape, symbols: readonly string[], sizes: readonly string[]): string {
  if (symbols.length === 0) return w.ints(shape.map((dim) => (typeof dim === 'number' ? dim : -1)));
  const parts = shape.map((dim) => {
    const { factor, symbols: names } = splitDim(dim);
    if (names.length === 0) return w.ints([factor]);
    const vectors = names.map((name) => w.op('Reshape', [sizes[symbols.indexOf(name)]!, w.ints([1])]));
    const product = vectors.reduce((a, b) => w.op('Mul', [a, b]));
    return factor === 1 ? product : w.op('Mul', [product, w.ints([factor])]);
  });
  return parts.length === 1 ? parts[0]! : w.op('Concat', parts, { axis: 0 });
}

/** The groups of rows, cut where the run-time sizes say. */
function emitGroups(w: OnnxWriter, x: string, sizes: string, count: number): string[] {
  if (count === 1) return [x];
  const parts = Array.from({ length: count }, () => w.freshName());
  w.opInto('Split', [x, sizes], { axis: 0 }, parts);
  return parts;
}

/** Where groupedMatmul looks for the names of a stack's matrices, (1, k, n) each. */
export const matricesOf = (W: string): string => `matrices of ${W}`;

/** Where groupedOuter looks for the names under which to write its products one by one; none: it joins them. */
export const partsInto = (output: string): string => `parts into ${output}`;

const groupedMatmul: EmitRule<'groupedMatmul'> = ({ w, inputs, outputs }, { attrs: { transB }, inputs: tensors }) => {
  const [x, W, sizes] = inputs as [string, string, string];
  const count = Number(tensors[1]!.shape[0]);
  const matrices = w.once(matricesOf(W), () => {
    if (count === 1) return [W];
    const parts = Array.from({ length: count }, () => w.freshName());
    w.opInto('Split', [W], { axis: 0, num_outputs: count }, parts);
    return parts; // (1, k, n) each
  });
  const rows = w.once(`groups of ${x} by ${sizes}`, () => emitGroups(w, x, sizes, count));
  const products = rows.map((part, e) => w.matmul(part, matrices[e]!, [2, 3], { transB })); // (1, rows, n) each
  w.op('Squeeze', [w.op('Concat', products, { axis: 1 }), w.ints([0])], {}, outputs[0]);
};

/** A product over no rows ends the process on WebGPU (ONNX Runtime 1.30): a row of zeros changes no product. */
function neverEmpty(w: OnnxWriter, parts: readonly string[], width: number): readonly string[] {
  if (w.device !== 'webgpu') return parts;
  const zeros = w.floats(new Float32Array(width), [1, width]);
  return w.once(`padded ${parts.join()}`, () => parts.map((part) => w.op('Concat', [part, zeros], { axis: 0 })));
}

const groupedOuter: EmitRule<'groupedOuter'> = ({ w, inputs, outputs }, { outputs: [out], inputs: tensors }) => {
  const sizes = inputs[2]!;
  const count = Number(tensors[2]!.shape[0]);
  const [xs, ys] = inputs
    .slice(0, 2)
    .map((x) => w.once(`groups of ${x} by ${sizes}`, () => emitGroups(w, x, sizes, count)))
    .map((parts, i) => neverEmpty(w, parts, Number(tensors[i]!.shape[1]))) as [string[], string[]];
  const into = w.once(partsInto(outputs[0]!), () => []);
  const products = xs.map((part, e) => w.matmul(part, ys[e]!, [2, 2], { transA: true }, into[e])); // (k, n) each
  if (into.length > 0) return;
  w.op('Reshape', [w.op('Concat', products, { axis: 0 }), w.ints(out!.shape.map(Number))], {}, outputs[0]);
};

const clamp: EmitRule<'clamp'> = ({ w, inputs, outputs }, { attrs: { min, max }, inputs: [x] }) => {
  const bound = (value: number): string => (Number.isFinite(value) ? w.scalar(value, x!.dtype) : '');
  w.opInto('Clip', [inputs[0]!, bound(min), bound(max)], {}, outputs);
};

const slice: EmitRule<'slice'> = ({ w, inputs, outputs }, { attrs: { axis, start, end, step } }) => {
  const bounds = [w.ints([start]), w.ints([end ?? 2n ** 63n - 1n]), w.ints([axis]), w.ints([step])];
  w.opInto('Slice', [inputs[0]!, ...bounds], {}, outputs);
};

/**
 * loss = logsumexp - x[label], logsumexp = max(x) - ln max(softmax(x)): the softmax is wanted by the backward pass
 * anyway, its largest entry is at least 1/V, and so one fused pass and two reductions do, without overflow.
 */
const crossEntropy: EmitRule<'crossEntropy'> = ({ w, inputs, outputs }, { attrs: { ignoreIndex } }) => {
  const [logits, labels] = inputs as [string, string];
  const last = w.ints([1]);
  const probabilities = w.op('Softmax', [logits], { axis: -1 }, outputs[1] || undefined);
  if (outputs[0] === '') return;
  const top = w.op('ReduceMax', [logits, last], { keepdims: 0 });
  const topProbability = w.op('ReduceMax', [probabilities, last], { keepdims: 0 });
  const logSumExp = w.op('Sub', [top, w.op('Log', [topProbability])]);
  const ignored = w.op('Equal', [labels, w.scalar(ignoreIndex, 'i64')]);
  const ids = w.op('Unsqueeze', [w.op('Where', [ignored, w.scalar(0, 'i64'), labels]), last]);
  const picked = w.op('Squeeze', [w.op('GatherElements', [logits, ids], { axis: 1 }), last]);
  w.op('Where', [ignored, w.scalar(0, 'f32'), w.op('Sub', [logSumExp, picked])], {}, outputs[0]);
};

/** Multiplication of int64 wraps on ONNX Runtime, as the hash wants it. */
const ngramSlots: EmitRule<'ngramSlots'> = ({ w, inputs, outputs }, { attrs: { order, slots }, inputs: tensors }) => {
  const [tokens, seeds] = inputs as [string, string];
  const length = Number(tensors[0]!.shape[1]);
  const column = w.op('Unsqueeze', [tokens, w.ints([2])]); // (B, length, 1)
  let hash = w.op('Reshape', [seeds, w.ints([1, 1, -1])]);
  for (let at = 0; at < order; at++) {
    const token = w.op('Slice', [column, w.ints([at]), w.ints([length - order + 1 + at]), w.ints([1])]);
    hash = w.op('BitwiseXor', [w.op('Mul', [hash, w.scalar(ngramFactor, 'i64')]), token]);
  }
  w.opInto('Mod', [w.op('Abs', [hash]), w.scalar(slots, 'i64')], {}, outputs);
};

const rmsNorm: EmitRule<'rmsNorm'> = ({ w, inputs, outputs }, { attrs: { epsilon }, inputs: [x] }) => {
  const width = Number(x!.shape.at(-1));
  const scale = inputs[1] ?? w.floats(new Float32Array(width).fill(1), [width]);
  // On WebGPU the operator's second output, 1 / √(mean(x²) + ε), is wrong (ONNX Runtime 1.30): up to 1.6 off.
  const isComputedApart = w.device === 'webgpu' && outputs[1] !== '';
  if (isComputedApart) {
    const mean = w.op('ReduceMean', [w.op('Mul', [inputs[0]!, inputs[0]!]), w.ints([-1])], { keepdims: 1 });
    const deviation = w.op('Sqrt', [w.op('Add', [mean, w.scalar(epsilon, 'f32')])]);
    w.op('Reciprocal', [deviation], {}, outputs[1]);
  }
  const y = outputs[0] || w.freshName();
  const used = isComputedApart || outputs[1] === '' ? [y] : [y, outputs[1]!];
  w.opInto(
    'SimplifiedLayerNormalization',
    [inputs[0]!, scale],
    { axis: -1, epsilon: float(epsilon), stash_type: 1 },
    used,
  );
};

const unitLowerTriangularInverse: EmitRule<'unitLowerTriangularInverse'> = (
  { w, inputs, outputs },
  { inputs: [L] },
) => {
  const size = Number(L!.shape.at(-1));
  const { identity, masks } = doublingMasks(size);
  const dims = [size, size];
  const ranks = [L!.shape.length, L!.shape.length] as const;
  let T = w.floats(identity, dims);
  masks.forEach((mask, level) => {
    const block = w.op('Mul', [inputs[0]!, w.floats(mask, dims)]);
    const correction = level === 0 ? block : w.matmul(w.matmul(T, block, ranks), T, ranks);
    T = w.op('Sub', [T, correction], {}, level === masks.length - 1 ? outputs[0] : undefined);
  });
  // Size one: nothing lies below the diagonal.
  if (masks.length === 0) w.op('Exp', [w.op('Mul', [inputs[0]!, w.scalar(0, 'f32')])], {}, outputs[0]);
};

/** The parts of x along axis 1, each of size 1 there. */
function chunksOf(w: OnnxWriter, x: string, tensor: Tensor, count: number): string[] {
  if (tensor.shape[1] !== count || count === 1) return new Array<string>(count).fill(x);
  const parts = Array.from({ length: count }, () => w.freshName());
  w.opInto('Split', [x], { axis: 1, num_outputs: count }, parts);
  return parts;
}

/** A zero tensor of the run-time shape of `like`. */
function zerosLike(w: OnnxWriter, like: string): string {
  return w.op('Expand', [w.scalar(0, 'f32'), w.op('Shape', [like])]);
}

interface ScanResult {
  /** State before each chunk, by chunk; null before the first in order: zero. */
  readonly states: (string | null)[];
  final: string;
}

/** Writes the outputs of a scan; `states[n]` has size 1 on axis 1. */
function emitStack(w: OnnxWriter, { states, final }: ScanResult, stackInto: string, finalInto: string): void {
  if (stackInto !== '') {
    const zero = states.includes(null) ? zerosLike(w, final) : '';
    w.op(
      'Concat',
      states.map((state) => state ?? zero),
      { axis: 1 },
      stackInto,
    );
  }
  if (finalInto !== '') w.op('Squeeze', [final, w.ints([1])], {}, finalInto);
}

const scanOrder = (count: number, reverse: boolean): number[] =>
  Array.from({ length: count }, (_, i) => (reverse ? count - 1 - i : i));

const deltaStateScan: EmitRule<'deltaStateScan'> = ({ w, inputs, outputs }, { attrs, inputs: tensors }) => {
  const { reverse, alphaW, alphaK, optional } = attrs;
  const count = Number(tensors[0]!.shape[1]);
  const ranks = [tensors[0]!.shape.length, tensors[0]!.shape.length] as const;
  const [U, W, K] = [0, 1, 2].map((i) => chunksOf(w, inputs[i]!, tensors[i]!, count)) as [string[], string[], string[]];
  const at = (name: (typeof optional)[number]): number => 3 + optional.indexOf(name);
  const has = (name: (typeof optional)[number]): boolean => optional.includes(name);
  const addend = has('addend') ? chunksOf(w, inputs[at('addend')]!, tensors[at('addend')]!, count) : null;
  const keep = has('keep') ? chunksOf(w, inputs[at('keep')]!, tensors[at('keep')]!, count) : null;
  let state: string | null = has('initial') ? w.op('Unsqueeze', [inputs[at('initial')]!, w.ints([1])]) : null;
  const states = new Array<string | null>(count).fill(null);
  const residuals = new Array<string>(count);
  for (const n of scanOrder(count, reverse)) {
    states[n] = state;
    const read = state === null ? null : w.matmul(W[n]!, state, ranks, { alpha: alphaW });
    residuals[n] = read === null ? U[n]! : w.op('Add', [U[n]!, read]);
    let next = w.matmul(K[n]!, residuals[n]!, ranks, { transA: true, alpha: alphaK });
    if (state !== null) next = w.op('Add', [keep === null ? state : w.op('Mul', [state, keep[n]!]), next]);
    state = addend === null ? next : w.op('Add', [next, addend[n]!]);
  }
  emitStack(w, { states, final: state! }, outputs[0]!, outputs[2]!);
  if (outputs[1] !== '') w.op('Concat', residuals, { axis: 1 }, outputs[1]);
};

const diagonalStateScan: EmitRule<'diagonalStateScan'> = ({ w, inputs, outputs }, { attrs, inputs: tensors }) => {
  const count = Number(tensors[1]!.shape[1]);
  const [decay, update] = [0, 1].map((i) => chunksOf(w, inputs[i]!, tensors[i]!, count)) as [string[], string[]];
  let state: string | null = attrs.hasInitial ? w.op('Unsqueeze', [inputs[2]!, w.ints([1])]) : null;
  const states = new Array<string | null>(count).fill(null);
  for (const n of scanOrder(count, attrs.reverse)) {
    states[n] = state;
    state = state === null ? update[n]! : w.op('Add', [w.op('Mul', [state, decay[n]!]), update[n]!]);
  }
  emitStack(w, { states, final: state! }, outputs[0]!, outputs[1]!);
};

export const emitRules: { readonly [P in Primitive]: EmitRule<P> } = {
  input: nothing,
  param: nothing,
  constant: nothing,
  stopGradient: nothing,
  neg: direct('Neg'),
  exp: direct('Exp'),
  log: direct('Log'),
  sqrt: direct('Sqrt'),
  reciprocal: direct('Reciprocal'),
  square: ({ w, inputs: [x], outputs }) => w.opInto('Mul', [x!, x!], {}, outputs),
  abs: direct('Abs'),
  sin: direct('Sin'),
  cos: direct('Cos'),
  tanh: direct('Tanh'),
  sigmoid: direct('Sigmoid'),
  // x · sigmoid(alpha x), one pass.
  silu: ({ w, inputs, outputs }) => w.opInto('QuickGelu', inputs, { alpha: float(1) }, outputs),
  softplus: direct('Softplus'),
  not: direct('Not'),
  add: direct('Add'),
  sub: direct('Sub'),
  mul: direct('Mul'),
  div: direct('Div'),
  minimum: direct('Min'),
  maximum: direct('Max'),
  equal: direct('Equal'),
  less: direct('Less'),
  lessEqual: direct('LessOrEqual'),
  greater: direct('Greater'),
  greaterEqual: direct('GreaterOrEqual'),
  and: direct('And'),
  or: direct('Or'),
  where: direct('Where'),
  cast: ({ w, inputs, outputs }, { attrs: { to } }) => w.opInto('Cast', inputs, { to: onnxDataType[to] }, outputs),
  clamp,
  matmul,
  groupedMatmul,
  groupedOuter,
  reduceSum: reduce('ReduceSum'),
  reduceMax: reduce('ReduceMax'),
  reduceMin: reduce('ReduceMin'),
  softmax: ({ w, inputs, outputs }) => w.opInto('Softmax', inputs, { axis: -1 }, outputs),
  reshape: ({ w, inputs: [x, ...sizes], outputs }, { attrs: { shape, symbols } }) =>
    w.opInto('Reshape', [x!, emitShape(w, shape, symbols, sizes)], {}, outputs),
  expand: ({ w, inputs: [x, ...sizes], outputs }, { attrs: { shape, symbols } }) =>
    w.opInto('Expand', [x!, emitShape(w, shape, symbols, sizes)], {}, outputs),
  transpose: ({ w, inputs, outputs }, { attrs: { perm } }) => w.opInto('Transpose', inputs, { perm }, outputs),
  concat: ({ w, inputs, outputs }, { attrs: { axis } }) => w.opInto('Concat', inputs, { axis }, outputs),
  slice,
  split: ({ w, inputs: [x], outputs }, { attrs: { axis, sizes } }) =>
    w.opInto(
      'Split',
      [x!, w.ints(sizes)],
      { axis },
      outputs.map((name) => name || w.freshName()),
    ),
  pad: ({ w, inputs: [x], outputs }, { attrs: { axis, before, after } }) =>
    w.opInto('Pad', [x!, w.ints([before, after]), '', w.ints([axis])], {}, outputs),
  gather: ({ w, inputs, outputs }) => w.opInto('Gather', inputs, { axis: 0 }, outputs),
  gatherRows: ({ w, inputs: [x, ids], outputs }) => w.opInto('Gather', [x!, ids!], { axis: 0 }, outputs),
  gatherElements: ({ w, inputs, outputs }, { attrs: { axis } }) =>
    w.opInto('GatherElements', inputs, { axis }, outputs),
  scatterElements: ({ w, inputs, outputs }, { attrs: { axis, reduction } }) =>
    w.opInto('ScatterElements', inputs, { axis, reduction }, outputs),
  topK: ({ w, inputs: [x], outputs }, { attrs: { k, sorted } }) =>
    w.opInto(
      'TopK',
      [x!, w.ints([k])],
      { axis: -1, sorted: Number(sorted) },
      outputs.map((name) => name || w.freshName()),
    ),
  cumsum: ({ w, inputs: [x], outputs }, { attrs: { axis, exclusive, reverse } }) =>
    w.opInto(
      'CumSum',
      [x!, w.scalar(axis, 'i64')],
      { exclusive: Number(exclusive), reverse: Number(reverse) },
      outputs,
    ),
  range: ({ w, inputs: [size], outputs }) =>
    w.opInto('Range', [w.scalar(0, 'i64'), size!, w.scalar(1, 'i64')], {}, outputs),
  dimSize: ({ w, inputs: [x], outputs }, { attrs: { axis } }) =>
    w.opInto('Squeeze', [w.op('Shape', [x!], { start: axis, end: axis + 1 })], {}, outputs),
  crossEntropy,
  rmsNorm,
  ngramSlots,
  unitLowerTriangularInverse,
  deltaStateScan,
  diagonalStateScan,
};
