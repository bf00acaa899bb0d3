/** @file Safetensors: round trips, determinism, and headers that lie. */
import { describe, expect, it } from 'vitest';
import { bf16ToF32, f16ToF32, f32ToBf16 } from './half.ts';
import {
  asFloat32,
  asInt32,
  encodeSafetensors,
  readSafetensors,
  SafetensorsError,
  tensorBytes,
} from './safetensors.ts';

function file(header: string, data: Uint8Array, length?: bigint): Uint8Array {
  const json = new TextEncoder().encode(header);
  const out = new Uint8Array(8 + json.byteLength + data.byteLength);
  new DataView(out.buffer).setBigUint64(0, length ?? BigInt(json.byteLength), true);
  out.set(json, 8);
  out.set(data, 8 + json.byteLength);
  return out;
}

function codeOf(bytes: Uint8Array): string {
  try {
    readSafetensors(bytes);
  } catch (error) {
    if (error instanceof SafetensorsError) return error.code;
    throw error;
  }
  return 'OK';
}

const entry = (dtype: string, shape: unknown, offsets: unknown) =>
  JSON.stringify({ dtype, shape, data_offsets: offsets });

describe('safetensors', () => {
  it('gives back what was written, as views, in any order of the map', () => {
    const a = tensorBytes(Float32Array.of(1.5, -2, 3, 4), [2, 2]);
    const b = tensorBytes(BigInt64Array.of(7n, -9n), [2]);
    const c = tensorBytes(f32ToBf16(Float32Array.of(1, 2, 3)), [3]);
    const d = tensorBytes(new Float32Array(0), [0, 4]);
    const first = encodeSafetensors(new Map(Object.entries({ a, b, c, d })), { format: 'pt' });
    const second = encodeSafetensors(new Map(Object.entries({ d, c, b, a })), { format: 'pt' });
    expect(second).toEqual(first);
    const { metadata, tensors } = readSafetensors(first);
    expect(metadata).toEqual({ format: 'pt' });
    expect([...asFloat32(tensors.get('a')!)]).toEqual([1.5, -2, 3, 4]);
    expect(asFloat32(tensors.get('a')!).buffer).toBe(first.buffer);
    expect([...asInt32(tensors.get('b')!)]).toEqual([7, -9]);
    expect([...asFloat32(tensors.get('c')!)]).toEqual([1, 2, 3]);
    expect(tensors.get('d')!.shape).toEqual([0, 4]);
  });

  const data = new Uint8Array(16);
  const cases: [string, Uint8Array, string][] = [
    ['too short for a length', new Uint8Array(5), 'TRUNCATED'],
    ['a header of 2^63 bytes', file('{}', data, 2n ** 63n), 'HEADER_TOO_LARGE'],
    ['a header longer than the file', file('{}', data, 1000n), 'TRUNCATED'],
    ['no JSON', file('{"a":', data), 'HEADER_MALFORMED'],
    ['a JSON array', file('[]', data), 'HEADER_MALFORMED'],
    [
      'a repeated name',
      file(`{"a":${entry('F32', [4], [0, 16])},"\\u0061":${entry('I32', [4], [0, 16])}}`, data),
      'HEADER_MALFORMED',
    ],
    ['an unknown dtype', file(`{"a":${entry('F4', [4], [0, 16])}}`, data), 'BAD_DTYPE'],
    ['a dtype from the prototype', file(`{"a":${entry('toString', [4], [0, 16])}}`, data), 'BAD_DTYPE'],
    [
      'an unknown field',
      file('{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16],"x":1}}', data),
      'HEADER_MALFORMED',
    ],
    ['a negative size', file(`{"a":${entry('F32', [-4], [0, 16])}}`, data), 'BAD_SHAPE'],
    ['a huge shape', file(`{"a":${entry('F32', [2 ** 40, 2 ** 40], [0, 16])}}`, data), 'BAD_SHAPE'],
    [
      'a product that wraps in 64 bits',
      file(`{"a":${entry('F32', [2 ** 50, 2 ** 14, 4], [0, 0])}}`, data),
      'BAD_SHAPE',
    ],
    ['fractional offsets', file(`{"a":${entry('F32', [4], [0.5, 16.5])}}`, data), 'BAD_OFFSETS'],
    ['reversed offsets', file(`{"a":${entry('F32', [4], [16, 0])}}`, data), 'BAD_OFFSETS'],
    ['overlap', file(`{"a":${entry('F32', [2], [0, 8])},"b":${entry('F32', [3], [4, 16])}}`, data), 'NOT_CONTIGUOUS'],
    ['a gap', file(`{"a":${entry('F32', [1], [0, 4])},"b":${entry('F32', [2], [8, 16])}}`, data), 'NOT_CONTIGUOUS'],
    ['bytes nobody names', file(`{"a":${entry('F32', [2], [0, 8])}}`, data), 'NOT_CONTIGUOUS'],
    ['data cut short', file(`{"a":${entry('F32', [8], [0, 32])}}`, data), 'TRUNCATED'],
    ['an empty name', file(`{"":${entry('F32', [4], [0, 16])}}`, data), 'BAD_NAME'],
    [
      'metadata that is no string',
      file(`{"__metadata__":{"a":1},"a":${entry('F32', [4], [0, 16])}}`, data),
      'HEADER_MALFORMED',
    ],
  ];
  it.each(cases)('refuses %s', (_name, bytes, code) => {
    expect(codeOf(bytes)).toBe(code);
  });

  it('reads misaligned data by copying it', () => {
    const header = `{"a":${entry('F32', [4], [0, 16])}} `;
    const { tensors } = readSafetensors(file(header, new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer)));
    expect([...asFloat32(tensors.get('a')!)]).toEqual([1, 2, 3, 4]);
  });
});

describe('half floats', () => {
  it('rounds bfloat16 to nearest even and keeps NaN and infinity', () => {
    const values = Float32Array.of(1, 1.00390625, 1.01171875, -0, 3.4e38, Infinity, NaN);
    const back = bf16ToF32(f32ToBf16(values));
    expect([...back]).toEqual([1, 1, 1.015625, -0, Infinity, Infinity, NaN]);
  });
  it('reads binary16', () => {
    expect([...f16ToF32(Uint16Array.of(0x3c00, 0xc000, 0x0001, 0x7c00, 0x7e00))]).toEqual([
      1,
      -2,
      2 ** -24,
      Infinity,
      NaN,
    ]);
  });
});
