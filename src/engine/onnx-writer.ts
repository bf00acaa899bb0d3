/** @file Collects ONNX nodes and shared constants under short names. It knows no primitive. */
import type { DType, TypedArray } from '../tensor/dtype.ts';
import { utf8 } from '../util/bytes.ts';
import { constantData } from './constants.ts';
import type { Device } from './device.ts';
import {
  type OnnxAttribute,
  type OnnxGraph,
  type OnnxNode,
  type OnnxTensor,
  type OnnxValue,
  onnxAttributeType,
  onnxDataType,
} from './onnx-schema.ts';

/** An attribute's value; a number is an integer attribute unless wrapped by `float`. */
export type AttributeValue =
  | number
  | string
  | readonly number[]
  | { readonly float: number }
  | { readonly graph: OnnxGraph };

export const float = (value: number): AttributeValue => ({ float: value });

const contributed = new Set(['FusedMatMul', 'MoE', 'QuickGelu']);

/** One turn of a loop: names that hold after it, and names whose values are kept of every turn. All f32. */
export interface LoopTurn {
  readonly state: string;
  readonly kept: readonly string[];
}

export class OnnxWriter {
  #nodes: OnnxNode[] = [];
  readonly initializers: OnnxTensor[] = [];
  readonly #constants = new Map<string, string>();
  readonly #once = new Map<string, readonly string[]>();
  #names = 0;
  #nodeCount = 0;

  /** Rules look at it where an operator of that device is wrong. */
  readonly device: Device;

  constructor(device: Device) {
    this.device = device;
  }

  get nodes(): readonly OnnxNode[] {
    return this.#nodes;
  }

  freshName(): string {
    return `v${this.#names++}`;
  }

  /** The names that `write` gave under this key, now or before: for parts that several primitives share. */
  once(key: string, write: () => readonly string[]): readonly string[] {
    const names = this.#once.get(key) ?? write();
    this.#once.set(key, names);
    return names;
  }

  /** Adds a node with one output, which gets `into` or a fresh name. */
  op(type: string, inputs: readonly string[], attributes: Record<string, AttributeValue> = {}, into?: string): string {
    const output = into ?? this.freshName();
    this.opInto(type, inputs, attributes, [output]);
    return output;
  }

