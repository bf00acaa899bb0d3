/**
 * @file Values that cross to ONNX Runtime as one tensor for each index of their first axis: matrices of experts, which
 * the graph would otherwise cut apart (weights) or join (gradients) by copying them at every run.
 */
import type { TensorView } from '../tensor/view.ts';
import { viewOf } from '../tensor/view.ts';
import type { Graph, Tensor } from './graph.ts';

export interface Parts {
  /** Names of feeds. */
  readonly inputs: ReadonlySet<string>;
  /** Names of results. */
  readonly outputs: ReadonlySet<string>;
}

/** Feeds that only groupedMatmul reads, as its matrices; results of groupedOuter that nothing else reads. */
export function partsOf(graph: Graph): Parts {
  const otherwiseRead = new Set<Tensor>();
  for (const { op, inputs } of graph.nodes)
    inputs.forEach((tensor, i) => {
      if (op !== 'groupedMatmul' || i !== 1) otherwiseRead.add(tensor);
    });
  const named = new Map<Tensor, number>();
  for (const tensor of graph.outputs.values()) named.set(tensor, (named.get(tensor) ?? 0) + 1);
  const isStack = ({ shape }: Tensor): boolean => typeof shape[0] === 'number' && shape[0] > 1;
  const readAsMatrices = new Set(graph.nodes.flatMap(({ op, inputs }) => (op === 'groupedMatmul' ? [inputs[1]!] : [])));
  const inputs = [...graph.inputs].filter(
    ([, tensor]) => readAsMatrices.has(tensor) && !otherwiseRead.has(tensor) && !named.has(tensor) && isStack(tensor),
  );
  const outputs = [...graph.outputs].filter(
    ([, tensor]) =>
      tensor.node.op === 'groupedOuter' &&
      isStack(tensor) &&
      !otherwiseRead.has(tensor) &&
      !readAsMatrices.has(tensor) &&
      named.get(tensor) === 1,
  );
  return { inputs: new Set(inputs.map(([name]) => name)), outputs: new Set(outputs.map(([name]) => name)) };
}

/** Constants of a session do not cross. */
export const fedParts = ({ inputs, outputs }: Parts, constants: Readonly<Record<string, unknown>>): Parts => ({
  inputs: new Set([...inputs].filter((name) => constants[name] === undefined)),
  outputs,
});

/** What the runtime calls part `index` of a value that it calls `name`. */
export const partName = (name: string, index: number): string => `${name}#${index}`;

/** What the runtime calls a value: one name, or those of its `count` parts. */
export const partNames = (name: string, count: number | null): string[] =>
  count === null ? [name] : Array.from({ length: count }, (_, i) => partName(name, i));

/** Views of the parts, each keeping a first axis of 1 if `keepAxis`. */
export function cutView(view: TensorView, keepAxis: boolean): TensorView[] {
  const [count, ...rest] = view.shape as [number, ...number[]];
  const length = view.data.length / count;
  const shape = keepAxis ? [1, ...rest] : rest;
  return Array.from({ length: count }, (_, i) => viewOf(view.data.subarray(i * length, (i + 1) * length), shape));
}

/** The stack of f32 parts of one shape. */
export function joinViews(parts: readonly TensorView[]): TensorView {
  const [first] = parts as readonly [TensorView];
  const data = new Float32Array(parts.length * first.data.length);
  parts.forEach((part, i) => void data.set(part.data as Float32Array, i * first.data.length));
  return viewOf(data, [parts.length, ...first.shape]);
}
