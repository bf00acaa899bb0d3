/**
 * @file Routed experts in the two layouts of checkpoints: all of a layer stacked and input-major (`experts_w12`, gate
 * before up on the last axis, and `experts_w3`), or one tensor per expert, [out, in] (Ling's:
 * `experts.{e}.{gate,up,down}_proj.weight`).
 */
import type { QuasarLongConfig } from './quasar-long/config.ts';

/** One expert's tensor in Ling's layout, and where its numbers lie in the stacked one. */
export interface ExpertTensor {
  readonly name: string;
  /** [out, in]. */
  readonly shape: readonly [outputs: number, inputs: number];
  /** Of the number at (out, in): base + in · stride + out. */
  readonly base: number;
  readonly stride: number;
}

/** The tensors that the stacked tensor `stacked` ([experts, rows, columns]) stands for. */
export function expertTensors(config: QuasarLongConfig, stacked: string): readonly ExpertTensor[] {
  const { num_experts: E, hidden_size: h, moe_intermediate_size: I } = config;
  const isDown = stacked.endsWith('experts_w3');
  const [rows, columns] = isDown ? [I, h] : [h, 2 * I];
  const parts = isDown ? (['down'] as const) : (['gate', 'up'] as const);
  return Array.from({ length: E }, (_, expert) =>
    parts.map((part, at) => ({
      name: stacked.replace(/experts_w12$|experts_w3$/, `experts.${expert}.${part}_proj.weight`),
      shape: isDown ? ([h, I] as const) : ([I, h] as const),
      base: expert * rows * columns + at * I,
      stride: columns,
    })),
  ).flat();
}

/** Writes one expert's numbers into their places of the stacked tensor. */
export function stackExpert(stacked: Float32Array, tensor: ExpertTensor, values: Float32Array): void {
  eachPlace(tensor, (at, own) => void (stacked[at] = values[own]!));
}

/** One expert's numbers out of the stacked tensor. */
export function unstackExpert(stacked: Float32Array, tensor: ExpertTensor): Float32Array {
  const values = new Float32Array(tensor.shape[0] * tensor.shape[1]);
  eachPlace(tensor, (at, own) => void (values[own] = stacked[at]!));
  return values;
}

function eachPlace({ shape: [outer, inner], base, stride }: ExpertTensor, visit: (at: number, own: number) => void) {
  for (let o = 0; o < outer; o++) for (let i = 0; i < inner; i++) visit(base + i * stride + o, o * inner + i);
}
