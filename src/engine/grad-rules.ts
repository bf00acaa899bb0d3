/** @file The gradient of every primitive, in primitives. A rule may use the node's outputs; nothing is differentiated twice. */
import { broadcastAxes, equalShapes, multiplyDims, type Shape } from '../tensor/shape.ts';
import { EngineError } from './errors.ts';
import type { GraphBuilder, Node, Tensor } from './graph.ts';
import type { Primitive } from './primitives.ts';

/**
 * Gradients of the inputs, null where there is none. `dys`: gradients of the outputs, at least one of which is not
 * null; a rule of several outputs treats null as zero.
 */
export type GradRule<P extends Primitive> = (
  b: GraphBuilder,
  node: Node<P>,
  dys: readonly (Tensor | null)[],
) => readonly (Tensor | null)[];

type Dx = readonly (Tensor | null)[];

/** A rule of x ↦ y as dx(b, dy, x, y). */
const unary =
  <P extends Primitive>(
    dx: (b: GraphBuilder, dy: Tensor, x: Tensor, y: Tensor, node: Node<P>) => Tensor,
  ): GradRule<P> =>
  (b, node, [dy]) => [dx(b, dy!, node.inputs[0]!, node.outputs[0]!, node)];

/** A rule of (x, z) ↦ y with broadcasting; the results are summed over the axes along which an operand was repeated. */
const binary =
  <P extends Primitive>(
    rule: (b: GraphBuilder, dy: Tensor, x: Tensor, z: Tensor, y: Tensor) => [Tensor, Tensor],
  ): GradRule<P> =>
  (b, { inputs: [x, z], outputs: [y] }, [dy]) => {
    const [dx, dz] = rule(b, dy!, x!, z!, y!);
    return [sumTo(b, dx, x!.shape), sumTo(b, dz, z!.shape)];
  };

const none = (): Dx => [];

/** Sums away the axes along which a tensor of `shape` was repeated. */
function sumTo(b: GraphBuilder, dy: Tensor, shape: Shape): Tensor {
  return b.reshape(b.reduceSum(dy, broadcastAxes(shape, dy.shape), true), shape);
}

/** Gradient of a reduction's result, ready to broadcast against its input. */
function withReducedAxes(b: GraphBuilder, dy: Tensor, x: Tensor, axes: readonly number[]): Tensor {
  return b.reshape(
    dy,
    x.shape.map((dim, axis) => (axes.includes(axis) ? 1 : dim)),
  );
}

const reduceExtreme: GradRule<'reduceMax' | 'reduceMin'> = (
  b,
  { inputs: [x], outputs: [y], attrs: { axes } },
  [dy],
) => {
  // Equal extremes share the gradient.
  const hits = b.cast(b.equal(x!, withReducedAxes(b, y!, x!, axes)), 'f32');
  const share = b.div(withReducedAxes(b, dy!, x!, axes), b.reduceSum(hits, axes, true));
  return [b.mul(hits, share)];
};

const matmul: GradRule<'matmul'> = (b, { inputs: [x, z], attrs: { transA, transB, alpha } }, [dy]) => {
  const dx = transA
    ? b.matmul(z!, dy!, { transA: transB, transB: true, alpha })
    : b.matmul(dy!, z!, { transB: !transB, alpha });
  const dz = transB
    ? b.matmul(dy!, x!, { transA: true, transB: transA, alpha })
    : b.matmul(x!, dy!, { transA: !transA, alpha });
  return [sumTo(b, dx, x!.shape), sumTo(b, dz, z!.shape)];
};

/**
 * Σ dy ⊙ y over the last axis. In attention dy = dO Vᵀ and O = y V is there already: then the sums are those of
 * dO ⊙ O, over the width of a head instead of all keys (FlashAttention, arXiv:2205.14135, appendix B.2).
 */
function rowProducts(b: GraphBuilder, dy: Tensor, y: Tensor): Tensor {
  const product = dy.node.op === 'reshape' ? dy.node.inputs[0]! : dy;
  if (product.node.op === 'matmul') {
    const { transA, transB, alpha } = product.node.attrs as Node<'matmul'>['attrs'];
    const [dO, V] = product.node.inputs as [Tensor, Tensor];
    const O = !transA && transB ? b.matmul(b.reshape(y, product.shape), V, { alpha }) : null;
    if (O !== null && equalShapes(O.shape, dO.shape))
      return b.reshape(b.reduceSum(b.mul(dO, O), -1, true), [...y.shape.slice(0, -1), 1]);
  }
  return b.reduceSum(b.mul(dy, y), -1, true);
}

