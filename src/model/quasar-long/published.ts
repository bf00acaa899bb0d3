/** @file A checkpoint's numbers as its readers get them: what publishing in bfloat16 makes of them. */
import { bf16ToF32, f32ToBf16 } from '../../tensor/half.ts';
import type { TensorSpec } from './contract.ts';
import type { Params, TensorValues } from './init.ts';

/**
 * `params` as a checkpoint of this dtype holds them: parameters rounded to the nearest bfloat16, ties to even, buffers left
 * alone; `f32` or none: the same map.
 */
export function publishedParams(
  contract: readonly TensorSpec[],
  params: Params,
  dtype: 'f32' | 'bf16' = 'f32',
): Params {
  if (dtype === 'f32') return params;
  const rounded = new Map<string, TensorValues>();
  for (const { name, isBuffer } of contract) {
    const values = params.get(name)!;
    rounded.set(name, values instanceof Float32Array && !isBuffer ? bf16ToF32(f32ToBf16(values)) : values);
  }
  return rounded;
}
