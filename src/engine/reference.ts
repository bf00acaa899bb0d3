/**
 * @file The reference: runs a graph one plain loop at a time, in float64, so that gradients can be checked against
 * finite differences and ONNX Runtime against something that is easy to believe. Slow on purpose; no dependencies.
 */
import { allocate, type DType } from '../tensor/dtype.ts';
import { formatShape, sizeOfShape, splitDim } from '../tensor/shape.ts';
import type { TensorView } from '../tensor/view.ts';
import { assert } from '../util/errors.ts';
import { checkFeeds } from './feeds.ts';
import type { Graph, Tensor } from './graph.ts';
import type { Primitive, PrimitiveAttrs } from './primitives.ts';
import { type RefRule, type RefTensor, referenceRules } from './reference-rules.ts';

export interface ReferenceOptions {
  /** 'f64': floats stay float64, outputs are f64. 'f32': every primitive's result is rounded to float32. */
  readonly precision: 'f64' | 'f32';
}

/**
 * Computes every output. In 'f64' a feed of an f32 input may be f64.
 * @throws EngineError MISSING_FEED, UNKNOWN_FEED, FEED_MISMATCH
 */
export function runReference(
  graph: Graph,
  feeds: Readonly<Record<string, TensorView>>,
  { precision }: ReferenceOptions,
): Record<string, TensorView> {
  checkFeeds(graph, precision === 'f64' ? narrowed(graph, feeds) : feeds);
  const values = new Map<Tensor, RefTensor>();
  const sizes = new Map<string, number>();
  for (const node of graph.nodes) {
    const inputs = node.inputs.map((tensor) => values.get(tensor)!);
    const rule = referenceRules[node.op] as RefRule<Primitive>;
    const isLeaf = node.op === 'input' || node.op === 'param';
    const results = isLeaf
      ? [fromView(feeds[(node.attrs as PrimitiveAttrs['input']).name]!)]
      : rule(node, inputs, (dim) => resolveDim(dim, sizes));
    node.outputs.forEach((tensor, i) => {
      const { shape, data } = results[i]!;
      bindSizes(tensor, shape, sizes);
      const rounds = tensor.dtype === 'f32' && precision === 'f32';
      values.set(tensor, { shape, data: rounds ? data.map(Math.fround) : data });
    });
  }
  const outputs = [...graph.outputs].map(([name, tensor]) => {
    const dtype = tensor.dtype === 'f32' && precision === 'f64' ? 'f64' : tensor.dtype;
    return [name, toView(values.get(tensor)!, dtype)] as const;
  });
  return Object.fromEntries(outputs);
}

/** The same feeds, f64 ones passed off as the f32 that the graph declares. */
function narrowed(graph: Graph, feeds: Readonly<Record<string, TensorView>>): Record<string, TensorView> {
  const entries = Object.entries(feeds).map(([name, view]) => {
    const stands = view.dtype === 'f64' && graph.inputs.get(name)?.dtype === 'f32';
    return [name, stands ? ({ ...view, dtype: 'f32' } as TensorView) : view] as const;
  });
  return Object.fromEntries(entries);
}

function resolveDim(dim: number | string, sizes: ReadonlyMap<string, number>): number {
  const { factor, symbols } = splitDim(dim);
  return symbols.reduce((product, symbol) => {
    const size = sizes.get(symbol);
    assert(size !== undefined, `the size ${symbol} is not known yet`);
    return product * size;
  }, factor);
}

/** Learns symbolic sizes from a value, and checks the value against the shape that was inferred for it. */
function bindSizes({ node, shape: declared }: Tensor, shape: readonly number[], sizes: Map<string, number>): void {
  declared.forEach((dim, axis) => {
    const { factor, symbols } = splitDim(dim);
    if (symbols.length === 1 && !sizes.has(symbols[0]!)) sizes.set(symbols[0]!, shape[axis]! / factor);
    const known = symbols.every((symbol) => sizes.has(symbol)) ? resolveDim(dim, sizes) : shape[axis];
    assert(
      known === shape[axis] && shape.length === declared.length,
      `${node.op} gave ${formatShape(shape)}, ${formatShape(declared)} was inferred`,
    );
  });
}

const fromView = ({ shape, data }: TensorView): RefTensor => ({
  shape,
  data: data instanceof BigInt64Array ? Float64Array.from(data, Number) : new Float64Array(data),
});

function toView({ shape, data }: RefTensor, dtype: DType): TensorView {
  const out = allocate(dtype, sizeOfShape(shape));
  if (out instanceof BigInt64Array) for (const [i, value] of data.entries()) out[i] = BigInt(value);
  else out.set(data);
  return { dtype, shape, data: out } as TensorView;
}
