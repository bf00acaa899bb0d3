/** @file Graphs of every primitive on odd shapes, for tests on each device. */
import { viewOf } from '../tensor/view.ts';
import type { BinaryPrimitive, Primitive, UnaryPrimitive } from './primitives.ts';
import { type CheckedCase, seededFloats } from './test-support.ts';

const ints = (values: readonly number[], shape: readonly number[]) => viewOf(BigInt64Array.from(values, BigInt), shape);
const bools = (values: readonly number[], shape: readonly number[]) => viewOf(Uint8Array.from(values), shape);
const unary = (op: Exclude<UnaryPrimitive, 'not'>, range: readonly [number, number] = [-1.5, 1.5]): CheckedCase => ({
  params: { x: [3, 1, 5] },
  range,
  build: (b, { x }) => b[op](x!),
});
const binary = (
  op: Exclude<BinaryPrimitive, 'and' | 'or'>,
  range: readonly [number, number] = [-1.5, 1.5],
): CheckedCase => ({
  params: { x: [3, 1, 5], z: [7, 1] },
  range,
  build: (b, { x, z }) => b[op](x!, z!),
});
const mask = bools([1, 0, 0, 1, 1], [5]);

/** By primitive, so that a primitive without a case is a compile error. */
export const primitiveCases: { readonly [P in Primitive]: Readonly<Record<string, CheckedCase>> } = {
  input: {
    fed: {
      params: { x: [3] },
      inputs: { z: viewOf(Float32Array.of(1, 2, 3), [3]) },
      build: (b, t) => b.mul(t.x!, t.z!),
    },
  },
  param: { alone: { params: { x: [3, 5] }, build: (_, { x }) => x! } },
  constant: {
    splat: { params: { x: [3, 5] }, build: (b, { x }) => b.mul(b.add(x!, b.constant(2.5, [3, 5])), 3) },
    array: { params: { x: [3] }, build: (b, { x }) => [b.mul(x!, b.constant(Float32Array.of(1, -2, 3))), b.range(4)] },
  },
  neg: { x: unary('neg') },
  exp: { x: unary('exp') },
  log: { x: unary('log', [0.2, 3]) },
  sqrt: { x: unary('sqrt', [0.2, 3]) },
  reciprocal: { x: unary('reciprocal', [0.3, 2]) },
  square: { x: unary('square') },
  abs: { x: unary('abs') },
  sin: {
    x: unary('sin'),
    // Rotary angles of far positions.
    far: {
      params: {},
      inputs: { x: viewOf(Float32Array.of(3.5, 100.25, -4095.5, 65535, 131071, 1048575), [6]) },
      build: (b, { x }) => b.sin(x!),
    },
  },
  cos: {
    x: unary('cos'),
    // Rotary angles of far positions.
    far: {
      params: {},
      inputs: { x: viewOf(Float32Array.of(3.5, 100.25, -4095.5, 65535, 131071, 1048575), [6]) },
      build: (b, { x }) => b.cos(x!),
    },
  },
  tanh: { x: unary('tanh') },
  sigmoid: { x: unary('sigmoid', [-6, 6]) },
  silu: { x: unary('silu', [-6, 6]) },
  softplus: { x: unary('softplus', [-30, 30]) },
  not: { x: { params: {}, inputs: { mask }, build: (b, t) => b.not(t.mask!) } },
  stopGradient: {
    beside: {
      params: { x: [5] },
      build: (b, { x }) => [b.add(b.square(x!), b.mul(0, b.stopGradient(x!))), b.stopGradient(b.mul(0, x!))],
    },
  },
  add: {
    broadcast: binary('add'),
    twice: { params: { x: [5] }, build: (b, { x }) => b.add(b.add(x!, x!), b.exp(x!)) },
  },
  sub: { broadcast: binary('sub'), number: { params: { x: [5] }, build: (b, { x }) => b.sub(1, x!) } },
  mul: { broadcast: binary('mul'), self: { params: { x: [5] }, build: (b, { x }) => b.mul(x!, x!) } },
  div: {
    broadcast: binary('div', [0.4, 2]),
    integers: { params: {}, inputs: { i: ints([0, 5, 7, 9], [4]) }, build: (b, t) => b.div(t.i!, 3) },
  },
  minimum: { broadcast: binary('minimum') },
  maximum: {
    broadcast: binary('maximum'),
    integers: { params: {}, inputs: { i: ints([-3, 5], [2]) }, build: (b, t) => b.maximum(t.i!, 0) },
  },
  equal: {
    broadcast: { params: {}, inputs: { i: ints([0, 1, 2, 1], [4, 1]) }, build: (b, t) => b.equal(t.i!, b.range(3)) },
  },
  less: { broadcast: binary('less') },
  lessEqual: { broadcast: binary('lessEqual') },
  greater: { broadcast: binary('greater') },
  greaterEqual: { broadcast: binary('greaterEqual') },
  and: { x: { params: {}, inputs: { mask }, build: (b, t) => b.and(t.mask!, b.not(t.mask!)) } },
  or: { x: { params: {}, inputs: { mask }, build: (b, t) => b.or(t.mask!, b.not(t.mask!)) } },
  cast: {
    kinds: {
      params: {},
      inputs: { mask },
      build: (b, t) => [b.cast(t.mask!, 'f32'), b.cast(t.mask!, 'i64'), b.cast(t.mask!, 'i32')],
    },
  },
  clamp: {
    both: { params: { x: [3, 5] }, build: (b, { x }) => b.clamp(x!, -0.5, 0.7) },
    oneSided: { params: { x: [3, 5] }, build: (b, { x }) => b.clamp(x!, -0.5, Number.POSITIVE_INFINITY) },
  },
  where: {
    broadcast: { params: { x: [3, 1], z: [5] }, inputs: { mask }, build: (b, t) => b.where(t.mask!, t.x!, t.z!) },
    number: { params: { x: [3, 5] }, inputs: { mask }, build: (b, t) => b.where(t.mask!, t.x!, -2) },
  },
  matmul: {
    // Cached decoding of a first token: no keys yet.
    overNothing: {
      params: { a: [3, 1], z: [1, 5] },
      inputs: { i: ints([0], [1]) },
      build: (b, t) => {
        const n = b.range(b.reduceMax(t.i!), 'n').shape[0]!;
        return b.matmul(b.expand(t.a!, [3, n]), b.expand(t.z!, [n, 5]));
      },
    },
    ofNothing: {
      params: { a: [3, 2], z: [1, 2], v: [4, 1] },
      inputs: { i: ints([0], [1]) },
      build: (b, t) => {
        const n = b.range(b.reduceMax(t.i!), 'n').shape[0]!;
        const products = b.matmul(t.a!, b.expand(t.z!, [n, 2]), { transB: true });
        return b.matmul(products, b.expand(t.v!, [4, n]), { transB: true });
      },
    },
    plain: { params: { a: [3, 5], z: [5, 7] }, build: (b, t) => b.matmul(t.a!, t.z!) },
    transA: { params: { a: [5, 3], z: [5, 7] }, build: (b, t) => b.matmul(t.a!, t.z!, { transA: true, alpha: 0.5 }) },
    transB: { params: { a: [3, 5], z: [7, 5] }, build: (b, t) => b.matmul(t.a!, t.z!, { transB: true, alpha: -2 }) },
    both: {
      params: { a: [2, 5, 3], z: [2, 7, 5] },
      build: (b, t) => b.matmul(t.a!, t.z!, { transA: true, transB: true }),
    },
    weight: { params: { a: [2, 3, 5], z: [7, 5] }, build: (b, t) => b.matmul(t.a!, t.z!, { transB: true }) },
    broadcast: { params: { a: [2, 3, 3, 5], z: [2, 1, 5, 3] }, build: (b, t) => b.matmul(t.a!, t.z!) },
    broadcastTrans: {
      params: { a: [3, 3, 5], z: [2, 1, 7, 5] },
      build: (b, t) => b.matmul(t.a!, t.z!, { transB: true }),
    },
    constantLeft: { params: { a: [3, 5], z: [2, 5, 2] }, build: (b, t) => b.matmul(t.a!, t.z!) },
    constantLeftTrans: { params: { a: [5, 3], z: [2, 5, 2] }, build: (b, t) => b.matmul(t.a!, t.z!, { transA: true }) },
    vector: { params: { a: [7, 5], z: [1, 5] }, build: (b, t) => b.matmul(t.a!, t.z!, { transB: true }) },
  },
  groupedMatmul: {
    groups: {
      params: { x: [7, 3], W: [4, 3, 5] },
      inputs: { sizes: ints([2, 0, 4, 1], [4]) },
      build: (b, t) => b.groupedMatmul(t.x!, t.W!, t.sizes!),
    },
    transB: {
      params: { x: [6, 3], W: [3, 5, 3] },
      inputs: { sizes: ints([0, 6, 0], [3]) },
      build: (b, t) => b.groupedMatmul(t.x!, t.W!, t.sizes!, { transB: true }),
    },
    one: {
      params: { x: [6, 3], W: [1, 3, 2] },
      inputs: { sizes: ints([6], [1]) },
      build: (b, t) => b.groupedMatmul(t.x!, t.W!, t.sizes!),
    },
  },
  mixtureOfExperts: {
    'two of three, as constants': {
      params: {},
      inputs: Object.fromEntries(
        Object.entries({ x: [5, 4], scores: [5, 3], W12: [3, 4, 6], W3: [3, 3, 4] }).map(([name, shape]) => [
          name,
          seededFloats(shape, name, [-1.5, 1.5]),
        ]),
      ),
      build: (b, { x, scores, W12, W3 }) => b.mixtureOfExperts(x!, scores!, W12!, W3!, 2),
    },
  },
  groupedOuter: {
    groups: {
      params: { x: [7, 3], y: [7, 2] },
      inputs: { sizes: ints([3, 0, 4], [3]) },
      build: (b, t) => b.groupedOuter(t.x!, t.y!, t.sizes!),
    },
  },
  reduceSum: {
    middle: { params: { x: [3, 5, 2] }, build: (b, { x }) => b.reduceSum(x!, 1) },
    all: { params: { x: [3, 5] }, build: (b, { x }) => b.reduceSum(x!) },
    mean: { params: { x: [3, 5, 2] }, build: (b, { x }) => b.reduceMean(x!, [0, -1], true) },
  },
  reduceMax: {
    nothing: {
      params: { x: [3, 1], z: [3, 1] },
      inputs: { i: ints([0], [1]) },
      build: (b, t) => {
        const n = b.range(b.reduceMax(t.i!), 'n').shape[0]!;
        const none = b.expand(t.x!, [3, n]);
        return [b.maximum(b.reduceMax(none, 1, true), t.z!), b.reduceSum(none, 1)];
      },
    },
    last: { params: { x: [3, 5] }, build: (b, { x }) => b.reduceMax(x!, -1) },
    integers: { params: {}, inputs: { i: ints([4, 9, 2], [3]) }, build: (b, t) => b.reduceMax(t.i!) },
  },
  reduceMin: { keep: { params: { x: [3, 5] }, build: (b, { x }) => b.reduceMin(x!, 0, true) } },
  softmax: {
    last: { params: { x: [3, 1, 5] }, range: [-4, 4], build: (b, { x }) => b.softmax(x!) },
    attention: {
      params: { x: [2, 3, 5], v: [2, 5, 4] },
      build: (b, { x, v }) => b.matmul(b.softmax(x!), v!, { alpha: 0.5 }),
    },
    // Two query heads of one key-value head, in one product; and a second reader of the shares.
    grouped: {
      params: { x: [2, 1, 2, 3, 5], v: [2, 1, 5, 4] },
      build: (b, { x, v }) => {
        const shares = b.softmax(x!);
        return [b.matmul(b.reshape(shares, [2, 1, 6, 5]), v!), b.square(shares)];
      },
    },
    groupedAlone: {
      params: { x: [2, 1, 2, 3, 5], v: [2, 1, 5, 4] },
      build: (b, { x, v }) => b.matmul(b.reshape(b.softmax(x!), [2, 1, 6, 5]), v!),
    },
  },
  reshape: { rest: { params: { x: [3, 2, 5] }, build: (b, { x }) => b.reshape(b.exp(x!), [-1, 3]) } },
  expand: { axes: { params: { x: [3, 1] }, build: (b, { x }) => b.expand(x!, [2, 3, 5]) } },
  transpose: { three: { params: { x: [3, 2, 5] }, build: (b, { x }) => b.transpose(x!, [1, 2, 0]) } },
  concat: { middle: { params: { x: [3, 2, 2], z: [3, 1, 2] }, build: (b, { x, z }) => b.concat([x!, z!, x!], 1) } },
  slice: {
    inner: { params: { x: [3, 7] }, build: (b, { x }) => b.slice(x!, 1, 2, -1) },
    last: { params: { x: [3, 7] }, build: (b, { x }) => b.slice(x!, 0, -1) },
    steps: { params: { x: [3, 7, 2] }, build: (b, { x }) => b.slice(x!, 1, 1, null, 3) },
  },
  split: {
    sizes: { params: { x: [3, 7] }, build: (b, { x }) => b.split(x!, 1, [2, 4, 1]) },
    // The middle part gets no gradient.
    partly: { params: { x: [3, 6] }, build: (b, { x }) => b.split(x!, 1, 3).filter((_, i) => i !== 1) },
  },
  pad: {
    both: { params: { x: [3, 2] }, build: (b, { x }) => b.pad(x!, 0, 1, 2) },
    // One head: the runtime moves such a transposition through what follows.
    transposed: {
      params: { x: [2, 5, 4], w: [4, 4] },
      build: (b, { x, w }) => {
        const heads = b.reshape(b.matmul(b.reshape(x!, [10, 4]), w!), [2, 5, 1, 4]);
        const padded = b.pad(b.transpose(heads, [0, 2, 1, 3]), 2, 0, 3);
        return b.transpose(b.slice(b.mul(padded, 2), 2, 0, 5), [0, 2, 1, 3]);
      },
    },
  },
  gather: {
    // Repeated ids: their gradients add up.
    repeated: {
      params: { x: [5, 3] },
      inputs: { i: ints([1, 4, 1, 1, 0, 4], [2, 3]) },
      build: (b, t) => b.gather(t.x!, t.i!),
    },
  },
  gatherRows: {
    permutation: {
      params: { x: [4, 3] },
      inputs: { i: ints([2, 0, 3, 1], [4]), inverse: ints([1, 3, 0, 2], [4, 1]) },
      build: (b, t) => b.gatherRows(t.x!, t.i!, t.inverse!),
    },
    masked: {
      params: { x: [3, 2, 2] },
      // Row 1 is read twice, row 2 never, row 0 once.
      inputs: {
        i: ints([1, 1, 0], [3]),
        inverse: ints([2, 0, 0, 1, 1, 1], [3, 2]),
        mask: bools([1, 0, 1, 1, 0, 0], [3, 2]),
      },
      build: (b, t) => b.gatherRows(t.x!, t.i!, t.inverse!, t.mask!),
    },
  },
  gatherElements: {
    last: {
      params: { x: [3, 5] },
      inputs: { i: ints([0, 4, 2, 2, 3, 1], [3, 2]) },
      build: (b, t) => b.gatherElements(t.x!, t.i!, -1),
    },
  },
  scatterElements: {
    none: {
      params: { x: [3, 5], u: [3, 2] },
      inputs: { i: ints([0, 4, 2, 1, 3, 1], [3, 2]) },
      build: (b, t) => b.scatterElements(t.x!, t.i!, t.u!, 1),
    },
    add: {
      params: { x: [3, 5], u: [3, 2] },
      inputs: { i: ints([0, 0, 2, 1, 3, 3], [3, 2]) },
      build: (b, t) => b.scatterElements(t.x!, t.i!, t.u!, 1, 'add'),
    },
    integers: {
      params: {},
      inputs: { i: ints([3, 0, 1], [3]) },
      build: (b, t) => b.scatterElements(b.constant(-1, [4], 'i64'), t.i!, b.range(3), 0),
    },
  },
  topK: {
    values: { params: { x: [3, 7] }, build: (b, { x }) => b.topK(x!, 3).values },
    indices: { params: { x: [3, 7] }, build: (b, { x }) => b.topK(x!, 3).indices },
    threshold: { params: { x: [3, 7] }, build: (b, { x }) => b.reduceMin(b.topK(x!, 4, { sorted: false }).values, -1) },
  },
  cumsum: {
    first: { params: { x: [5, 3] }, build: (b, { x }) => b.cumsum(x!, 0) },
    exclusive: { params: { x: [3, 5] }, build: (b, { x }) => b.cumsum(x!, 1, { exclusive: true, reverse: true }) },
    integers: {
      params: {},
      inputs: { i: ints([1, 2, 3, 4, 5, 6], [3, 2]) },
      build: (b, t) => [b.cumsum(t.i!, 0), b.cumsum(b.cast(t.i!, 'i32'), 0)],
    },
  },
  range: {
    runTime: { params: {}, inputs: { i: ints([2, 6], [2]) }, build: (b, t) => b.range(b.reduceMax(t.i!), 'n') },
  },
  dimSize: {
    runTime: {
      params: { x: [3] },
      inputs: { i: ints([4, 2], [2]) },
      build: (b, t) => {
        const n = b.range(b.reduceMax(t.i!), 'n').shape[0]!;
        return [b.sizeOf(n), b.reduceMean(b.expand(b.reshape(t.x!, [3, 1]), [3, n]), [1])];
      },
    },
  },
  ngramSlots: {
    wrapping: {
      params: {},
      inputs: {
        t: ints([0, 0, 7, 99991, 3, 0, 16000000, 16000001, 12, 1], [2, 5]),
        s: ints([1, 2147483646, 77777], [3]),
      },
      build: (b, t) => b.cast(b.ngramSlots(t.t!, t.s!, 3, 1000003), 'f32'),
    },
  },
  crossEntropy: {
    ignored: {
      params: { x: [4, 7] },
      range: [-5, 5],
      inputs: { l: ints([6, -100, 0, 2], [4]) },
      build: (b, t) => b.crossEntropy(t.x!, t.l!),
    },
    // Probabilities far below the smallest float.
    extreme: {
      params: { x: viewOf(Float32Array.of(0, 200, -300, 90, 90, 90), [2, 3]) as never },
      inputs: { l: ints([2, 1], [2]) },
      build: (b, t) => b.crossEntropy(t.x!, t.l!),
    },
  },
  rmsNorm: {
    weighted: { params: { x: [3, 2, 5], w: [5] }, build: (b, t) => b.rmsNorm(t.x!, t.w!, 1e-6) },
    plain: { params: { x: [3, 5] }, build: (b, { x }) => b.rmsNorm(x!, null, 1e-2) },
    matrix: { params: { x: [6, 3], w: [3] }, build: (b, t) => b.square(b.rmsNorm(t.x!, t.w!, 1e-6)) },
  },
  unitLowerTriangularInverse: {
    eight: { params: { L: [2, 8, 8] }, build: (b, { L }) => b.unitLowerTriangularInverse(L!), range: [-0.8, 0.8] },
    odd: { params: { L: [1, 2, 5, 5] }, build: (b, { L }) => b.unitLowerTriangularInverse(L!) },
    one: { params: { L: [2, 1, 1] }, build: (b, { L }) => b.unitLowerTriangularInverse(L!) },
  },
  deltaStateScan: {
    all: {
      params: { U: [2, 3, 4, 3], W: [2, 3, 4, 5], K: [2, 3, 4, 5], initial: [2, 5, 3], addend: [2, 3, 5, 3] },
      range: [-0.7, 0.7],
      inputs: { keep: viewOf(Float32Array.of(1, 0, 1, 1, 1, 0), [2, 3, 1, 1]) },
      build: (b, { U, W, K, initial, addend, keep }) =>
        Object.values(b.deltaStateScan(U!, W!, K!, { initial, addend, keep })),
    },
    plain: {
      params: { U: [2, 3, 4, 3], W: [2, 3, 4, 5], K: [2, 3, 4, 5] },
      range: [-0.7, 0.7],
      build: (b, { U, W, K }) => [b.deltaStateScan(U!, W!, K!).states, b.deltaStateScan(U!, W!, K!).residuals],
    },
    residualsOnly: {
      params: { U: [1, 1, 4, 3], W: [1, 1, 4, 5], K: [1, 1, 4, 5], initial: [1, 5, 3] },
      build: (b, { U, W, K, initial }) => b.deltaStateScan(U!, W!, K!, { initial }).residuals,
    },
    finalOnly: {
      params: { U: [1, 2, 2, 3], W: [1, 2, 2, 5], K: [1, 2, 2, 5] },
      build: (b, { U, W, K }) => b.deltaStateScan(U!, W!, K!).final,
    },
    // More than are unrolled: a loop.
    many: {
      params: { U: [1, 130, 1, 1], W: [1, 130, 1, 2], K: [1, 130, 1, 2] },
      range: [-0.7, 0.7],
      inputs: {
        keep: viewOf(
          Float32Array.from({ length: 130 }, (_, n) => Number(n % 40 !== 7)),
          [1, 130, 1, 1],
        ),
      },
      build: (b, { U, W, K, keep }) => Object.values(b.deltaStateScan(U!, W!, K!, { keep })),
    },
    reversed: {
      params: { U: [1, 3, 2, 2], W: [1, 3, 2, 3], K: [1, 3, 2, 3] },
      build: (b, { U, W, K }) => Object.values(b.deltaStateScan(U!, W!, K!, { reverse: true, alphaW: 1, alphaK: -1 })),
    },
  },
  diagonalStateScan: {
    // More than are unrolled: a loop.
    many: {
      params: { d: [1, 130, 1, 1], u: [1, 130, 1, 2], s: [1, 1, 2] },
      range: [-0.7, 0.7],
      build: (b, { d, u, s }) => Object.values(b.diagonalStateScan(d!, u!, { initial: s! })),
    },
    manyReversed: {
      params: { d: [1, 130, 1], u: [1, 130, 1] },
      range: [-0.7, 0.7],
      build: (b, { d, u }) => b.diagonalStateScan(d!, u!, { reverse: true }).states,
    },
    slots: {
      params: { d: [2, 4, 1, 5], u: [2, 4, 3, 5], s: [2, 3, 5] },
      build: (b, { d, u, s }) => Object.values(b.diagonalStateScan(d!, u!, { initial: s! })),
    },
    rows: { params: { d: [1, 3, 5, 1], u: [2, 3, 5, 2] }, build: (b, { d, u }) => b.diagonalStateScan(d!, u!).states },
    final: {
      params: { d: [2, 3, 1], u: [2, 3, 4] },
      build: (b, { d, u }) => b.diagonalStateScan(d!, u!, { reverse: true }).final,
    },
  },
};

/** Without what is written for the CPU alone: decoders ask for it there only. */
export const portableCases = Object.entries(primitiveCases).filter(([primitive]) => primitive !== 'mixtureOfExperts');