  opInto(
    type: string,
    inputs: readonly string[],
    attributes: Record<string, AttributeValue>,
    outputs: readonly string[],
  ): void {
    this.#nodes.push({
      opType: type,
      domain: contributed.has(type) ? 'com.microsoft' : '',
      name: `${type}_${this.#nodeCount++}`,
      input: inputs,
      output: outputs,
      attribute: Object.entries(attributes).map(([name, value]) => encodeAttribute(name, value)),
    });
  }

  /**
   * `count` turns over a state. `turn` writes one, given the name of its number ([1] i64, from 0) and of the state before
   * it; it may read names from outside, and must not use `once`. Returns the state after the last turn, and for each
   * kept name the values of all turns stacked along a new first axis.
   */
  loop(
    count: number,
    initial: string,
    turn: (index: string, state: string) => LoopTurn,
  ): { readonly final: string; readonly stacks: readonly string[] } {
    const [turnName, goOn, state, goesOn] = [this.freshName(), this.freshName(), this.freshName(), this.freshName()];
    const outside = this.#nodes;
    this.#nodes = [];
    const index = this.op('Reshape', [turnName, this.ints([1])]);
    const written = turn(index, state);
    this.op('Identity', [goOn], {}, goesOn);
    // A body's outputs are its own, each under a name of its own.
    const results = [written.state, ...written.kept].map((name) => this.op('Identity', [name]));
    const body: OnnxGraph = {
      name: `body_${turnName}`,
      node: this.#nodes,
      initializer: [],
      input: [
        typed(turnName, onnxDataType.i64, []),
        typed(goOn, onnxDataType.bool, []),
        typed(state, onnxDataType.f32),
      ],
      output: [typed(goesOn, onnxDataType.bool, []), ...results.map((name) => typed(name, onnxDataType.f32))],
    };
    this.#nodes = outside;
    const outputs = results.map(() => this.freshName());
    this.opInto('Loop', [this.scalar(count, 'i64'), '', initial], { body: { graph: body } }, outputs);
    return { final: outputs[0]!, stacks: outputs.slice(1) };
  }

  /** A constant; small ones of equal bytes share a name. */
  constant(data: TypedArray, dims: readonly number[], dtype: DType): string {
    const rawData = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const key = rawData.byteLength <= 64 ? `${dtype} ${dims.join(',')} ${rawData.join(',')}` : null;
    const known = key === null ? undefined : this.#constants.get(key);
    if (known !== undefined) return known;
    const name = `c${this.initializers.length}`;
    this.initializers.push({ name, dims, dataType: onnxDataType[dtype], rawData });
    if (key !== null) this.#constants.set(key, name);
    return name;
  }

  /** A constant under a name of its own. */
  named(name: string, data: TypedArray, dims: readonly number[], dtype: DType): void {
    const rawData = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    this.initializers.push({ name, dims, dataType: onnxDataType[dtype], rawData });
  }

  scalar(value: number, dtype: DType): string {
    return this.constant(constantData(value, dtype), [], dtype);
  }

  /** An i64 vector: axes, sizes, shapes. */
  ints(values: readonly (number | bigint)[]): string {
    return this.constant(BigInt64Array.from(values, BigInt), [values.length], 'i64');
  }

  floats(data: Float32Array, dims: readonly number[]): string {
    return this.constant(data, dims, 'f32');
  }

  /**
   * alpha · op(a) op(b), `ranks` theirs: plain MatMul where nothing is fused. WebGPU has no FusedMatMul, and every product
   * would travel to the CPU and back.
   */
  matmul(
    a: string,
    b: string,
    ranks: readonly [a: number, b: number],
    options: { transA?: boolean; transB?: boolean; alpha?: number } = {},
    into?: string,
  ): string {
    const { transA = false, transB = false, alpha = 1 } = options;
    if (!transA && !transB && alpha === 1) return this.op('MatMul', [a, b], {}, into);
    if (this.device === 'webgpu') {
      const operands = [transA ? this.#swapped(a, ranks[0]) : a, transB ? this.#swapped(b, ranks[1]) : b];
      if (alpha === 1) return this.op('MatMul', operands, {}, into);
      return this.op('Mul', [this.op('MatMul', operands), this.scalar(alpha, 'f32')], {}, into);
    }
    const attributes = { transA: Number(transA), transB: Number(transB), alpha: float(alpha) };
    return this.op('FusedMatMul', [a, b], attributes, into);
  }

  /** One entry more at the end of an axis, of this value. */
  longer(x: string, axis: number, value: number): string {
    return this.op('Pad', [x, this.ints([0, 1]), this.scalar(value, 'f32'), this.ints([axis])]);
  }

  /** The last two axes exchanged. */
  #swapped(x: string, rank: number): string {
    const perm = Array.from({ length: rank }, (_, axis) => axis);
    return this.op('Transpose', [x], { perm: [...perm.slice(0, -2), rank - 1, rank - 2] });
  }
}

/** Without a shape: the runtime infers it. */
const typed = (name: string, elemType: number, scalar?: readonly []): OnnxValue => ({
  name,
  type: { tensorType: { elemType, ...(scalar === undefined ? {} : { shape: { dim: scalar } }) } },
});

/** Names that a node reads, those inside its body included. */
export function readsOf({ input, attribute }: OnnxNode): string[] {
  return [...input, ...attribute.flatMap(({ g }) => (g === undefined ? [] : g.node.flatMap(readsOf)))];
}

function encodeAttribute(name: string, value: AttributeValue): OnnxAttribute {
  if (typeof value === 'number') return { name, type: onnxAttributeType.int, i: value };
  if (typeof value === 'string') return { name, type: onnxAttributeType.string, s: utf8(value) };
  if ('graph' in value) return { name, type: onnxAttributeType.graph, g: value.graph };
  if ('float' in value) return { name, type: onnxAttributeType.float, f: value.float };
  return { name, type: onnxAttributeType.ints, ints: value };
}
