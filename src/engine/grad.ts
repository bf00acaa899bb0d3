/** @file Reverse-mode differentiation: adds the nodes of the gradients to the graph of the loss. The rules are in grad-rules.ts. */
import { formatShape, multiplyDims } from '../tensor/shape.ts';
import { EngineError } from './errors.ts';
import { type GradRule, gradRules } from './grad-rules.ts';
import type { GraphBuilder, Node, Tensor } from './graph.ts';
import type { Primitive } from './primitives.ts';

/**
 * d loss / d tensor for each tensor of `wrt`, in their order and of their shapes; `loss` has one element. A tensor that
 * the loss does not depend on gets zeros. Gradients end at stopGradient, comparisons and integers.
 * @throws EngineError NO_GRADIENT where the loss is not a scalar or a needed rule cannot be written
 */
export function gradients(b: GraphBuilder, loss: Tensor, wrt: readonly Tensor[]): Tensor[] {
  if (loss.shape.some((dim) => dim !== 1))
    throw new EngineError('NO_GRADIENT', `the loss must have one element, got ${formatShape(loss.shape)}`);
  const path = nodesBetween(wrt, loss);
  const sums = new Map<Node, (Tensor | null)[]>();
  const accumulate = ({ node, output, shape }: Tensor, gradient: Tensor): void => {
    const row = sums.get(node) ?? node.outputs.map(() => null);
    sums.set(node, row);
    const sum = row[output] ?? null;
    row[output] = b.reshape(sum === null ? gradient : b.add(sum, gradient), shape);
  };
  accumulate(loss, b.constant(1, loss.shape));
  const copies = new Map<number, (tensor: Tensor) => Tensor>();
  for (const node of path) {
    const dys = sums.get(node);
    // Reached only through outputs that nobody differentiates.
    if (dys === undefined) continue;
    const rule = gradRules[node.op] as GradRule<Primitive>;
    const isNeeded = node.inputs.some((input) => isActive(input, path));
    const dxs = isNeeded ? rule(b, rememberedOrAgain(b, node, dys, path, copies), dys) : [];
    dxs.forEach((dx, i) => {
      const input = node.inputs[i]!;
      if (dx !== null && isActive(input, path)) accumulate(input, dx);
    });
  }
  return wrt.map(({ node, output, shape }) => sums.get(node)?.[output] ?? b.constant(0, shape));
}

/** The node itself, or, of a recomputed part, its copy. */
function rememberedOrAgain(
  b: GraphBuilder,
  node: Node,
  dys: readonly (Tensor | null)[],
  path: ReadonlySet<Node>,
  copies: Map<number, (tensor: Tensor) => Tensor>,
): Node {
  if (node.segment === null) return node;
  const known = copies.get(node.segment);
  const copy = known ?? copier(b, node.segment, dys.find((dy) => dy !== null)!, path);
  copies.set(node.segment, copy);
  return copy(node.outputs[0]!).node;
}

/**
 * Copies tensors of a part, each once. What comes into it from outside is taken through a choice that the gradient `dy`
 * decides, always for it: so nothing is computed before it is wanted, and the runtime does not find that it has it already.
 */
function copier(b: GraphBuilder, segment: number, dy: Tensor, path: ReadonlySet<Node>): (tensor: Tensor) => Tensor {
  const first = b.slice(b.reshape(dy, [multiplyDims(dy.shape)]), 0, 0, 1);
  const isThere = b.not(b.less(b.abs(first), 0));
  const copied = new Map<Node, readonly Tensor[]>();
  const copy = (tensor: Tensor): Tensor => {
    const { node } = tensor;
    const known = copied.get(node);
    if (known !== undefined) return known[tensor.output]!;
    const isInside = node.segment === segment;
    if (!isInside && (node.op === 'param' || !isActive(tensor, path))) return tensor;
    const outputs = isInside
      ? b.copyNode(node, node.inputs.map(copy))
      : node.outputs.map((output) => (output.dtype === 'f32' ? b.where(isThere, output, 0) : output));
    copied.set(node, outputs);
    return outputs[tensor.output]!;
  };
  return copy;
}

const isActive = (tensor: Tensor, path: ReadonlySet<Node>): boolean => tensor.dtype === 'f32' && path.has(tensor.node);

/** Nodes on a path from a tensor of `wrt` to the loss, users before what they use. */
function nodesBetween(wrt: readonly Tensor[], loss: Tensor): ReadonlySet<Node> {
  const needed = new Set<Node>();
  const stack = [loss.node];
  while (stack.length > 0) {
    const node = stack.pop()!;
    if (needed.has(node)) continue;
    needed.add(node);
    stack.push(...node.inputs.map((input) => input.node));
  }
  const sources = new Set(wrt.map(({ node }) => node));
  const dependent = new Set<Node>();
  for (const node of [...needed].sort((a, b) => a.id - b.id))
    if (sources.has(node) || node.inputs.some((input) => dependent.has(input.node))) dependent.add(node);
  return new Set([...dependent].sort((a, b) => b.id - a.id));
}
