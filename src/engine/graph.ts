/**
 * @file The graph: frozen nodes of primitives, and the builder that infers shapes and dtypes, shares equal
 * subexpressions and constants, and drops what no output needs. It computes nothing.
 */
import { type DType, dtypeOfArray, isFloat, type TypedArray } from '../tensor/dtype.ts';
import {
  addDims,
  broadcastShapes,
  type Dim,
  divideDims,
  equalShapes,
  formatShape,
  isStatic,
  multiplyDims,
  normalizeAxis,
  type Shape,
  splitDim,
} from '../tensor/shape.ts';
import { assert } from '../util/errors.ts';
import { constantData, keyOfNode } from './constants.ts';
import { EngineError } from './errors.ts';
import type { BinaryPrimitive, DeltaScanInput, Primitive, PrimitiveAttrs, UnaryPrimitive } from './primitives.ts';

/** A value of the graph: one output of one node. */
export interface Tensor {
  readonly node: Node;
  /** Which output of the node. */
  readonly output: number;
  readonly shape: Shape;
  readonly dtype: DType;
}

export interface Node<P extends Primitive = Primitive> {
  /** Creation order; inputs have smaller ids. */
  readonly id: number;
  readonly op: P;
  readonly attrs: PrimitiveAttrs[P];
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  /** The recomputed part of the graph that the node was made in; null outside of such parts. */
  readonly segment: number | null;
}

export interface Graph {
  /** Nodes that an output needs, inputs before users. */
  readonly nodes: readonly Node[];
  /** Inputs and params that an output needs. */
  readonly inputs: ReadonlyMap<string, Tensor>;
  /** Every declared input or param: feeds of unneeded ones are ignored, other names are refused. */
  readonly declared: ReadonlySet<string>;
  readonly outputs: ReadonlyMap<string, Tensor>;
}

/** A number stands for a constant of the other operand's dtype. */
export type Operand = Tensor | number;

interface OutputType {
  readonly shape: Shape;
  readonly dtype: DType;
}

interface SymbolSource {
  readonly tensor: Tensor;
  readonly axis: number;
  readonly factor: number;
}

export interface DeltaStateScanOptions {
  /** State before the first chunk, [B, Dk, Dv]; zero if absent. */
  readonly initial?: Tensor | undefined;
  /** [B or 1, N, 1, 1] in {0, 1}: does the state pass through chunk n (no document boundary in it)? Not differentiated. */
  readonly keep?: Tensor | undefined;
  /** Added to the state after each chunk, [B, N, Dk, Dv]. */
  readonly addend?: Tensor | undefined;
  readonly reverse?: boolean;
  readonly alphaW?: number;
  readonly alphaK?: number;
}

export class GraphBuilder {
  readonly #nodes: Node[] = [];
  readonly #shared = new Map<string, Node[]>();
  readonly #named = new Map<string, Tensor>();
  readonly #outputs = new Map<string, Tensor>();
  readonly #symbols = new Map<string, SymbolSource>();
  readonly #symbolCounts = new Map<string, number>();

  #segment: number | null = null;
  #segmentCount = 0;

