/** @file What each primitive means, as plain loops over float64 (also for integers and booleans: 0 and 1). */
import { broadcastShapes, type Dim, sizeOfShape, stridesOf } from '../tensor/shape.ts';
import { assert } from '../util/errors.ts';
import type { Node } from './graph.ts';
import { ngramFactor, type Primitive } from './primitives.ts';

export interface RefTensor {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

export type RefRule<P extends Primitive> = (
  node: Node<P>,
  inputs: readonly RefTensor[],
  resolve: (dim: Dim) => number,
) => readonly RefTensor[];

const make = (shape: readonly number[]): RefTensor => ({ shape, data: new Float64Array(sizeOfShape(shape)) });

const unary =
  <P extends Primitive>(f: (x: number, node: Node<P>) => number): RefRule<P> =>
  (node, [x]) => [{ shape: x!.shape, data: x!.data.map((value) => f(value, node)) }];

/** Calls `visit` for every index vector of `shape`, in row-major order; the vector is reused. */
function forEachIndex(shape: readonly number[], visit: (index: readonly number[], at: number) => void): void {
  const index = new Array<number>(shape.length).fill(0);
  const total = sizeOfShape(shape);
  for (let at = 0; at < total; at++) {
    visit(index, at);
    for (let axis = shape.length - 1; axis >= 0 && ++index[axis]! === shape[axis]; axis--) index[axis] = 0;
  }
}

const offsetOf = (index: readonly number[], strides: readonly number[]): number =>
  strides.reduce((sum, stride, axis) => sum + stride * index[axis]!, 0);

/** Calls `visit` for every element of `shape`, in row-major order, with its place in an array of these strides that begins at `start`. */
function forEachPlace(
  shape: readonly number[],
  strides: readonly number[],
  visit: (at: number, place: number) => void,
  start = 0,
): void {
  const [width, step] = [shape.at(-1) ?? 1, strides.at(-1) ?? 0];
  forEachIndex(shape.slice(0, -1), (index, row) => {
    let place = start;
    for (let axis = 0; axis < index.length; axis++) place += strides[axis]! * index[axis]!;
    for (let i = 0; i < width; i++) visit(row * width + i, place + i * step);
  });
}

/** The elements of `data` that these strides reach from `start` on, as a tensor of `shape`. Most of a graph's work: no callback. */
function gatherStrided(data: Float64Array, shape: readonly number[], strides: readonly number[], start = 0): RefTensor {
  const out = make(shape);
  const [width, step] = [shape.at(-1) ?? 1, strides.at(-1) ?? 0];
  let at = 0;
  forEachPlace(
    shape.slice(0, -1),
    strides.slice(0, -1),
    (_, place) => {
      for (let i = 0; i < width; i++) out.data[at++] = data[place + i * step]!;
    },
    start,
  );
  return out;
}

/** Strides that read a tensor of `from` as if it had `shape`: 0 along repeated axes. */
function broadcastStrides(from: readonly number[], shape: readonly number[]): number[] {
  const strides = stridesOf(from);
  const lead = shape.length - from.length;
  return shape.map((_, axis) => (axis < lead || from[axis - lead] === 1 ? 0 : strides[axis - lead]!));
}

function expand(x: RefTensor, shape: readonly number[]): RefTensor {
  const isSame = x.shape.length === shape.length && x.shape.every((size, axis) => size === shape[axis]);
  return isSame ? x : gatherStrided(x.data, shape, broadcastStrides(x.shape, shape));
}

/** Elementwise over two or three operands broadcast to one shape. */
function zip(inputs: readonly RefTensor[], f: (a: number, b: number, c: number) => number): RefTensor[] {
  const shape = inputs.map((x) => x.shape).reduce((a, b) => broadcastShapes(a, b) as number[]);
  const [a, b, c] = inputs.map((x) => expand(x, shape).data) as [Float64Array, Float64Array, Float64Array | undefined];
  return [{ shape, data: a.map((value, i) => f(value, b[i]!, c === undefined ? 0 : c[i]!)) }];
}

const binary =
  <P extends Primitive>(f: (a: number, b: number) => number): RefRule<P> =>
  (_, inputs) =>
    zip(inputs, (a, b) => f(a, b));

const compare = <P extends Primitive>(f: (a: number, b: number) => boolean): RefRule<P> =>
  binary((a, b) => Number(f(a, b)));

function transpose(x: RefTensor, perm: readonly number[]): RefTensor {
  const shape = perm.map((axis) => x.shape[axis]!);
  const strides = stridesOf(x.shape);
  return gatherStrided(
    x.data,
    shape,
    perm.map((axis) => strides[axis]!),
  );
}

const swapLast = (x: RefTensor): RefTensor => {
  const axes = x.shape.map((_, axis) => axis);
  const rank = axes.length;
  return transpose(x, axes.with(rank - 1, rank - 2).with(rank - 2, rank - 1));
};

/** alpha · op(a) op(b) over the last two axes. */
function matmul(a: RefTensor, b: RefTensor, { transA = false, transB = false, alpha = 1 } = {}): RefTensor {
  const [x, y] = [transA ? swapLast(a) : a, transB ? swapLast(b) : b];
  const [m, k] = x.shape.slice(-2) as [number, number];
  const n = y.shape.at(-1)!;
  const batch = broadcastShapes(x.shape.slice(0, -2), y.shape.slice(0, -2)) as number[];
  const out = make([...batch, m, n]);
  const xStrides = broadcastStrides(x.shape.slice(0, -2), batch);
  const yStrides = broadcastStrides(y.shape.slice(0, -2), batch);
  forEachIndex(batch, (index, at) => {
    const [xAt, yAt] = [offsetOf(index, xStrides) * m * k, offsetOf(index, yStrides) * k * n];
    for (let i = 0; i < m; i++) {
      const row = out.data.subarray((at * m + i) * n, (at * m + i + 1) * n);
      // Row by row of y: its columns are far apart.
      for (let p = 0; p < k; p++) {
        const factor = x.data[xAt + i * k + p]!;
        for (let j = 0; j < n; j++) row[j]! += factor * y.data[yAt + p * n + j]!;
      }
      for (let j = 0; j < n; j++) row[j]! *= alpha;
    }
  });
  return out;
}

/** Rows [start, start + size) of a matrix for each group. */
function groupsOf(x: RefTensor, sizes: RefTensor): RefTensor[] {
  let start = 0;
  return [...sizes.data].map((size) => cut(x, 0, (start += size) - size, size));
}

const matrixOf = (W: RefTensor, e: number): RefTensor => {
  const { shape, data } = cut(W, 0, e, 1);
  return { shape: shape.slice(1), data };
};

const reduce =
  (start: number, f: (a: number, b: number) => number): RefRule<'reduceSum' | 'reduceMax' | 'reduceMin'> =>
  ({ attrs: { axes, keepDims } }, [x]) => {
    const kept = x!.shape.map((dim, axis) => (axes.includes(axis) ? 1 : dim));
    const out = make(kept);
    out.data.fill(start);
    forEachPlace(x!.shape, broadcastStrides(kept, x!.shape), (at, to) => {
      out.data[to] = f(out.data[to]!, x!.data[at]!);
    });
    const shape = keepDims ? kept : x!.shape.filter((_, axis) => !axes.includes(axis));
    return [{ shape, data: out.data }];
  };

function softmax(x: RefTensor): RefTensor {
  const width = x.shape.at(-1)!;
  const data = new Float64Array(x.data.length);
  for (let row = 0; row < data.length; row += width) {
    const slice = x.data.subarray(row, row + width);
    const top = slice.reduce((a, b) => Math.max(a, b), -Infinity);
    const powers = slice.map((value) => Math.exp(value - top));
    const sum = powers.reduce((a, b) => a + b, 0);
    data.set(
      powers.map((value) => value / sum),
      row,
    );
  }
  return { shape: x.shape, data };
}

/** x[start : start + size] along an axis. */
function cut(x: RefTensor, axis: number, start: number, size: number, step = 1): RefTensor {
  const strides = stridesOf(x.shape);
  const stride = strides[axis]!;
  return gatherStrided(x.data, x.shape.with(axis, size), strides.with(axis, step * stride), start * stride);
}

/** Copies `part` into `out` from `start` on along an axis. */
function paste(out: RefTensor, part: RefTensor, axis: number, start: number): void {
  const strides = stridesOf(out.shape);
  const from = start * strides[axis]!;
  forEachPlace(part.shape, strides, (at, to) => void (out.data[to] = part.data[at]!), from);
}

function concat(parts: readonly RefTensor[], axis: number): RefTensor {
  const out = make(
    parts[0]!.shape.with(
      axis,
      parts.reduce((sum, part) => sum + part.shape[axis]!, 0),
    ),
  );
  let start = 0;
  for (const part of parts) {
    paste(out, part, axis, start);
    start += part.shape[axis]!;
  }
  return out;
}

function gatherRows(x: RefTensor, ids: RefTensor): RefTensor[] {
  const width = sizeOfShape(x.shape.slice(1));
  const out = make([...ids.shape, ...x.shape.slice(1)]);
  ids.data.forEach((id, row) => {
    assert(id >= 0 && id < x.shape[0]!, `gather: row ${id} of ${x.shape[0]}`);
    out.data.set(x.data.subarray(id * width, (id + 1) * width), row * width);
  });
  return [out];
}

const scatterElements: RefRule<'scatterElements'> = ({ attrs: { axis, reduction } }, [x, ids, updates]) => {
  const out = { shape: x!.shape, data: x!.data.slice() };
  const strides = stridesOf(x!.shape);
  forEachPlace(ids!.shape, strides.with(axis, 0), (at, place) => {
    const to = place + strides[axis]! * ids!.data[at]!;
    out.data[to] = reduction === 'add' ? out.data[to]! + updates!.data[at]! : updates!.data[at]!;
  });
  return [out];
};

const topK: RefRule<'topK'> = ({ attrs: { k } }, [x]) => {
  const width = x!.shape.at(-1)!;
  const [values, indices] = [make(x!.shape.with(-1, k)), make(x!.shape.with(-1, k))];
  for (let row = 0; row * width < x!.data.length; row++) {
    const slice = [...x!.data.subarray(row * width, (row + 1) * width)];
    const order = slice.map((_, i) => i).sort((i, j) => slice[j]! - slice[i]! || i - j);
    for (let i = 0; i < k; i++) {
      indices.data[row * k + i] = order[i]!;
      values.data[row * k + i] = slice[order[i]!]!;
    }
  }
  return [values, indices];
};

const cumsum: RefRule<'cumsum'> = ({ attrs: { axis, exclusive, reverse } }, [x]) => {
  const out = make(x!.shape);
  const strides = stridesOf(x!.shape);
  const size = x!.shape[axis]!;
  forEachIndex(x!.shape.with(axis, 1), (index) => {
    let sum = 0;
    for (let i = 0; i < size; i++) {
      const at = offsetOf(index, strides) + strides[axis]! * (reverse ? size - 1 - i : i);
      out.data[at] = exclusive ? sum : sum + x!.data[at]!;
      sum += x!.data[at]!;
    }
  });
  return [out];
};

const crossEntropy: RefRule<'crossEntropy'> = ({ attrs: { ignoreIndex } }, [logits, labels]) => {
  const width = logits!.shape[1]!;
  const data = labels!.data.map((label, row) => {
    if (label === ignoreIndex) return 0;
    const slice = logits!.data.subarray(row * width, (row + 1) * width);
    const top = slice.reduce((a, b) => Math.max(a, b), -Infinity);
    const sum = slice.reduce((total, value) => total + Math.exp(value - top), 0);
    return Math.log(sum) + top - slice[label]!;
  });
  return [{ shape: labels!.shape, data }, softmax(logits!)];
};

const mixtureOfExperts: RefRule<'mixtureOfExperts'> = ({ attrs: { k } }, [x, scores, W12, W3]) => {
  const [rows, h] = x!.shape as [number, number];
  const [E, I] = W3!.shape as [number, number];
  const out = make([rows, h]);
  for (let row = 0; row < rows; row++) {
    const score = (e: number): number => scores!.data[row * E + e]!;
    const best = Array.from({ length: E }, (_, e) => e)
      .sort((a, b) => score(b) - score(a) || a - b)
      .slice(0, k);
    const weights = best.map((e) => Math.exp(score(e) - score(best[0]!)));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const input = { shape: [1, h], data: x!.data.slice(row * h, (row + 1) * h) };
    best.forEach((e, rank) => {
      const both = matmul(input, matrixOf(W12!, e), {});
      const inner = make([1, I]);
      for (let i = 0; i < I; i++) inner.data[i] = (both.data[i]! / (1 + Math.exp(-both.data[i]!))) * both.data[I + i]!;
      const y = matmul(inner, matrixOf(W3!, e), {});
      for (let o = 0; o < h; o++) out.data[row * h + o]! += (weights[rank]! / total) * y.data[o]!;
    });
  }
  return [out];
};

const ngramSlots: RefRule<'ngramSlots'> = ({ attrs: { order, slots } }, [tokens, seeds]) => {
  const [batch, length] = tokens!.shape as [number, number];
  const out = make([batch, length - order + 1, seeds!.data.length]);
  forEachIndex(out.shape, ([row, t, seed], at) => {
    let hash = BigInt(seeds!.data[seed!]!);
    for (let i = 0; i < order; i++)
      hash = BigInt.asIntN(64, hash * BigInt(ngramFactor)) ^ BigInt(tokens!.data[row! * length + t! + i]!);
    out.data[at] = Number((hash < 0n ? -hash : hash) % BigInt(slots));
  });
  return [out];
};

const rmsNorm: RefRule<'rmsNorm'> = ({ attrs: { epsilon } }, [x, weight]) => {
  const width = x!.shape.at(-1)!;
  const y = make(x!.shape);
  const rstd = make(x!.shape.with(-1, 1));
  rstd.data.forEach((_, row) => {
    const slice = x!.data.subarray(row * width, (row + 1) * width);
    const mean = slice.reduce((sum, value) => sum + value * value, 0) / width;
    rstd.data[row] = 1 / Math.sqrt(mean + epsilon);
    slice.forEach((value, i) => {
      y.data[row * width + i] = value * rstd.data[row]! * (weight?.data[i] ?? 1);
    });
  });
  return [y, rstd];
};

/** Forward substitution, row by row: independent of the doubling that ONNX gets. */
const unitLowerTriangularInverse: RefRule<'unitLowerTriangularInverse'> = (_, [L]) => {
  const size = L!.shape.at(-1)!;
  const T = make(L!.shape);
  for (let base = 0; base < L!.data.length; base += size * size)
    for (let i = 0; i < size; i++)
      for (let j = 0; j <= i; j++) {
        let value = i === j ? 1 : 0;
        for (let p = j; p < i; p++) value -= L!.data[base + i * size + p]! * T.data[base + p * size + j]!;
        T.data[base + i * size + j] = value;
      }
  return [T];
};

const add = (a: RefTensor, b: RefTensor): RefTensor => zip([a, b], (x, y) => x + y)[0]!;
const mul = (a: RefTensor, b: RefTensor): RefTensor => zip([a, b], (x, y) => x * y)[0]!;

/** Chunk n of a stack along axis 1, that axis removed; a stack of size 1 there serves every chunk. */
function chunk(x: RefTensor, n: number): RefTensor {
  const part = cut(x, 1, x.shape[1] === 1 ? 0 : n, 1);
  return { shape: part.shape.toSpliced(1, 1), data: part.data };
}

const pasteChunk = (stack: RefTensor, part: RefTensor, n: number): void =>
  paste(stack, { shape: part.shape.toSpliced(1, 0, 1), data: part.data }, 1, n);

const scanOrder = (count: number, reverse: boolean): number[] =>
  Array.from({ length: count }, (_, i) => (reverse ? count - 1 - i : i));

const deltaStateScan: RefRule<'deltaStateScan'> = ({ attrs }, inputs) => {
  const [U, W, K] = inputs as [RefTensor, RefTensor, RefTensor];
  const { reverse, alphaW, alphaK, optional } = attrs;
  const named = new Map(optional.map((name, i) => [name, inputs[3 + i]!]));
  const [batch, count, , dv] = U.shape as [number, number, number, number];
  const dk = K.shape[3]!;
  const states = make([batch, count, dk, dv]);
  const residuals = make(U.shape);
  let state = named.get('initial') ?? make([batch, dk, dv]);
  for (const n of scanOrder(count, reverse)) {
    pasteChunk(states, state, n);
    const residual = add(chunk(U, n), matmul(chunk(W, n), state, { alpha: alphaW }));
    pasteChunk(residuals, residual, n);
    const keep = named.get('keep');
    const kept = keep === undefined ? state : mul(state, chunk(keep, n));
    state = add(kept, matmul(chunk(K, n), residual, { transA: true, alpha: alphaK }));
    const addend = named.get('addend');
    if (addend !== undefined) state = add(state, chunk(addend, n));
  }
  return [states, residuals, state];
};

const diagonalStateScan: RefRule<'diagonalStateScan'> = ({ attrs }, inputs) => {
  const [decay, update, initial] = inputs as [RefTensor, RefTensor, RefTensor | undefined];
  const states = make(update.shape);
  let state = initial ?? make(update.shape.toSpliced(1, 1));
  for (const n of scanOrder(update.shape[1]!, attrs.reverse)) {
    pasteChunk(states, state, n);
    state = add(mul(state, chunk(decay, n)), chunk(update, n));
  }
  return [states, state];
};

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

const fedFromOutside = (): never => {
  throw new Error('leaves are fed, not computed');
};

export const referenceRules: { readonly [P in Primitive]: RefRule<P> } = {
  input: fedFromOutside,
  param: fedFromOutside,
  constant: ({ attrs: { data }, outputs: [out] }) => [
    { shape: out!.shape as number[], data: Float64Array.from(data as Float64Array, Number) },
  ],
  neg: unary((x) => -x),
  exp: unary(Math.exp),
  log: unary(Math.log),
  sqrt: unary(Math.sqrt),
  reciprocal: unary((x) => 1 / x),
  square: unary((x) => x * x),
  abs: unary(Math.abs),
  sin: unary(Math.sin),
  cos: unary(Math.cos),
  tanh: unary(Math.tanh),
  sigmoid: unary(sigmoid),
  silu: unary((x) => x * sigmoid(x)),
  softplus: unary((x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))),
  not: unary((x) => Number(x === 0)),
  stopGradient: unary((x) => x),
  add: binary((a, b) => a + b),
  sub: binary((a, b) => a - b),
  mul: binary((a, b) => a * b),
  div: ({ outputs: [y] }, inputs) => zip(inputs, y!.dtype === 'f32' ? (a, b) => a / b : (a, b) => Math.trunc(a / b)),
  minimum: binary(Math.min),
  maximum: binary(Math.max),
  equal: compare((a, b) => a === b),
  less: compare((a, b) => a < b),
  lessEqual: compare((a, b) => a <= b),
  greater: compare((a, b) => a > b),
  greaterEqual: compare((a, b) => a >= b),
  and: compare((a, b) => a !== 0 && b !== 0),
  or: compare((a, b) => a !== 0 || b !== 0),
  where: (_, inputs) => zip(inputs, (mask, a, b) => (mask !== 0 ? a : b)),
  cast: ({ attrs: { to } }, [x]) => {
    const convert =
      to === 'bool' ? (v: number) => Number(v !== 0) : to === 'f32' || to === 'f64' ? (v: number) => v : Math.trunc;
    return [{ shape: x!.shape, data: x!.data.map((value) => convert(value)) }];
  },
  clamp: unary((x, { attrs: { min, max } }) => Math.min(Math.max(x, min), max)),
  matmul: ({ attrs }, [a, b]) => [matmul(a!, b!, attrs)],
  groupedMatmul: ({ attrs: { transB } }, [x, W, sizes]) => [
    concat(
      groupsOf(x!, sizes!).map((rows, e) => matmul(rows, matrixOf(W!, e), { transB })),
      0,
    ),
  ],
  mixtureOfExperts,
  groupedOuter: ({ outputs: [out] }, [x, y, sizes]) => {
    const ys = groupsOf(y!, sizes!);
    const parts = groupsOf(x!, sizes!).map((rows, e) => matmul(rows, ys[e]!, { transA: true }));
    return [{ shape: out!.shape as number[], data: concat(parts, 0).data }];
  },
  reduceSum: reduce(0, (a, b) => a + b),
  reduceMax: reduce(-Infinity, Math.max),
  reduceMin: reduce(Infinity, Math.min),
  softmax: (_, [x]) => [softmax(x!)],
  reshape: ({ attrs: { shape } }, [x], resolve) => [{ shape: shape.map(resolve), data: x!.data.slice() }],
  expand: ({ attrs: { shape } }, [x], resolve) => [expand(x!, shape.map(resolve))],
  transpose: ({ attrs: { perm } }, [x]) => [transpose(x!, perm)],
  concat: ({ attrs: { axis } }, inputs) => [concat(inputs, axis)],
  slice: ({ attrs: { axis, start, end, step } }, [x]) => {
    const size = x!.shape[axis]!;
    const from = start < 0 ? start + size : start;
    const to = end === null ? size : end < 0 ? end + size : end;
    return [cut(x!, axis, from, Math.ceil((to - from) / step), step)];
  },
  split: ({ attrs: { axis, sizes } }, [x]) => {
    let start = 0;
    return sizes.map((size) => cut(x!, axis, (start += size) - size, size));
  },
  pad: ({ attrs: { axis, before, after } }, [x]) => {
    const out = make(x!.shape.with(axis, x!.shape[axis]! + before + after));
    paste(out, x!, axis, before);
    return [out];
  },
  gather: (_, [x, ids]) => gatherRows(x!, ids!),
  gatherRows: (_, [x, ids]) => gatherRows(x!, ids!),
  gatherElements: ({ attrs: { axis } }, [x, ids]) => {
    const out = make(ids!.shape);
    const strides = stridesOf(x!.shape);
    forEachPlace(ids!.shape, strides.with(axis, 0), (at, place) => {
      out.data[at] = x!.data[place + strides[axis]! * ids!.data[at]!]!;
    });
    return [out];
  },
  scatterElements,
  topK,
  cumsum,
  range: (_, [size]) => [{ shape: [size!.data[0]!], data: Float64Array.from({ length: size!.data[0]! }, (_, i) => i) }],
  dimSize: ({ attrs: { axis } }, [x]) => [{ shape: [], data: Float64Array.of(x!.shape[axis]!) }],
  crossEntropy,
  rmsNorm,
  ngramSlots,
  unitLowerTriangularInverse,
  deltaStateScan,
  diagonalStateScan,
};
