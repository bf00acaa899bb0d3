/**
 * @file Shapes. A dimension is a number, or a string: a symbolic size known only at run time. Symbolic sizes are
 * monomials ("capacity", "8*capacity", "batch*time"); a sum is one opaque symbol ("(past+time)").
 */

export type Dim = number | string;
export type Shape = readonly Dim[];

interface Monomial {
  readonly factor: number;
  readonly symbols: readonly string[];
}

function parseDim(dim: Dim): Monomial {
  if (typeof dim === 'number') return { factor: dim, symbols: [] };
  const parts = dim.split('*');
  const factor = /^\d+$/.test(parts[0]!) ? Number(parts.shift()) : 1;
  return { factor, symbols: parts };
}

function formatDim({ factor, symbols }: Monomial): Dim {
  if (symbols.length === 0 || factor === 0) return factor;
  const text = [...symbols].sort().join('*');
  return factor === 1 ? text : `${factor}*${text}`;
}

/** The numeric factor of a dimension and its symbols, one entry for each power. */
export const splitDim = (dim: Dim): { readonly factor: number; readonly symbols: readonly string[] } => parseDim(dim);

/** Product in canonical form, so that equal sizes are equal strings. */
export function multiplyDims(dims: Shape): Dim {
  const parsed = dims.map(parseDim);
  return formatDim({
    factor: parsed.reduce((product, { factor }) => product * factor, 1),
    symbols: parsed.flatMap(({ symbols }) => symbols),
  });
}

/** a / b where b divides a exactly, else null. */
export function divideDims(a: Dim, b: Dim): Dim | null {
  const [top, bottom] = [parseDim(a), parseDim(b)];
  const symbols = [...top.symbols];
  for (const symbol of bottom.symbols) {
    const at = symbols.indexOf(symbol);
    if (at < 0) return null;
    symbols.splice(at, 1);
  }
  if (bottom.factor === 0 || top.factor % bottom.factor !== 0) return null;
  return formatDim({ factor: top.factor / bottom.factor, symbols });
}

/** Sum; of symbolic sizes, one opaque symbol. */
export function addDims(a: Dim, b: Dim): Dim {
  if (typeof a === 'number' && typeof b === 'number') return a + b;
  if (a === 0) return b;
  if (b === 0) return a;
  return `(${a}+${b})`.replaceAll('*', 'x');
}

export const isStatic = (shape: Shape): shape is readonly number[] => shape.every((dim) => typeof dim === 'number');

export const equalShapes = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((dim, i) => dim === b[i]);

export const formatShape = (shape: Shape): string => `[${shape.join(', ')}]`;

/** Number of elements of a concrete shape. */
export const sizeOfShape = (shape: readonly number[]): number => shape.reduce((product, dim) => product * dim, 1);

/** Row-major strides, in elements. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis]!;
  }
  return strides;
}

/** NumPy broadcasting; null where two sizes differ and neither is 1. */
export function broadcastShapes(a: Shape, b: Shape): Shape | null {
  const rank = Math.max(a.length, b.length);
  const out: Dim[] = [];
  for (let i = 0; i < rank; i++) {
    const x = a[a.length - rank + i] ?? 1;
    const y = b[b.length - rank + i] ?? 1;
    if (x !== y && x !== 1 && y !== 1) return null;
    out.push(x === 1 ? y : x);
  }
  return out;
}

/** Axes of `to` along which a tensor of shape `from` is repeated when it is broadcast to `to`. */
export function broadcastAxes(from: Shape, to: Shape): number[] {
  const offset = to.length - from.length;
  return to.flatMap((dim, axis) => (axis < offset || (from[axis - offset] === 1 && dim !== 1) ? [axis] : []));
}

/** A negative axis counts from the end; null outside the rank. */
export function normalizeAxis(axis: number, rank: number): number | null {
  const at = axis < 0 ? axis + rank : axis;
  return Number.isInteger(at) && at >= 0 && at < rank ? at : null;
}
