/** @file Every primitive on odd shapes: gradients against finite differences in float64, ONNX Runtime against the reference. */
import { describe, expect, test } from 'vitest';
import type { Primitive } from './primitives.ts';
import { checkCase } from './test-support.ts';
import { primitiveCases } from './test-support-primitives.ts';

/** Central differences with step 1e-5 in float64. */
const GRADIENT_TOLERANCE = 1e-6;
/** float32 against float64, sums of up to a few dozen terms. */
const RUNTIME_TOLERANCE = 5e-6;

describe.each(Object.keys(primitiveCases) as Primitive[])('%s', (primitive) => {
  test.each(Object.keys(primitiveCases[primitive]))('%s', async (name) => {
    const result = await checkCase(`${primitive} ${name}`, primitiveCases[primitive][name]!);
    expect(result.ops, 'the case uses its primitive').toContain(primitive);
    expect(result.gradientError, 'gradient against finite differences').toBeLessThan(GRADIENT_TOLERANCE);
    expect(result.runtimeError, `ONNX Runtime against the reference, worst in ${result.worst}`).toBeLessThan(
      RUNTIME_TOLERANCE,
    );
  });
});