const slice: GradRule<'slice'> = (b, { inputs: [x], attrs: { axis, start, step } }, [dy]) => {
  const size = x!.shape[axis]!;
  if (typeof size !== 'number') throw new EngineError('NO_GRADIENT', `slice of the symbolic size ${size}`);
  const from = start < 0 ? start + size : start;
  const count = dy!.shape[axis] as number;
  if (step === 1) return [b.pad(dy!, axis, from, size - from - count)];
  const rows = BigInt64Array.from({ length: count }, (_, i) => BigInt(from + step * i));
  const ids = b.constant(
    rows,
    dy!.shape.map((_, i) => (i === axis ? count : 1)),
  );
  return [b.scatterElements(b.constant(0, x!.shape), b.expand(ids, dy!.shape), dy!, axis)];
};

const concat: GradRule<'concat'> = (b, { inputs, attrs: { axis } }, [dy]) => {
  const sizes = inputs.map((part) => part.shape[axis]!);
  if (!sizes.every((size) => typeof size === 'number'))
    throw new EngineError('NO_GRADIENT', `concat along the symbolic sizes ${sizes.join(', ')}`);
  return b.split(dy!, axis, sizes);
};

/** Two axes: the rows of the gather, and everything in a row. */
const asRows = (b: GraphBuilder, x: Tensor, rowAxes: number): Tensor =>
  b.reshape(x, [multiplyDims(x.shape.slice(0, rowAxes)), multiplyDims(x.shape.slice(rowAxes))]);

const gather: GradRule<'gather'> = (b, { inputs: [x, ids] }, [dy]) => {
  const rows = asRows(b, dy!, ids!.shape.length);
  const wide = b.expand(b.reshape(ids!, [rows.shape[0]!, 1]), rows.shape);
  const zeros = b.constant(0, [x!.shape[0]!, rows.shape[1]!]);
  // ScatterElements: ScatterND(add) of ONNX Runtime is wrong with repeated ids on several threads.
  return [b.reshape(b.scatterElements(zeros, wide, rows, 0, 'add'), x!.shape)];
};

const gatherRows: GradRule<'gatherRows'> = (b, { inputs: [x, ids, inverse, mask] }, [dy]) => {
  const picked = b.gather(asRows(b, dy!, ids!.shape.length), inverse!); // (rows of x, readers, row)
  const counted = mask === undefined ? picked : b.where(b.reshape(mask, [...mask.shape, 1]), picked, 0);
  return [b.reshape(b.reduceSum(counted, 1), x!.shape)];
};

const crossEntropy: GradRule<'crossEntropy'> = (b, { inputs, outputs, attrs: { ignoreIndex } }, [dLoss]) => {
  const [logits, labels] = inputs as [Tensor, Tensor];
  if (dLoss === null || dLoss === undefined) return [null];
  const rows = logits.shape[0]!;
  const ignored = b.equal(labels, ignoreIndex);
  const dy = b.reshape(b.where(ignored, 0, dLoss), [rows, 1]);
  const ids = b.reshape(b.where(ignored, 0, labels), [rows, 1]);
  return [b.scatterElements(b.mul(outputs[1]!, dy), ids, b.neg(dy), 1, 'add'), null];
};

/** With g = dy ⊙ x: dw = Σ_rows rstd g;  dx = rstd (dy ⊙ w) - x rstd³ (g·w) / d. Both sums are small products. */
const rmsNorm: GradRule<'rmsNorm'> = (b, { inputs, outputs }, [dy]) => {
  const [x, weight] = inputs as [Tensor, Tensor | undefined];
  if (dy === null || dy === undefined) return [null];
  const width = x.shape.at(-1)!;
  const lead = x.shape.length - 1;
  const rstd = outputs[1]!; // (.., 1)
  const g = b.mul(dy, x);
  const scaled = weight === undefined ? dy : b.mul(dy, weight);
  const dot =
    weight === undefined
      ? b.reduceSum(g, -1, true)
      : b.reshape(b.matmul(asRows(b, g, lead), b.reshape(weight, [width, 1])), rstd.shape);
  const pull = b.mul(b.mul(b.mul(rstd, rstd), rstd), b.mul(dot, 1 / Number(width)));
  const dx = b.sub(b.mul(scaled, rstd), b.mul(x, pull));
  if (weight === undefined) return [dx];
  const dw = b.matmul(asRows(b, rstd, lead), asRows(b, g, lead), { transA: true }); // (1, width)
  return [dx, b.reshape(dw, weight.shape)];
};

