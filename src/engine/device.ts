/** @file Where a session's operators run, and what the devices do differently. Measured: docs/decisions/0009-devices.md. */

/** On `webgpu`, operators that it lacks run on the CPU. */
export const devices = ['cpu', 'webgpu', 'wasm'] as const;
/** `cpu`: native code; `wasm`: the same operators as portable WebAssembly, one thread, many times slower. */
export type Device = (typeof devices)[number];

/**
 * Vulkan and WebGPU allow an error of 2^-11 in sine and cosine, and none is promised for angles beyond π; rotary tables
 * need every position's.
 */
const inexactOnWebgpu: ReadonlySet<string> = new Set(['Sin', 'Cos']);

/** WebGPU promises a shader no more than 8 buffers; a Split takes one for its input and one for each output. */
const maxSplitOutputs = 7;

/** Must a node run on the CPU although the device has its operator? */
export function isForCpu(
  device: Device,
  node: { readonly opType: string; readonly output: readonly string[] },
): boolean {
  if (device !== 'webgpu') return false;
  return inexactOnWebgpu.has(node.opType) || (node.opType === 'Split' && node.output.length > maxSplitOutputs);
}
