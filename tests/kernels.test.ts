/** @file The committed module of the WASM kernels is what their sources compile to. */
import { expect, it } from 'vitest';
import { compileKernels } from '../scripts/build-kernels.ts';
import { kernelsBase64 } from '../src/tensor/kernels/kernels.generated.ts';

it('kernels are the compiled sources', async () => {
  expect(Buffer.from(await compileKernels()).toString('base64') === kernelsBase64).toBe(true);
});