/** T = (I + L)^-1: dL = -Tᵀ dT Tᵀ on the strictly lower part; never through the levels of the doubling. */
const unitLowerTriangularInverse: GradRule<'unitLowerTriangularInverse'> = (b, { outputs: [T] }, [dT]) => {
  const size = T!.shape.at(-1) as number;
  const lower = Float32Array.from({ length: size * size }, (_, i) => (i % size < Math.floor(i / size) ? 1 : 0));
  const full = b.matmul(b.matmul(T!, dT!, { transA: true, alpha: -1 }), T!, { transB: true });
  return [b.mul(full, b.constant(lower, [size, size]))];
};

/**
 * With G_n the gradient of S_n: dR_n = gR_n + alphaK K_n G_{n+1} and G_n = keep G_{n+1} + alphaW W_nᵀ dR_n + gS_n: the
 * same recurrence the other way round, K and W exchanged. The stack it returns at n is G_{n+1}.
 */
const deltaStateScan: GradRule<'deltaStateScan'> = (b, { inputs, outputs, attrs }, [gS, gR, gFinal]) => {
  const [U, W, K] = inputs as [Tensor, Tensor, Tensor];
  const [states, residuals] = outputs as [Tensor, Tensor, Tensor];
  const { alphaW, alphaK, optional } = attrs;
  const keepAt = optional.indexOf('keep');
  const back = b.deltaStateScan(gR ?? b.constant(0, U.shape), K, W, {
    reverse: !attrs.reverse,
    alphaW: alphaK,
    alphaK: alphaW,
    addend: gS ?? undefined,
    initial: gFinal ?? undefined,
    keep: keepAt < 0 ? undefined : inputs[3 + keepAt],
  });
  const dW = b.matmul(back.residuals, states, { transB: true, alpha: alphaW });
  const dK = b.matmul(residuals, back.states, { transB: true, alpha: alphaK });
  const rest = { addend: back.states, initial: back.final, keep: null };
  return [back.residuals, dW, dK, ...optional.map((name) => rest[name])];
};

const diagonalStateScan: GradRule<'diagonalStateScan'> = (b, { inputs, outputs, attrs }, [gS, gFinal]) => {
  const [decay, update] = inputs as [Tensor, Tensor];
  const back = b.diagonalStateScan(decay, gS ?? b.constant(0, update.shape), {
    reverse: !attrs.reverse,
    initial: gFinal ?? undefined,
  });
  const dDecay = sumTo(b, b.mul(back.states, outputs[0]!), decay.shape);
  return [dDecay, back.states, ...(attrs.hasInitial ? [back.final] : [])];
};

