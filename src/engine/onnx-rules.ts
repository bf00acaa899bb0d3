/** @file How each primitive is written in ONNX operators, chosen for speed on ONNX Runtime's CPU provider. */
import { type Shape, splitDim } from '../tensor/shape.ts';
import { assert } from '../util/errors.ts';
import type { EmitRule } from './emit-rule.ts';
import type { Tensor } from './graph.ts';
import { deltaStateScan, diagonalStateScan } from './onnx-scan-rules.ts';
import { onnxDataType } from './onnx-schema.ts';
import { float, type OnnxWriter } from './onnx-writer.ts';
import { ngramFactor, type Primitive } from './primitives.ts';
import { doublingMasks } from './triangular.ts';

/** The greatest finite float32. */
const maxFloat32 = (2 - 2 ** -23) * 2 ** 127;

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

/**
 * One operator, which reads the chosen experts where they lie. It wants matrices output-major, gate and up in turn: the
 * runtime rearranges a session's constants once.
 */
const mixtureOfExperts: EmitRule<'mixtureOfExperts'> = ({ w, inputs, outputs }, { attrs: { k }, inputs: tensors }) => {
  assert(w.device === 'cpu', 'mixtureOfExperts is written for the CPU');
  const [x, scores, W12, W3] = inputs as [string, string, string, string];
  const [E, I, h] = tensors[3]!.shape as [number, number, number];
  const halves = w.op('Reshape', [W12, w.ints([E, h, 2, I])]);
  const inTurn = w.op('Transpose', [halves], { perm: [0, 3, 2, 1] }); // (E, I, 2, h)
  const first = w.op('Reshape', [inTurn, w.ints([E, 2 * I, h])]);
  const second = w.op('Transpose', [W3], { perm: [0, 2, 1] });
  const gating = { activation_type: 'swiglu', swiglu_fusion: 1, activation_alpha: float(1), activation_beta: float(0) };
  w.opInto('MoE', [x, scores, first, '', second, ''], { k, normalize_routing_weights: 1, ...gating }, outputs);
};

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
  mixtureOfExperts,
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
  // For every axis: of a Pad that names its axes, ONNX Runtime (1.30) mixes the sizes up where it moves a transposition.
  pad: ({ w, inputs: [x], outputs }, { attrs: { axis, before, after }, inputs: [tensor] }) => {
    const rank = tensor!.shape.length;
    const sizes = new Array<number>(2 * rank).fill(0);
    sizes[axis] = before;
    sizes[rank + axis] = after;
    w.opInto('Pad', [x!, w.ints(sizes)], {}, outputs);
  },
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
