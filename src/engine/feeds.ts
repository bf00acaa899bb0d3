/** @file Do the feeds of a run fit the graph? Names, dtypes, lengths and shapes, with equal symbols bound to equal sizes. */
import { formatShape, sizeOfShape, splitDim } from '../tensor/shape.ts';
import type { TensorView } from '../tensor/view.ts';
import { EngineError } from './errors.ts';
import type { Graph, Tensor } from './graph.ts';

/** @throws EngineError MISSING_FEED, UNKNOWN_FEED, FEED_MISMATCH */
export function checkFeeds(
  graph: Pick<Graph, 'inputs' | 'declared'>,
  feeds: Readonly<Record<string, TensorView>>,
): void {
  const missing = [...graph.inputs.keys()].filter((name) => feeds[name] === undefined);
  if (missing.length > 0)
    throw new EngineError('MISSING_FEED', `not fed: ${list(missing)}; the graph needs ${graph.inputs.size} feeds`);
  // A train and an evaluation graph may share one set of feeds: what was declared and is not needed is let pass.
  const unknown = Object.keys(feeds).filter((name) => !graph.declared.has(name));
  if (unknown.length > 0)
    throw new EngineError(
      'UNKNOWN_FEED',
      `no input is called ${list(unknown)}; the inputs are ${list([...graph.inputs.keys()])}`,
    );
  const sizes = new Map<string, number>();
  for (const [name, tensor] of graph.inputs) checkFeed(name, tensor, feeds[name]!, sizes);
}

const list = (names: readonly string[]): string =>
  names.length <= 8 ? names.join(', ') : `${names.slice(0, 8).join(', ')} and ${names.length - 8} more`;

function checkFeed(name: string, tensor: Tensor, { dtype, shape, data }: TensorView, sizes: Map<string, number>): void {
  const refuse = (why: string): never => {
    throw new EngineError(
      'FEED_MISMATCH',
      `feed ${name}: expected ${tensor.dtype} ${formatShape(tensor.shape)}, got ${why}`,
    );
  };
  if (dtype !== tensor.dtype) refuse(`${dtype} ${formatShape(shape)}`);
  if (shape.length !== tensor.shape.length) refuse(formatShape(shape));
  if (data.length !== sizeOfShape(shape)) refuse(`${data.length} elements for ${formatShape(shape)}`);
  tensor.shape.forEach((dim, axis) => {
    const { factor, symbols } = splitDim(dim);
    if (symbols.length === 0 && shape[axis] !== factor) refuse(formatShape(shape));
    if (symbols.length !== 1) return;
    const size = shape[axis]! / factor;
    const known = sizes.get(symbols[0]!) ?? size;
    if (!Number.isInteger(size) || known !== size)
      refuse(`${formatShape(shape)}, but ${symbols[0]} is ${known} in another feed`);
    sizes.set(symbols[0]!, known);
  });
}
