/**
 * @file Quantisers beside ggml's reference (tests/vectors/quantise, made by scripts/golden/ggml_blocks.py from llama.cpp's
 * library): Q8_0, Q4_0, MXFP4, F16 and BF16 to the byte, K-quants by layout and error; MLX's affine form by its formula.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { f32ToBf16, f32ToF16 } from '../../tensor/half.ts';
import { asFloat32, readSafetensors } from '../../tensor/safetensors.ts';
import { Rng } from '../../util/rng.ts';
import { dequantiseAffine, quantiseAffine } from './affine.ts';
import type { BlockType } from './block-type.ts';
import { mxfp4, q4_0, q8_0 } from './blocks-of-32.ts';
import { q4_K, q5_K, q6_K } from './blocks-of-256.ts';

const file = new URL('../../../tests/vectors/quantise/ggml-blocks.safetensors', import.meta.url);
const { tensors } = readSafetensors(new Uint8Array(readFileSync(file)));
const floats = (name: string): Float32Array => asFloat32(tensors.get(name)!);
const bytes = (name: string): Uint8Array => tensors.get(name)!.bytes;
const values = floats('values');
const rows = values.length / 256;

const firstDifference = (a: Uint8Array, b: Uint8Array): number => a.findIndex((byte, i) => byte !== b[i]);

function squaredError(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + (value - b[i]!) ** 2, 0);
}

describe('the same bytes as ggml', () => {
  it.each<[string, BlockType]>([
    ['q8_0', q8_0],
    ['q4_0', q4_0],
    ['mxfp4', mxfp4],
  ])('%s', (name, type) => {
    const own = type.encode(values);
    expect(own.length).toBe(bytes(name).length);
    const at = firstDifference(own, bytes(name));
    expect(at, `block ${Math.floor(at / type.blockBytes)}, byte ${at % type.blockBytes}`).toBe(-1);
  });

  it.each([
    ['fp16', f32ToF16],
    ['bf16', f32ToBf16],
  ] as const)('%s', (name, convert) => {
    const own = new Uint8Array(convert(values).buffer);
    expect(firstDifference(own, bytes(name))).toBe(-1);
  });
});

const blockTypes: readonly [string, BlockType][] = [
  ['q8_0', q8_0],
  ['q4_0', q4_0],
  ['mxfp4', mxfp4],
  ['q4_K', q4_K],
  ['q5_K', q5_K],
  ['q6_K', q6_K],
];

describe('reading blocks', () => {
  it.each(blockTypes)("%s: ggml's bytes give ggml's values", (name, type) => {
    const own = type.decode(bytes(name));
    const wanted = floats(`${name}.values`);
    const worst = own.reduce((max, value, i) => {
      const size = Math.max(Math.abs(wanted[i]!), 1e-30);
      return Math.max(max, Math.abs(value - wanted[i]!) / size);
    }, 0);
    // One rounding of a product may fall otherwise.
    expect(worst).toBeLessThanOrEqual(1e-5);
  });
});

describe('K-quants', () => {
  const cases = blockTypes.filter(([name]) => name.endsWith('K'));
  it.each(cases)(
    '%s: an error of at most 1.05 times that of ggml, over all and for each kind of values',
    (name, type) => {
      const own = type.decode(type.encode(values));
      const theirs = floats(`${name}.values`);
      const part = (all: Float32Array, row: number, count: number) => all.subarray(256 * row, 256 * (row + count));
      // Rows as scripts/golden/ggml_blocks.py makes them; constants and zeros apart, where both errors are next to nothing.
      for (const [row, count] of [
        [0, 8],
        [8, 4],
        [12, 4],
        [16, 2],
        [18, 2],
        [20, 2],
        [22, 2],
        [28, 1],
        [30, 2],
      ] as const) {
        const wanted = part(values, row, count);
        const ratio = Math.sqrt(
          squaredError(part(own, row, count), wanted) / squaredError(part(theirs, row, count), wanted),
        );
        expect(ratio, `rows ${row} to ${row + count}`).toBeLessThanOrEqual(1.05);
      }
      const scale = (row: number) => Math.max(...part(values, row, 1).map(Math.abs));
      for (let row = 0; row < rows; row++) {
        const error = Math.sqrt(squaredError(part(own, row, 1), part(values, row, 1)) / 256);
        const theirError = Math.sqrt(squaredError(part(theirs, row, 1), part(values, row, 1)) / 256);
        expect(error, `row ${row}`).toBeLessThanOrEqual(1.1 * theirError + 1e-3 * scale(row));
      }
    },
  );
});

describe('affine codes', () => {
  const rng = new Rng('affine');
  const rowsOf = (make: () => number) => Float32Array.from({ length: 4 * 128 }, make);
  const kinds = {
    normal: rowsOf(() => rng.uniform() + rng.uniform() - 1),
    positive: rowsOf(() => rng.uniform()),
    negative: rowsOf(() => -rng.uniform()),
    zero: new Float32Array(512),
    constant: new Float32Array(512).fill(0.3),
  };

  it.each(Object.entries(kinds))(
    '%s: no value is further off than half a step, and edges and zero are kept',
    (_kind, values) => {
      for (const bits of [4, 8] as const)
        for (const group of [32, 64, 128]) {
          const coded = quantiseAffine(values, { bits, group });
          expect(coded.words.length).toBe((values.length * bits) / 32);
          const back = dequantiseAffine(coded, { bits, group });
          for (const [i, value] of values.entries()) {
            const step = Math.abs(coded.scales[Math.floor(i / group)]!);
            // The edge opposite to the kept one may lie beyond the last code by up to half a step more.
            expect(Math.abs(back[i]! - value), `${bits} bits, group ${group}, value ${i}`).toBeLessThanOrEqual(
              step * 1.01 + 1e-9,
            );
          }
        }
    },
  );

  it('packs the lowest bits first', () => {
    // 15 steps of 1 from 0: the edge 15 has the larger magnitude, so codes count down from it.
    const values = Float32Array.from({ length: 32 }, (_, i) => i % 16);
    const { words, scales, biases } = quantiseAffine(values, { bits: 4, group: 32 });
    expect([scales[0], biases[0]]).toEqual([-1, 15]);
    expect([...words.subarray(0, 2)].map((word) => word.toString(16))).toEqual(['89abcdef', '1234567']);
  });
});
