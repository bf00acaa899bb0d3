/** @file Where a session's operators run, and what the devices do differently. Measured: docs/decisions/0008. */

/** On `webgpu`, operators that it lacks run on the CPU. */
export const devices = ['cpu', 'webgpu'] as const;
export type Device = (typeof devices)[number];

/**
 * ONNX operators that are there but not exact enough: Vulkan and WebGPU allow an error of 2^-11 in sine and cosine, and
 * none is promised for angles beyond π; rotary tables need every position's.
 */
export const inexactOn: { readonly [D in Device]: ReadonlySet<string> } = {
  cpu: new Set(),
  webgpu: new Set(['Sin', 'Cos']),
};