  /**
   * What `build` makes is computed a second time in the backward pass instead of being kept for it (gradient
   * checkpointing, arXiv:1604.06174): only what comes into this part from outside stays. Parts do not nest.
   */
  recomputed<T>(build: () => T): T {
    assert(this.#segment === null, 'recomputed parts do not nest');
    this.#segment = this.#segmentCount++;
    try {
      return build();
    } finally {
      this.#segment = null;
    }
  }

  /** The node once more, with other inputs of the same types. */
  copyNode(node: Node, inputs: readonly Tensor[]): readonly Tensor[] {
    return this.#node(node.op, node.attrs, inputs, node.outputs);
  }

  // ---- leaves -------------------------------------------------------------------------------------------------------

  /** A value fed at each run. A string dimension is free; equal strings must be equal sizes. */
  input(name: string, shape: Shape, dtype: DType = 'f32'): Tensor {
    return this.#leaf('input', name, shape, dtype);
  }

  /** An f32 input of which gradients are asked. */
  param(name: string, shape: Shape): Tensor {
    return this.#leaf('param', name, shape, 'f32');
  }

  /** Array: its elements in row-major order. Number: that number in every place of `shape` (a scalar by default). */
  constant(data: TypedArray | number, shape?: Shape, dtype?: DType): Tensor {
    if (typeof data === 'number') {
      const type = dtype ?? 'f32';
      const [scalar] = this.#node('constant', { data: constantData(data, type) }, [], [{ shape: [], dtype: type }]);
      return shape === undefined || shape.length === 0 ? scalar! : this.expand(scalar!, shape);
    }
    const at = shape ?? [data.length];
    assert(multiplyDims(at) === data.length, `constant of ${data.length} elements does not fill ${formatShape(at)}`);
    return this.#one('constant', { data }, [], at, dtype ?? dtypeOfArray(data));
  }

  /** Names a result. */
  output(name: string, tensor: Tensor): Tensor {
    if (this.#outputs.has(name)) throw new EngineError('DUPLICATE_NAME', `output ${name} is named twice`);
    this.#outputs.set(name, tensor);
    return tensor;
  }

  /** A name for a run-time size that no other call returns. */
  freshSymbol(stem: string): string {
    const count = this.#symbolCounts.get(stem) ?? 0;
    this.#symbolCounts.set(stem, count + 1);
    return `${stem}_${count}`;
  }

  // ---- elementwise --------------------------------------------------------------------------------------------------

  neg = (x: Tensor): Tensor => this.#unary('neg', x);
  exp = (x: Tensor): Tensor => this.#unary('exp', x);
  log = (x: Tensor): Tensor => this.#unary('log', x);
  sqrt = (x: Tensor): Tensor => this.#unary('sqrt', x);
  reciprocal = (x: Tensor): Tensor => this.#unary('reciprocal', x);
  square = (x: Tensor): Tensor => this.#unary('square', x);
  abs = (x: Tensor): Tensor => this.#unary('abs', x);
  sin = (x: Tensor): Tensor => this.#unary('sin', x);
  cos = (x: Tensor): Tensor => this.#unary('cos', x);
  tanh = (x: Tensor): Tensor => this.#unary('tanh', x);
  sigmoid = (x: Tensor): Tensor => this.#unary('sigmoid', x);
  /** x · sigmoid(x). */
  silu = (x: Tensor): Tensor => this.#unary('silu', x);
  /** ln(1 + e^x), without overflow. */
  softplus = (x: Tensor): Tensor => this.#unary('softplus', x);
  /** The same value, a constant to the gradient. */
  stopGradient = (x: Tensor): Tensor => this.#unary('stopGradient', x);
  not = (x: Tensor): Tensor => this.#unary('not', x);

  add(a: Operand, b: Operand): Tensor {
    if (b === 0) return this.#tensor(a, b);
    return a === 0 ? this.#tensor(b, a) : this.#binary('add', a, b);
  }

  sub(a: Operand, b: Operand): Tensor {
    return b === 0 ? this.#tensor(a, b) : this.#binary('sub', a, b);
  }

  mul(a: Operand, b: Operand): Tensor {
    if (b === 1) return this.#tensor(a, b);
    return a === 1 ? this.#tensor(b, a) : this.#binary('mul', a, b);
  }

  /** Quotient; of integers, truncated. */
  div(a: Operand, b: Operand): Tensor {
    return b === 1 ? this.#tensor(a, b) : this.#binary('div', a, b);
  }

  minimum = (a: Operand, b: Operand): Tensor => this.#binary('minimum', a, b);
  maximum = (a: Operand, b: Operand): Tensor => this.#binary('maximum', a, b);
  equal = (a: Operand, b: Operand): Tensor => this.#binary('equal', a, b, 'bool');
  less = (a: Operand, b: Operand): Tensor => this.#binary('less', a, b, 'bool');
  lessEqual = (a: Operand, b: Operand): Tensor => this.#binary('lessEqual', a, b, 'bool');
  greater = (a: Operand, b: Operand): Tensor => this.#binary('greater', a, b, 'bool');
  greaterEqual = (a: Operand, b: Operand): Tensor => this.#binary('greaterEqual', a, b, 'bool');
  and = (a: Tensor, b: Tensor): Tensor => this.#binary('and', a, b, 'bool');
  or = (a: Tensor, b: Tensor): Tensor => this.#binary('or', a, b, 'bool');

  /** Limits x to [min, max]; the gradient passes where min <= x <= max. */
  clamp(x: Tensor, min: number, max: number): Tensor {
    return this.#one('clamp', { min, max }, [x], x.shape, x.dtype);
  }

  /** mask ? a : b, with broadcasting; mask is bool. */
  where(mask: Tensor, a: Operand, b: Operand): Tensor {
    if (mask.dtype !== 'bool') throw new EngineError('DTYPE_MISMATCH', `where: mask is ${mask.dtype}, expected bool`);
    const [x, y] = this.#operands('where', a, b);
    const shape = this.#broadcast('where', this.#broadcast('where', mask.shape, x.shape), y.shape);
    const inputs = this.#skipExpands([mask, x, y], shape);
    return this.#one('where', {}, inputs, shape, x.dtype);
  }

  cast(x: Tensor, to: DType): Tensor {
    return x.dtype === to ? x : this.#one('cast', { to }, [x], x.shape, to);
  }

  // ---- products and reductions --------------------------------------------------------------------------------------

  /** alpha · op(a) op(b) over the last two axes, op exchanging them if asked; leading axes broadcast. */
  matmul(a: Tensor, b: Tensor, options: { transA?: boolean; transB?: boolean; alpha?: number } = {}): Tensor {
    const { transA = false, transB = false, alpha = 1 } = options;
    if (a.shape.length < 2 || b.shape.length < 2)
      throw this.#mismatch('matmul', a.shape, b.shape, 'both need two axes or more');
    if (a.shape.length > 2 && b.shape.length === 2 && !transA) {
      // One large product instead of a batch of small ones, and a weight gradient without a batch to sum over.
      const rows = multiplyDims(a.shape.slice(0, -1));
      const flat = this.matmul(this.reshape(a, [rows, a.shape.at(-1)!]), b, options);
      return this.reshape(flat, [...a.shape.slice(0, -1), flat.shape[1]!]);
    }
    const [m, k] = this.#lastTwo(a.shape, transA);
    const [k2, n] = this.#lastTwo(b.shape, transB);
    if (k !== k2) throw this.#mismatch('matmul', a.shape, b.shape, `inner sizes ${k} and ${k2} differ`);
    const batch = this.#broadcast('matmul', a.shape.slice(0, -2), b.shape.slice(0, -2));
    return this.#one('matmul', { transA, transB, alpha }, [a, b], [...batch, m, n], a.dtype);
  }

  /**
   * Rows of x [M, k] in E consecutive groups of `sizes` [E] i64 rows (run-time values, zeros allowed, sum M): group e is
   * multiplied by W[e], W [E, k, n], or by its transpose with `transB`, W [E, n, k]. Result [M, n].
   */
  groupedMatmul(x: Tensor, W: Tensor, sizes: Tensor, options: { transB?: boolean } = {}): Tensor {
    const { transB = false } = options;
    this.#integers('groupedMatmul', sizes);
    const [k, n] = this.#lastTwo(W.shape, transB);
    if (x.shape.length !== 2 || W.shape.length !== 3 || k !== x.shape[1] || !equalShapes(sizes.shape, [W.shape[0]!]))
      throw this.#mismatch('groupedMatmul', x.shape, W.shape, 'expected [M, k], [E, k, n] and [E]');
    return this.#one('groupedMatmul', { transB }, [x, W, sizes], [x.shape[0]!, n], x.dtype);
  }

  /**
   * For each row of x [N, h] its k best experts by `scores` [N, E], their results weighted by the softmax over these k
   * scores and summed: [N, h]. Expert e is x ↦ (silu(x W_g) ⊙ x W_u) W3[e] with [W_g | W_u] = W12[e]; W12 [E, h, 2 I],
   * W3 [E, I, h]. For inference on the CPU: it has no gradient, and is fast only where W12 and W3 are a session's constants.
   */
  mixtureOfExperts(x: Tensor, scores: Tensor, W12: Tensor, W3: Tensor, k: number): Tensor {
    const [N, h] = x.shape;
    const [E, I] = W3.shape;
    const fits =
      equalShapes(scores.shape, [N!, E!]) &&
      equalShapes(W3.shape, [E!, I!, h!]) &&
      equalShapes(W12.shape, [E!, h!, 2 * Number(I)]);
    if (!fits)
      throw this.#mismatch('mixtureOfExperts', x.shape, W12.shape, 'expected [N, h], [N, E], [E, h, 2 I], [E, I, h]');
    return this.#one('mixtureOfExperts', { k }, [x, scores, W12, W3], x.shape, x.dtype);
  }

  /** x[group]ᵀ y[group] for each of the same groups: x [M, k], y [M, n] → [E, k, n]; zeros for an empty group. */
  groupedOuter(x: Tensor, y: Tensor, sizes: Tensor): Tensor {
    this.#integers('groupedOuter', sizes);
    if (x.shape.length !== 2 || y.shape.length !== 2 || x.shape[0] !== y.shape[0])
      throw this.#mismatch('groupedOuter', x.shape, y.shape, 'expected [M, k] and [M, n]');
    return this.#one('groupedOuter', {}, [x, y, sizes], [sizes.shape[0]!, x.shape[1]!, y.shape[1]!], x.dtype);
  }

  /** Sum over `axes` (all by default). */
  reduceSum(x: Tensor, axes?: number | readonly number[], keepDims = false): Tensor {
    return this.#reduce('reduceSum', x, axes, keepDims);
  }

  reduceMax(x: Tensor, axes?: number | readonly number[], keepDims = false): Tensor {
    return this.#reduce('reduceMax', x, axes, keepDims);
  }

  reduceMin(x: Tensor, axes?: number | readonly number[], keepDims = false): Tensor {
    return this.#reduce('reduceMin', x, axes, keepDims);
  }

  reduceMean(x: Tensor, axes?: number | readonly number[], keepDims = false): Tensor {
    const count = multiplyDims(this.#axes('reduceMean', x, axes).map((axis) => x.shape[axis]!));
    const sum = this.reduceSum(x, axes, keepDims);
    return typeof count === 'number' ? this.mul(sum, 1 / count) : this.div(sum, this.cast(this.sizeOf(count), x.dtype));
  }

  /** Over the last axis. */
  softmax(x: Tensor): Tensor {
    return this.#one('softmax', {}, [x], x.shape, x.dtype);
  }

  // ---- shape --------------------------------------------------------------------------------------------------------

  /** One size may be -1: what remains. */
  reshape(x: Tensor, shape: Shape): Tensor {
    const total = multiplyDims(x.shape);
    const known = multiplyDims(shape.filter((dim) => dim !== -1));
    const rest = shape.includes(-1) ? divideDims(total, known) : 1;
    const target = shape.map((dim) => (dim === -1 ? rest : dim));
    if (target.includes(null) || multiplyDims(target as Shape) !== total)
      throw this.#mismatch('reshape', x.shape, shape, 'the numbers of elements differ');
    const to = target as Shape;
    if (equalShapes(to, x.shape)) return x;
    if (x.node.op === 'reshape') return this.reshape(x.node.inputs[0]!, to);
    // One symbolic size is inferred by the runtime; more need their values.
    const symbols = to.filter((dim) => typeof dim === 'string').length > 1 ? this.#symbolsOf(to) : [];
    return this.#one('reshape', { shape: to, symbols }, [x, ...symbols.map((s) => this.sizeOf(s))], to, x.dtype);
  }

  /** Broadcasts x to `shape`. */
  expand(x: Tensor, shape: Shape): Tensor {
    if (equalShapes(x.shape, shape)) return x;
    const joint = this.#broadcast('expand', x.shape, shape);
    if (!equalShapes(joint, shape)) throw this.#mismatch('expand', x.shape, shape, 'not a broadcast of the first');
    const symbols = this.#symbolsOf(shape);
    return this.#one('expand', { shape, symbols }, [x, ...symbols.map((s) => this.sizeOf(s))], shape, x.dtype);
  }

  /** Axis i of the result is axis perm[i] of x; reversed by default. */
  transpose(x: Tensor, perm: readonly number[] = x.shape.map((_, axis) => x.shape.length - 1 - axis)): Tensor {
    const valid = perm.length === x.shape.length && x.shape.every((_, axis) => perm.includes(axis));
    if (!valid) throw this.#mismatch('transpose', x.shape, perm, 'not a permutation of the axes');
    if (perm.every((axis, i) => axis === i)) return x;
    const shape = perm.map((axis) => x.shape[axis]!);
    // Where only axes of size one move, the order of the numbers stays: no copy.
    const moved = perm.filter((axis) => x.shape[axis] !== 1);
    if (isStatic(shape) && moved.every((axis, i) => i === 0 || axis > moved[i - 1]!)) return this.reshape(x, shape);
    return this.#one('transpose', { perm }, [x], shape, x.dtype);
  }

  concat(parts: readonly Tensor[], axis: number): Tensor {
    const first = parts[0];
    assert(first !== undefined, 'concat of nothing');
    if (parts.length === 1) return first;
    const at = this.#axis('concat', first, axis);
    for (const part of parts) {
      const fits =
        part.shape.length === first.shape.length && part.shape.every((dim, i) => i === at || dim === first.shape[i]);
      if (!fits) throw this.#mismatch('concat', first.shape, part.shape, `sizes differ outside axis ${at}`);
      if (part.dtype !== first.dtype) throw this.#dtypes('concat', first, part);
    }
    const size = parts.map((part) => part.shape[at]!).reduce(addDims);
    return this.#one('concat', { axis: at }, parts, first.shape.with(at, size), first.dtype);
  }

  /** x[start:end:step] along `axis`; negative bounds count from the end, an absent end is the end. */
  slice(x: Tensor, axis: number, start: number, end: number | null = null, step = 1): Tensor {
    const at = this.#axis('slice', x, axis);
    const size = sliceSize(x.shape[at]!, start, end, step);
    if (size === null)
      throw new EngineError(
        'SHAPE_MISMATCH',
        `slice ${start}:${end}:${step} does not fit axis ${at} of ${formatShape(x.shape)}`,
      );
    if (size === x.shape[at] && start === 0 && step === 1) return x;
    return this.#one('slice', { axis: at, start, end, step }, [x], x.shape.with(at, size), x.dtype);
  }

  /** Consecutive parts along `axis`; sizes given, or so many equal parts. */
  split(x: Tensor, axis: number, sizes: readonly number[] | number): Tensor[] {
    const at = this.#axis('split', x, axis);
    const dim = x.shape[at]!;
    const list = typeof sizes === 'number' ? new Array<number>(sizes).fill(Number(dim) / sizes) : sizes;
    if (list.reduce((sum, size) => sum + size, 0) !== dim || !list.every((size) => Number.isInteger(size) && size > 0))
      throw this.#mismatch('split', x.shape, list, `the sizes must fill axis ${at}`);
    if (list.length === 1) return [x];
    const outputs = list.map((size) => ({ shape: x.shape.with(at, size), dtype: x.dtype }));
    return [...this.#node('split', { axis: at, sizes: list }, [x], outputs)];
  }

  /** Zeros before and after along one axis. */
  pad(x: Tensor, axis: number, before: number, after: number): Tensor {
    const at = this.#axis('pad', x, axis);
    if (before === 0 && after === 0) return x;
    const shape = x.shape.with(at, addDims(x.shape[at]!, before + after));
    return this.#one('pad', { axis: at, before, after }, [x], shape, x.dtype);
  }

  // ---- indices ------------------------------------------------------------------------------------------------------

  /** Rows of x [R, ...] named by i64 `ids`: ids.shape + x.shape[1..]. Backward: scatter-add, so ids may repeat. */
  gather(x: Tensor, ids: Tensor): Tensor {
    this.#integers('gather', ids);
    return this.#one('gather', {}, [x, ids], [...ids.shape, ...x.shape.slice(1)], x.dtype);
  }

  /**
   * The same, where the caller knows which output rows read each row of x: `inverse` [R, k] holds flat output rows
   * (ids' elements in row-major order), and entries where `inverseMask` [R, k] is false do not count. The backward is
   * a gather through `inverse`, with no scatter. Output rows that no counted entry names get no gradient through.
   */
  gatherRows(x: Tensor, ids: Tensor, inverse: Tensor, inverseMask: Tensor | null = null): Tensor {
    this.#integers('gatherRows', ids);
    this.#integers('gatherRows', inverse);
    if (inverse.shape.length !== 2 || inverse.shape[0] !== x.shape[0])
      throw this.#mismatch('gatherRows', x.shape, inverse.shape, 'inverse must be [rows of x, readers of a row]');
    if (inverseMask !== null && !equalShapes(inverseMask.shape, inverse.shape))
      throw this.#mismatch(
        'gatherRows',
        inverse.shape,
        inverseMask.shape,
        'inverseMask must have the shape of inverse',
      );
    const inputs = inverseMask === null ? [x, ids, inverse] : [x, ids, inverse, inverseMask];
    const shape = [...ids.shape, ...x.shape.slice(1)];
    return this.#one('gatherRows', { masked: inverseMask !== null }, inputs, shape, x.dtype);
  }

  /** out[.., i, ..] = x[.., ids[.., i, ..], ..] along `axis`; ids has x's rank and sizes no larger off the axis. */
  gatherElements(x: Tensor, ids: Tensor, axis: number): Tensor {
    this.#integers('gatherElements', ids);
    const at = this.#axis('gatherElements', x, axis);
    return this.#one('gatherElements', { axis: at }, [x, ids], ids.shape, x.dtype);
  }

  /** A copy of x in which out[.., ids[.., i, ..], ..] = (or +=) updates[.., i, ..] along `axis`. */
  scatterElements(x: Tensor, ids: Tensor, updates: Tensor, axis: number, reduction: 'none' | 'add' = 'none'): Tensor {
    this.#integers('scatterElements', ids);
    if (!equalShapes(ids.shape, updates.shape))
      throw this.#mismatch('scatterElements', ids.shape, updates.shape, 'ids and updates must agree');
    const at = this.#axis('scatterElements', x, axis);
    return this.#one('scatterElements', { axis: at, reduction }, [x, ids, updates], x.shape, x.dtype);
  }

  /** The k largest along the last axis and their i64 indices; ties go to the lower index. Unsorted is cheaper. */
  topK(x: Tensor, k: number, options: { sorted?: boolean } = {}): { values: Tensor; indices: Tensor } {
    const size = x.shape.at(-1);
    if (size === undefined || k < 1 || (typeof size === 'number' && k > size))
      throw new EngineError('SHAPE_MISMATCH', `topK: k = ${k} of ${formatShape(x.shape)}`);
    const shape = x.shape.with(-1, k);
    const attrs = { k, sorted: options.sorted ?? true };
    const outputs = [
      { shape, dtype: x.dtype },
      { shape, dtype: 'i64' },
    ] as const;
    const [values, indices] = this.#node('topK', attrs, [x], outputs);
    return { values: values!, indices: indices! };
  }

  /** Running sum. Along the last axis ONNX Runtime is seven times slower than along the first. */
  cumsum(x: Tensor, axis: number, options: { exclusive?: boolean; reverse?: boolean } = {}): Tensor {
    const attrs = {
      axis: this.#axis('cumsum', x, axis),
      exclusive: options.exclusive ?? false,
      reverse: options.reverse ?? false,
    };
    return this.#one('cumsum', attrs, [x], x.shape, x.dtype);
  }

  /** 0, 1, .. size-1 as i64. `size` is a number, or an i64 scalar whose run-time value becomes the size called `symbol`. */
  range(size: number | Tensor, symbol?: string): Tensor {
    if (typeof size === 'number') return this.constant(BigInt64Array.from({ length: size }, (_, i) => BigInt(i)));
    assert(symbol !== undefined, 'range of a run-time size needs a symbol');
    return this.#one('range', { symbol }, [size], [symbol], 'i64');
  }

  /** 1 (of `dtype`) where the last axis's position equals ids[..], else 0: [...ids.shape, depth]. */
  oneHot(ids: Tensor, depth: number, dtype: DType = 'f32'): Tensor {
    const column = this.reshape(ids, [...ids.shape, 1]);
    return this.cast(this.equal(column, this.cast(this.range(depth), ids.dtype)), dtype);
  }

  /** The run-time value of a symbolic size, as an i64 scalar. */
  sizeOf(dim: Dim): Tensor {
    const { factor, symbols } = splitDim(dim);
    const sizes = symbols.map((symbol) => this.#sizeOfSymbol(symbol));
    return sizes.reduce<Tensor>((product, size) => this.mul(product, size), this.constant(factor, [], 'i64'));
  }

  // ---- fused --------------------------------------------------------------------------------------------------------

  /** -log softmax(logits)[label] for each row of logits [N, V], labels i64 [N]; 0, without gradient, where ignored. */
  crossEntropy(logits: Tensor, labels: Tensor, ignoreIndex = -100): Tensor {
    this.#integers('crossEntropy', labels);
    if (logits.shape.length !== 2 || labels.shape.length !== 1 || logits.shape[0] !== labels.shape[0])
      throw this.#mismatch('crossEntropy', logits.shape, labels.shape, 'expected [N, V] and [N]');
    // The second output, the probabilities, is kept for the backward pass.
    const outputs = [
      { shape: labels.shape, dtype: logits.dtype },
      { shape: logits.shape, dtype: logits.dtype },
    ];
    return this.#node('crossEntropy', { ignoreIndex }, [logits, labels], outputs)[0]!;
  }

  /**
   * Slot of the `order` tokens that end at each token, under each seed: z = seed; for each token, oldest first,
   * z = (z · 2654435761) xor token in wrapping int64; |z| mod slots. tokens [B, order - 1 + T], seeds [n] → [B, T, n], i64.
   */
  ngramSlots(tokens: Tensor, seeds: Tensor, order: number, slots: number): Tensor {
    this.#integers('ngramSlots', tokens);
    this.#integers('ngramSlots', seeds);
    const [batch, length] = tokens.shape;
    if (tokens.shape.length !== 2 || seeds.shape.length !== 1 || typeof length !== 'number' || length < order)
      throw this.#mismatch('ngramSlots', tokens.shape, seeds.shape, `expected [B, ${order - 1} + T] and [n]`);
    const shape = [batch!, length - order + 1, seeds.shape[0]!];
    return this.#one('ngramSlots', { order, slots }, [tokens, seeds], shape, 'i64');
  }

  /** x / sqrt(mean(x²) + epsilon) over the last axis, times `weight` [last] if there is one. */
  rmsNorm(x: Tensor, weight: Tensor | null, epsilon: number): Tensor {
    if (weight !== null && !equalShapes(weight.shape, x.shape.slice(-1)))
      throw this.#mismatch('rmsNorm', x.shape, weight.shape, 'weight must have the size of the last axis');
    // The second output, 1 / sqrt(..), is kept for the backward pass.
    const outputs = [
      { shape: x.shape, dtype: x.dtype },
      { shape: x.shape.with(-1, 1), dtype: x.dtype },
    ];
    return this.#node('rmsNorm', { epsilon }, weight === null ? [x] : [x, weight], outputs)[0]!;
  }

  /** (I + strictlower(L))^-1 of the last two axes, by block doubling: products of powers overflow on equal keys. */
  unitLowerTriangularInverse(L: Tensor): Tensor {
    const [rows, columns] = this.#lastTwo(L.shape, false);
    if (typeof rows !== 'number' || rows !== columns)
      throw new EngineError('SHAPE_MISMATCH', `unitLowerTriangularInverse: ${formatShape(L.shape)} is not square`);
    return this.#one('unitLowerTriangularInverse', {}, [L], L.shape, L.dtype);
  }

  /**
   * The state of the delta rule over chunks: for n = 0..N-1, R_n = U_n - W_n S_n and S_{n+1} = keep_n S_n + K_nᵀ R_n.
   * U [B, N, C, Dv], W and K [B, N, C, Dk]. `states` [B, N, Dk, Dv] are the S_n before each chunk, `residuals` the R_n,
   * `final` [B, Dk, Dv] the last state. (`reverse`, `addend` and the signs serve its own backward pass.)
   */
  deltaStateScan(
    U: Tensor,
    W: Tensor,
    K: Tensor,
    options: DeltaStateScanOptions = {},
  ): { states: Tensor; residuals: Tensor; final: Tensor } {
    const { reverse = false, alphaW = -1, alphaK = 1 } = options;
    if (
      U.shape.length !== 4 ||
      !equalShapes(W.shape, K.shape) ||
      !equalShapes(U.shape.slice(0, 3), K.shape.slice(0, 3))
    )
      throw this.#mismatch('deltaStateScan', U.shape, W.shape, 'expected [B, N, C, Dv] and [B, N, C, Dk] twice');
    const [batch, chunks, , dv] = U.shape as [Dim, Dim, Dim, Dim];
    const dk = K.shape[3]!;
    const wanted: { readonly [I in DeltaScanInput]: Shape } = {
      addend: [batch, chunks, dk, dv],
      initial: [batch, dk, dv],
      keep: [options.keep?.shape[0] === 1 ? 1 : batch, chunks, 1, 1],
    };
    const optional = (['addend', 'initial', 'keep'] as const).filter((name) => options[name] !== undefined);
    for (const name of optional)
      if (!equalShapes(options[name]!.shape, wanted[name]))
        throw this.#mismatch(`deltaStateScan ${name}`, options[name]!.shape, wanted[name], 'expected the second');
    const inputs = [U, W, K, ...optional.map((name) => options[name]!)];
    const outputs = [wanted.addend, U.shape, wanted.initial].map((shape) => ({ shape, dtype: U.dtype }));
    const [states, residuals, final] = this.#node(
      'deltaStateScan',
      { reverse, alphaW, alphaK, optional },
      inputs,
      outputs,
    );
    return { states: states!, residuals: residuals!, final: final! };
  }

  /**
   * S_{n+1} = decay_n ⊙ S_n + update_n along axis 1 of update [B, N, ...]; decay broadcasts to it.
   * `states` [B, N, ...] are the S_n before each chunk, `final` [B, ...] the last.
   */
  diagonalStateScan(
    decay: Tensor,
    update: Tensor,
    options: { initial?: Tensor | undefined; reverse?: boolean } = {},
  ): { states: Tensor; final: Tensor } {
    const { initial, reverse = false } = options;
    const rank = update.shape.length;
    const same =
      decay.shape.length === rank &&
      equalShapes(this.#broadcast('diagonalStateScan', decay.shape, update.shape), update.shape);
    if (!same || rank < 2 || decay.shape[1] !== update.shape[1])
      throw this.#mismatch(
        'diagonalStateScan',
        decay.shape,
        update.shape,
        'decay must broadcast to update, chunk by chunk',
      );
    const last = update.shape.toSpliced(1, 1);
    if (initial !== undefined && !equalShapes(initial.shape, last))
      throw this.#mismatch('diagonalStateScan', initial.shape, last, 'initial must be one state');
    const inputs = initial === undefined ? [decay, update] : [decay, update, initial];
    const outputs = [update.shape, last].map((shape) => ({ shape, dtype: update.dtype }));
    const [states, final] = this.#node(
      'diagonalStateScan',
      { reverse, hasInitial: initial !== undefined },
      inputs,
      outputs,
    );
    return { states: states!, final: final! };
  }

  // ---- result -------------------------------------------------------------------------------------------------------

  /** The part of the graph that the named outputs need. */
  build(): Graph {
    const needed = new Set<Node>();
    const stack = [...this.#outputs.values()].map(({ node }) => node);
    while (stack.length > 0) {
      const node = stack.pop()!;
      if (needed.has(node)) continue;
      needed.add(node);
      stack.push(...node.inputs.map((input) => input.node));
    }
    return Object.freeze({
      nodes: this.#nodes.filter((node) => needed.has(node)),
      inputs: new Map([...this.#named].filter(([, tensor]) => needed.has(tensor.node))),
      declared: new Set(this.#named.keys()),
      outputs: new Map(this.#outputs),
    });
  }

  // ---- inside -------------------------------------------------------------------------------------------------------

  #leaf(op: 'input' | 'param', name: string, shape: Shape, dtype: DType): Tensor {
    if (this.#named.has(name)) throw new EngineError('DUPLICATE_NAME', `input ${name} is declared twice`);
    const tensor = this.#one(op, { name }, [], shape, dtype);
    this.#named.set(name, tensor);
    return tensor;
  }

  #one<P extends Primitive>(
    op: P,
    attrs: PrimitiveAttrs[P],
    inputs: readonly Tensor[],
    shape: Shape,
    dtype: DType,
  ): Tensor {
    return this.#node(op, attrs, inputs, [{ shape, dtype }])[0]!;
  }

  #node<P extends Primitive>(
    op: P,
    attrs: PrimitiveAttrs[P],
    inputs: readonly Tensor[],
    types: readonly OutputType[],
  ): readonly Tensor[] {
    const { key, matches } = keyOfNode(op, attrs, inputs, types);
    const same = this.#shared.get(key)?.find(matches);
    if (same !== undefined) return same.outputs;
    const outputs: Tensor[] = [];
    const node: Node = Object.freeze({
      id: this.#nodes.length,
      op,
      attrs: Object.freeze(attrs),
      inputs: Object.freeze([...inputs]),
      outputs,
      segment: this.#segment,
    });
    types.forEach(({ shape, dtype }, output) => {
      outputs.push(Object.freeze({ node, output, shape: Object.freeze([...shape]), dtype }));
    });
    Object.freeze(outputs);
    this.#nodes.push(node);
    this.#shared.set(key, [...(this.#shared.get(key) ?? []), node]);
    for (const tensor of outputs) this.#noteSymbols(tensor);
    return outputs;
  }

  #noteSymbols(tensor: Tensor): void {
    tensor.shape.forEach((dim, axis) => {
      const { factor, symbols } = splitDim(dim);
      if (symbols.length === 1 && !this.#symbols.has(symbols[0]!))
        this.#symbols.set(symbols[0]!, { tensor, axis, factor });
    });
  }

  #symbolsOf(shape: Shape): string[] {
    return [...new Set(shape.flatMap((dim) => splitDim(dim).symbols))];
  }

  #sizeOfSymbol(symbol: string): Tensor {
    const source = this.#symbols.get(symbol);
    if (source === undefined) throw new EngineError('SHAPE_MISMATCH', `no tensor of the graph has the size ${symbol}`);
    return this.div(this.#one('dimSize', { axis: source.axis }, [source.tensor], [], 'i64'), source.factor);
  }

  #unary(op: UnaryPrimitive, x: Tensor): Tensor {
    return this.#one(op, {}, [x], x.shape, x.dtype);
  }

  #binary(op: BinaryPrimitive, a: Operand, b: Operand, dtype?: DType): Tensor {
    const operands = this.#operands(op, a, b);
    const shape = this.#broadcast(op, operands[0].shape, operands[1].shape);
    return this.#one(op, {}, this.#skipExpands(operands, shape), shape, dtype ?? operands[0].dtype);
  }

  /** An elementwise primitive broadcasts by itself: read through `expand` where that leaves the result's shape. */
  #skipExpands(inputs: readonly Tensor[], shape: Shape): Tensor[] {
    const out = [...inputs];
    out.forEach((tensor, i) => {
      if (tensor.node.op !== 'expand') return;
      const shorter = out.with(i, tensor.node.inputs[0]!);
      const joint = shorter.map((input) => input.shape).reduce<Shape>((a, b) => broadcastShapes(a, b) ?? a, []);
      if (equalShapes(joint, shape)) out[i] = shorter[i]!;
    });
    return out;
  }

  #tensor(x: Operand, like: Operand): Tensor {
    if (typeof x !== 'number') return x;
    return this.constant(x, [], typeof like === 'number' ? 'f32' : like.dtype);
  }

