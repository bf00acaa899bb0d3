/** @file The type of a rule that writes a primitive in ONNX operators. */
import type { Node } from './graph.ts';
import type { OnnxWriter } from './onnx-writer.ts';
import type { Primitive } from './primitives.ts';

/** What a rule is given: names of the inputs, names that it must give its outputs ('' where nobody reads one). */
export interface EmitContext {
  readonly w: OnnxWriter;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

export type EmitRule<P extends Primitive> = (context: EmitContext, node: Node<P>) => void;
