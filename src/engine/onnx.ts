/** @file Writes a graph as an ONNX model. Inputs are named `in:NAME` and outputs `out:NAME`, so that one name may be both. */
import { isStatic } from '../tensor/shape.ts';
import type { TensorView } from '../tensor/view.ts';
import { assert } from '../util/errors.ts';
import { type Device, isForCpu } from './device.ts';
import type { EmitRule } from './emit-rule.ts';
import type { Graph, Node, Tensor } from './graph.ts';
import { emitRules, matricesOf, partsInto } from './onnx-rules.ts';
import { encodeOnnxModel, type OnnxNode, type OnnxTensorType, type OnnxValue, onnxDataType } from './onnx-schema.ts';
import { OnnxWriter, readsOf } from './onnx-writer.ts';
import { fedParts, type Parts, partName, partsOf } from './parts.ts';
import type { Primitive, PrimitiveAttrs } from './primitives.ts';

export const onnxInputName = (name: string): string => `in:${name}`;
export const onnxOutputName = (name: string): string => `out:${name}`;
/**
 * The first output of every model: an empty sequence, which the runtime's binding cannot hand over. A run that fetches
 * it computes and writes everything, and fails before any result is copied (`session.ts`).
 */
export const stopOutputName = 'stop';

/** The bytes of the model. Equal graphs give equal bytes. */
export const emitOnnx = (graph: Graph): Uint8Array => emitFor(graph, 'cpu').model;

export interface EmittedModel {
  readonly model: Uint8Array;
  /** Names of nodes that are to run on the CPU whatever the device has. */
  readonly cpuNodes: readonly string[];
}

/** The model for one device. Feeds named in `constants` are part of it, and no inputs any more. */
export function emitFor(
  graph: Graph,
  device: Device,
  constants: Readonly<Record<string, TensorView>> = {},
): EmittedModel {
  const w = new OnnxWriter(device);
  const parts = fedParts(partsOf(graph), constants);
  for (const [name, { data, shape, dtype }] of Object.entries(constants))
    if (graph.inputs.has(name)) w.named(onnxInputName(name), data, shape, dtype);
  nameParts(w, graph, parts);
  const names = new Map<Tensor, string>();
  const used = new Set<Tensor>(graph.nodes.flatMap((node) => node.inputs));
  // The node writes straight under the output's name: no copy at the end of a run.
  for (const [name, tensor] of graph.outputs)
    if (!names.has(tensor) && tensor.node.inputs.length > 0 && tensor.node.op !== 'stopGradient')
      names.set(tensor, onnxOutputName(name));
  const nameOf = (tensor: Tensor): string => {
    const name = names.get(tensor);
    assert(name !== undefined, `node ${tensor.node.op} is used before it is written`);
    return name;
  };
  for (const node of graph.nodes) emitNode(w, node, names, used, nameOf);
  for (const [name, tensor] of graph.outputs)
    if (nameOf(tensor) !== onnxOutputName(name)) w.op('Identity', [nameOf(tensor)], {}, onnxOutputName(name));
  w.op('SequenceEmpty', [], { dtype: onnxDataType.f32 }, stopOutputName);
  const model = encodeOnnxModel({
    name: 'accrete',
    node: leavesLast(w.nodes),
    initializer: w.initializers,
    input: [...graph.inputs]
      .filter(([name]) => constants[name] === undefined)
      .flatMap(([name, tensor]) =>
        parts.inputs.has(name) ? partInfos(onnxInputName(name), tensor, 1) : [valueInfo(onnxInputName(name), tensor)],
      ),
    output: [
      { name: stopOutputName, type: { sequenceType: { elemType: tensorType({ shape: [], dtype: 'f32' }) } } },
      ...[...graph.outputs].flatMap(([name, tensor]) =>
        parts.outputs.has(name) ? partInfos(onnxOutputName(name), tensor) : [valueInfo(onnxOutputName(name), tensor)],
      ),
    ],
  });
  return { model, cpuNodes: w.nodes.filter((node) => isForCpu(device, node)).map(({ name }) => name) };
}

/**
 * ONNX Runtime orders nodes by a depth-first walk from those that no other reads, the last of the file first. Weight
 * gradients are such nodes: written last and latest layer last, each is computed when its operands are, and these are
 * freed; in the order of creation the whole backward pass was kept alive to the end.
 */
function leavesLast(nodes: readonly OnnxNode[]): OnnxNode[] {
  const read = new Set(nodes.flatMap(readsOf));
  const isLeaf = ({ output }: OnnxNode): boolean => !output.some((name) => read.has(name));
  return [...nodes.filter((node) => !isLeaf(node)), ...nodes.filter(isLeaf).reverse()];
}

function emitNode(
  w: OnnxWriter,
  node: Node,
  names: Map<Tensor, string>,
  used: ReadonlySet<Tensor>,
  nameOf: (tensor: Tensor) => string,
): void {
  const output = node.outputs[0]!;
  if (node.op === 'input' || node.op === 'param') {
    names.set(output, onnxInputName((node.attrs as PrimitiveAttrs['input']).name));
  } else if (node.op === 'constant') {
    assert(isStatic(output.shape), 'a constant has a known shape');
    names.set(output, w.constant((node.attrs as PrimitiveAttrs['constant']).data, output.shape, output.dtype));
  } else if (node.op === 'stopGradient') {
    names.set(output, nameOf(node.inputs[0]!));
  } else {
    for (const tensor of node.outputs) if (!names.has(tensor)) names.set(tensor, used.has(tensor) ? w.freshName() : '');
    const rule = emitRules[node.op] as EmitRule<Primitive>;
    rule({ w, inputs: node.inputs.map(nameOf), outputs: node.outputs.map(nameOf) }, node);
  }
}

/** Tells the rules of grouped products the names of parts, under the keys at which they look for them. */
function nameParts(w: OnnxWriter, graph: Graph, parts: Parts): void {
  const namesOf = (name: string, tensor: Tensor): string[] =>
    Array.from({ length: Number(tensor.shape[0]) }, (_, i) => partName(name, i));
  for (const name of parts.inputs)
    w.once(matricesOf(onnxInputName(name)), () => namesOf(onnxInputName(name), graph.inputs.get(name)!));
  for (const name of parts.outputs)
    w.once(partsInto(onnxOutputName(name)), () => namesOf(onnxOutputName(name), graph.outputs.get(name)!));
}

function partInfos(name: string, { shape, dtype }: Tensor, ...leading: readonly number[]): OnnxValue[] {
  const part = { shape: [...leading, ...shape.slice(1)], dtype };
  return Array.from({ length: Number(shape[0]) }, (_, i) => valueInfo(partName(name, i), part));
}

const valueInfo = (name: string, tensor: Pick<Tensor, 'shape' | 'dtype'>): OnnxValue => ({
  name,
  type: tensorType(tensor),
});

function tensorType({ shape, dtype }: Pick<Tensor, 'shape' | 'dtype'>): OnnxTensorType {
  const dim = shape.map((size) => (typeof size === 'number' ? { dimValue: size } : { dimParam: size }));
  return { tensorType: { elemType: onnxDataType[dtype], shape: { dim } } };
}