  #operands(op: string, a: Operand, b: Operand): [Tensor, Tensor] {
    const [x, y] = [this.#tensor(a, b), this.#tensor(b, a)];
    if (x.dtype !== y.dtype) throw this.#dtypes(op, x, y);
    return [x, y];
  }

  #reduce(
    op: 'reduceSum' | 'reduceMax' | 'reduceMin',
    x: Tensor,
    axes: number | readonly number[] | undefined,
    keepDims: boolean,
  ): Tensor {
    const at = this.#axes(op, x, axes);
    if (at.length === 0) return x;
    const shape = x.shape.flatMap((dim, axis) => (at.includes(axis) ? (keepDims ? [1] : []) : [dim]));
    return this.#one(op, { axes: at, keepDims }, [x], shape, x.dtype);
  }

  #axis(op: string, x: Tensor, axis: number): number {
    const at = normalizeAxis(axis, x.shape.length);
    if (at === null) throw new EngineError('SHAPE_MISMATCH', `${op}: axis ${axis} of ${formatShape(x.shape)}`);
    return at;
  }

  #axes(op: string, x: Tensor, axes: number | readonly number[] | undefined): number[] {
    const list = axes === undefined ? x.shape.map((_, axis) => axis) : typeof axes === 'number' ? [axes] : axes;
    return [...new Set(list.map((axis) => this.#axis(op, x, axis)))].sort((a, b) => a - b);
  }

  #lastTwo(shape: Shape, exchanged: boolean): [Dim, Dim] {
    const [rows, columns] = shape.slice(-2) as [Dim, Dim];
    return exchanged ? [columns, rows] : [rows, columns];
  }

  #integers(op: string, ids: Tensor): void {
    if (ids.dtype !== 'i64') throw new EngineError('DTYPE_MISMATCH', `${op}: indices are ${ids.dtype}, expected i64`);
  }

  #broadcast(op: string, a: Shape, b: Shape): Shape {
    const shape = broadcastShapes(a, b);
    if (shape === null) throw this.#mismatch(op, a, b, 'they do not broadcast');
    return shape;
  }

  #mismatch(op: string, a: Shape, b: Shape, why: string): EngineError {
    return new EngineError('SHAPE_MISMATCH', `${op} of ${formatShape(a)} and ${formatShape(b)}: ${why}`);
  }

  #dtypes(op: string, a: Tensor, b: Tensor): EngineError {
    const hint = isFloat(a.dtype) === isFloat(b.dtype) ? '' : '; cast one of them';
    return new EngineError('DTYPE_MISMATCH', `${op} of ${a.dtype} and ${b.dtype}${hint}`);
  }
}

/** Length of start:end:step of a size; null where it is empty, or not known for a symbolic size. */
function sliceSize(size: Dim, start: number, end: number | null, step: number): Dim | null {
  if (typeof size === 'number') {
    const from = start < 0 ? start + size : start;
    const to = end === null ? size : end < 0 ? end + size : end;
    return from >= 0 && to <= size && from < to && step >= 1 ? Math.ceil((to - from) / step) : null;
  }
  if (step !== 1) return null;
  if (end === null) return start < 0 ? -start : start === 0 ? size : null;
  return start >= 0 === end >= 0 && end > start ? end - start : null;
}
