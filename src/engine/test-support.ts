/** @file Checks of a graph with a scalar loss, for tests: gradients against finite differences, ONNX Runtime against the reference. */
import { sizeOfShape } from '../tensor/shape.ts';
import { type TensorView, viewOf } from '../tensor/view.ts';
import { Rng } from '../util/rng.ts';
import type { Device } from './device.ts';
import { gradients } from './grad.ts';
import { type Graph, GraphBuilder, type Tensor } from './graph.ts';
import { runReference } from './reference.ts';
import { openSession } from './session.ts';

/** A parameter's shape, or its values. */
export type ParamSpec = readonly number[] | TensorView<'f32'>;

export interface CheckedCase {
  readonly params: Readonly<Record<string, ParamSpec>>;
  /** Integers and booleans, and floats that get no gradient. */
  readonly inputs?: Readonly<Record<string, TensorView>>;
  /** Random parameters are uniform in this range; default -1.5 .. 1.5. */
  readonly range?: readonly [number, number];
  /** The results, any dtypes; the loss is a random weighting of the f32 ones. */
  readonly build: (b: GraphBuilder, t: Readonly<Record<string, Tensor>>) => Tensor | readonly Tensor[];
}

export interface CheckedResult {
  /** Ops of the forward graph. */
  readonly ops: ReadonlySet<string>;
  /** Largest |analytic - numeric| / max(1, |numeric|) over all parameter elements. */
  readonly gradientError: number;
  /** Largest |ORT - reference| / max(1, |reference|) over outputs and gradients; NaN where only one is NaN. */
  readonly runtimeError: number;
  /** The worst output by runtime error. */
  readonly worst: string;
}

const isView = (spec: ParamSpec): spec is TensorView<'f32'> => !Array.isArray(spec);

export function seededFloats(
  shape: readonly number[],
  seed: string,
  [low, high]: readonly [number, number],
): TensorView {
  const rng = new Rng(seed);
  return viewOf(
    Float32Array.from({ length: sizeOfShape(shape) }, () => low + (high - low) * rng.uniform()),
    shape,
  );
}

export async function checkCase(name: string, spec: CheckedCase): Promise<CheckedResult> {
  const { forward, graph, feeds, exact, names } = evaluateCase(name, spec);
  return {
    ops: new Set(forward.nodes.map((node) => node.op)),
    gradientError: finiteDifferenceError(forward, feeds, exact, names),
    ...(await runtimeError(graph, feeds, exact, 'cpu')),
  };
}

/** The case on one device, without finite differences. */
export async function checkDevice(
  name: string,
  spec: CheckedCase,
  device: Device,
): Promise<Pick<CheckedResult, 'runtimeError' | 'worst'>> {
  const { graph, feeds, exact } = evaluateCase(name, spec);
  return await runtimeError(graph, feeds, exact, device);
}

/** Builds the graph with its loss and gradients, and evaluates it exactly. */
function evaluateCase(name: string, spec: CheckedCase) {
  const feeds: Record<string, TensorView> = { ...spec.inputs };
  const b = new GraphBuilder();
  const tensors: Record<string, Tensor> = {};
  const wrt: Tensor[] = [];
  for (const [key, param] of Object.entries(spec.params)) {
    feeds[key] = isView(param) ? param : seededFloats(param, `${name} ${key}`, spec.range ?? [-1.5, 1.5]);
    tensors[key] = b.param(key, feeds[key].shape);
    wrt.push(tensors[key]);
  }
  for (const [key, { shape, dtype }] of Object.entries(spec.inputs ?? {})) tensors[key] = b.input(key, shape, dtype);
  const built = spec.build(b, tensors);
  const results: readonly Tensor[] = Array.isArray(built) ? built : [built];
  for (const [i, tensor] of results.entries()) b.output(`y${i}`, tensor);
  const loss = b.output('loss', weightedSum(b, results, name));
  const forward = b.build();
  const names = Object.keys(spec.params);
  for (const [i, gradient] of gradients(b, loss, wrt).entries()) b.output(`d ${names[i]}`, gradient);
  const graph = b.build();
  const exact = runReference(graph, feeds, { precision: 'f64' });
  return { forward, graph, feeds, exact, names };
}

function weightedSum(b: GraphBuilder, results: readonly Tensor[], name: string): Tensor {
  const terms = results
    .filter(({ dtype }) => dtype === 'f32')
    .map((tensor, i) => {
      const shape = tensor.shape.map((dim) => (typeof dim === 'number' ? dim : 1));
      const weights = seededFloats(shape, `${name} weight ${i}`, [-1, 1]);
      return b.reduceSum(b.mul(tensor, b.constant(weights.data, shape)));
    });
  return terms.length === 0 ? b.constant(0) : terms.reduce((a, c) => b.add(a, c));
}

/** Elements of a parameter that are moved one by one, at most. */
const movedElements = 60;

/**
 * Central differences of the float64 loss at every element. Of larger parameters: at so many drawn ones, and along sums of
 * all elements with random signs, in which no wrong one hides.
 */
function finiteDifferenceError(
  graph: Graph,
  feeds: Readonly<Record<string, TensorView>>,
  exact: Readonly<Record<string, TensorView>>,
  params: readonly string[],
): number {
  const step = 1e-5;
  let worst = 0;
  for (const name of params) {
    const at = Float64Array.from(feeds[name]!.data as Float32Array);
    const gradient = Float64Array.from(exact[`d ${name}`]!.data as Float64Array);
    const lossAt = (values: Float64Array): number => {
      const moved = { ...feeds, [name]: viewOf(values, feeds[name]!.shape) };
      return Number(runReference(graph, moved, { precision: 'f64' }).loss!.data[0]);
    };
    const check = (direction: Float64Array): void => {
      const to = (sign: number): Float64Array => at.map((value, i) => value + sign * step * direction[i]!);
      const numeric = (lossAt(to(1)) - lossAt(to(-1))) / (2 * step);
      const analytic = gradient.reduce((sum, value, i) => sum + value * direction[i]!, 0);
      worst = Math.max(worst, Math.abs(analytic - numeric) / Math.max(1, Math.abs(numeric)));
    };
    const rng = new Rng(`moved ${name}`);
    const isSmall = at.length <= movedElements;
    const moved = isSmall ? [...at.keys()] : Array.from({ length: movedElements }, () => rng.below(at.length));
    for (const i of moved) check(new Float64Array(at.length).with(i, 1));
    for (let n = 0; n < (isSmall ? 0 : 4); n++) check(at.map(() => (rng.below(2) === 0 ? -1 : 1)));
  }
  return worst;
}

async function runtimeError(
  graph: Graph,
  feeds: Readonly<Record<string, TensorView>>,
  exact: Readonly<Record<string, TensorView>>,
  device: Device,
): Promise<{ runtimeError: number; worst: string }> {
  const session = await openSession(graph, { threads: 2, device });
  const got = await session.run(feeds);
  await session.release();
  let worst = '';
  let error = 0;
  for (const [name, expected] of Object.entries(exact)) {
    const actual = got[name]!;
    if (actual.shape.join() !== expected.shape.join()) return { runtimeError: Number.NaN, worst: `shape of ${name}` };
    expected.data.forEach((raw: number | bigint, i: number) => {
      const [a, e] = [Number(actual.data[i]), Number(raw)];
      const distance = Object.is(a, e) || a === e ? 0 : Math.abs(a - e) / Math.max(1, Math.abs(e));
      if (!(distance <= error)) [error, worst] = [distance, name];
    });
  }
  return { runtimeError: error, worst };
}