export const gradRules: { readonly [P in Primitive]: GradRule<P> } = {
  input: none,
  param: none,
  constant: none,
  neg: unary((b, dy) => b.neg(dy)),
  exp: unary((b, dy, _x, y) => b.mul(dy, y)),
  log: unary((b, dy, x) => b.div(dy, x)),
  sqrt: unary((b, dy, _x, y) => b.div(b.mul(dy, 0.5), y)),
  reciprocal: unary((b, dy, _x, y) => b.neg(b.mul(dy, b.square(y)))),
  square: unary((b, dy, x) => b.mul(b.mul(dy, x), 2)),
  abs: unary((b, dy, x) => b.where(b.less(x, 0), b.neg(dy), dy)),
  sin: unary((b, dy, x) => b.mul(dy, b.cos(x))),
  cos: unary((b, dy, x) => b.neg(b.mul(dy, b.sin(x)))),
  tanh: unary((b, dy, _x, y) => b.mul(dy, b.sub(1, b.square(y)))),
  sigmoid: unary((b, dy, _x, y) => b.mul(dy, b.mul(y, b.sub(1, y)))),
  // y' = s + y (1 - s) = y + s (1 - y), s = sigmoid(x).
  silu: unary((b, dy, x, y) => b.mul(dy, b.add(y, b.mul(b.sigmoid(x), b.sub(1, y))))),
  softplus: unary((b, dy, x) => b.mul(dy, b.sigmoid(x))),
  not: none,
  stopGradient: none,
  add: binary((_b, dy) => [dy, dy]),
  sub: binary((b, dy) => [dy, b.neg(dy)]),
  mul: binary((b, dy, x, z) => [b.mul(dy, z), b.mul(dy, x)]),
  div: binary((b, dy, _x, z, y) => {
    const dx = b.div(dy, z);
    return [dx, b.neg(b.mul(dx, y))];
  }),
  // Where both are equal, the gradient goes to the first.
  minimum: binary((b, dy, x, z) => [b.where(b.lessEqual(x, z), dy, 0), b.where(b.lessEqual(x, z), 0, dy)]),
  maximum: binary((b, dy, x, z) => [b.where(b.greaterEqual(x, z), dy, 0), b.where(b.greaterEqual(x, z), 0, dy)]),
  equal: none,
  less: none,
  lessEqual: none,
  greater: none,
  greaterEqual: none,
  and: none,
  or: none,
  cast: none,
  clamp: unary((b, dy, x, _y, { attrs: { min, max } }) =>
    b.where(b.and(b.greaterEqual(x, min), b.lessEqual(x, max)), dy, 0),
  ),
  where: (b, { inputs: [mask, x, z] }, [dy]) => [
    null,
    sumTo(b, b.where(mask!, dy!, 0), x!.shape),
    sumTo(b, b.where(mask!, 0, dy!), z!.shape),
  ],
  matmul,
  groupedMatmul: (b, { inputs: [x, W, sizes], attrs: { transB } }, [dy]) => [
    b.groupedMatmul(dy!, W!, sizes!, { transB: !transB }),
    transB ? b.groupedOuter(dy!, x!, sizes!) : b.groupedOuter(x!, dy!, sizes!),
    null,
  ],
  groupedOuter: (b, { inputs: [x, y, sizes] }, [dW]) => [
    b.groupedMatmul(y!, dW!, sizes!, { transB: true }),
    b.groupedMatmul(x!, dW!, sizes!),
    null,
  ],
  reduceSum: (b, { inputs: [x], attrs: { axes } }, [dy]) => [b.expand(withReducedAxes(b, dy!, x!, axes), x!.shape)],
  reduceMax: reduceExtreme,
  reduceMin: reduceExtreme,
  softmax: unary((b, dy, _x, y) => b.mul(y, b.sub(dy, rowProducts(b, dy, y)))),
  reshape: unary((b, dy, x) => b.reshape(dy, x.shape)),
  expand: unary((b, dy, x) => sumTo(b, dy, x.shape)),
  transpose: unary((b, dy, _x, _y, { attrs: { perm } }) =>
    b.transpose(
      dy,
      perm.map((_, axis) => perm.indexOf(axis)),
    ),
  ),
  concat,
  slice,
  split: (b, { outputs, attrs: { axis } }, dys) => [
    b.concat(
      outputs.map((part, i) => dys[i] ?? b.constant(0, part.shape)),
      axis,
    ),
  ],
  pad: unary((b, dy, x, _y, { attrs: { axis, before } }) => b.slice(dy, axis, before, before + Number(x.shape[axis]))),
  gather,
  gatherRows,
  gatherElements: (b, { inputs: [x, ids], attrs: { axis } }, [dy]) => [
    b.scatterElements(b.constant(0, x!.shape), ids!, dy!, axis, 'add'),
  ],
  // Without reduction the ids must not repeat, as in ONNX.
  scatterElements: (b, { inputs: [, ids, updates], attrs: { axis, reduction } }, [dy]) => [
    reduction === 'add' ? dy! : b.scatterElements(dy!, ids!, b.constant(0, updates!.shape), axis),
    null,
    b.gatherElements(dy!, ids!, axis),
  ],
  topK: (b, { inputs: [x], outputs }, [dValues]) => [
    dValues ? b.scatterElements(b.constant(0, x!.shape), outputs[1]!, dValues, -1) : null,
  ],
  cumsum: unary((b, dy, _x, _y, { attrs: { axis, exclusive, reverse } }) =>
    b.cumsum(dy, axis, { exclusive, reverse: !reverse }),
  ),
  range: none,
  dimSize: none,
  crossEntropy,
  rmsNorm,
  mixtureOfExperts: () => {
    throw new EngineError('NO_GRADIENT', 'mixtureOfExperts is for inference; train through groupedMatmul');
  },
  ngramSlots: none,
  unitLowerTriangularInverse,
  deltaStateScan,
  diagonalStateScan,
};
