/** @file Fragment files come back within the bound of their codec; files that differ in anything are refused. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ParameterContract } from '../../tensor/contract.ts';
import {
  encodeSafetensors,
  parseSafetensorsHeader,
  readSafetensors,
  type TensorBytes,
} from '../../tensor/safetensors.ts';
import { Rng } from '../../util/rng.ts';
import { planFragments } from '../fragment-plan.ts';
import { emptyFragment, type FragmentValues, packFragment, unpackFragment } from '../fragment-values.ts';
import type { CodecName } from './codec.ts';
import { checkFragmentHeader, decodeFragment, encodedSizeBytes, encodeFragment } from './fragment-file.ts';

const contract: ParameterContract = [
  { name: 'a.weight', shape: [41, 13], dtype: 'F32', kind: 'param' },
  { name: 'slope', shape: [4], dtype: 'F32', kind: 'constant' },
  { name: 'm.gate.weight', shape: [4, 13], dtype: 'F32', kind: 'param' },
  { name: 'm.gate.expert_bias', shape: [4], dtype: 'F32', kind: 'selection-bias' },
  { name: 'scalar', shape: [], dtype: 'F32', kind: 'param' },
];
const fragment = planFragments(contract, 1).fragments[0]!;
const names = ['f32', 'bf16', 'int8', 'int4', 'topk'] as const;
const levels = { int8: 127, int4: 7 } as const;

function sample(seed: number): FragmentValues {
  const rng = new Rng(seed);
  const values = emptyFragment(fragment);
  for (const array of [values.params, values.selectionBias]) array.set(array.map(() => rng.normal() * 1e-3));
  return values;
}

/** The greatest error that the codec promises for element i. */
function bound(codec: CodecName, x: Float32Array, i: number): number {
  if (codec === 'f32') return 0;
  if (codec === 'bf16') return Math.abs(x[i]!) * 2 ** -8 + 2 ** -133;
  if (codec === 'topk') return Number.POSITIVE_INFINITY; // what it leaves out is unbounded; the residue has it
  const slice = fragment.slices.find(({ offset, length }) => i >= offset && i < offset + length)!;
  const start = slice.offset + Math.floor((i - slice.offset) / 256) * 256;
  const block = x.subarray(start, Math.min(start + 256, slice.offset + slice.length));
  const amax = block.reduce((top, value) => Math.max(top, Math.abs(value)), 0);
  return (amax / levels[codec]) * 0.50001 + levels[codec] * 2 ** -126;
}

describe('fragment files', () => {
  it('come back within the bound of the codec; the residue is what was lost', () => {
    const number = fc.float({ noNaN: true, noDefaultInfinity: true, min: -(2 ** 100), max: 2 ** 100 });
    const params = fc.array(number, { minLength: fragment.elementCount, maxLength: fragment.elementCount });
    fc.assert(
      fc.property(params, fc.constantFrom(...names), (numbers, codec) => {
        const values = { params: Float32Array.from(numbers), selectionBias: Float32Array.of(1e-3, -0, 5, 1e-44) };
        const { bytes, residue } = encodeFragment(codec, fragment, values);
        const back = decodeFragment(codec, fragment, bytes);
        expect([...back.selectionBias]).toEqual([...values.selectionBias]);
        const wrong: string[] = [];
        back.params.forEach((value, i) => {
          const error = Math.abs(values.params[i]! - value);
          if (!(error <= bound(codec, values.params, i))) wrong.push(`${codec} element ${i}: ${values.params[i]}`);
          const lost = Math.fround(values.params[i]! - value) + 0;
          if (!Object.is(residue[i]! + 0, lost)) wrong.push(`${codec} residue ${i}: ${residue[i]}, not ${lost}`);
        });
        expect(wrong).toEqual([]);
      }),
      { seed: 11, numRuns: 60 },
    );
  });

  it('are stable: bytes of decoded values decode to the same values, and size and order are known', () => {
    for (const codec of names) {
      const first = encodeFragment(codec, fragment, sample(3)).bytes;
      const values = decodeFragment(codec, fragment, first);
      const again = decodeFragment(codec, fragment, encodeFragment(codec, fragment, values).bytes);
      if (codec === 'f32' || codec === 'bf16') expect([...again.params], codec).toEqual([...values.params]);
      expect(first.byteLength, codec).toBe(encodedSizeBytes(codec, fragment));
      expect(() => checkFragmentHeader(codec, fragment, first)).not.toThrow();
      expect([...readSafetensors(first).tensors.keys()]).toContain('a.weight[0:41]');
    }
  });

  it('lose nothing over time with error feedback', () => {
    const target = sample(5).params;
    let residue: Float32Array = new Float32Array(target.length);
    const sum = new Float64Array(target.length);
    for (let round = 0; round < 50; round++) {
      const params = target.map((value, i) => value + residue[i]!);
      const encoded = encodeFragment('int4', fragment, { params, selectionBias: new Float32Array(4) });
      residue = encoded.residue;
      const { params: decoded } = decodeFragment('int4', fragment, encoded.bytes);
      for (let i = 0; i < sum.length; i++) sum[i]! += decoded[i]!;
    }
    sum.forEach((value, i) => {
      expect(Math.abs(value / 50 - target[i]!), `${i}`).toBeLessThan(5e-5);
    });
  });

  it('of topk take 114 bytes a chunk of 4,096, and send everything in time with error feedback', () => {
    const wide = planFragments([{ name: 'w', shape: [64, 4096], dtype: 'F32', kind: 'param' }], 1).fragments[0]!;
    const rng = new Rng(4);
    const target = Float32Array.from({ length: wide.elementCount }, () => rng.normal() * 1e-3);
    let residue: Float32Array = new Float32Array(target.length);
    let sent = 0;
    for (let round = 0; round < 200; round++) {
      const params = round === 0 ? target : residue;
      const { bytes, residue: rest } = encodeFragment('topk', wide, { params, selectionBias: new Float32Array(0) });
      const { dataOffsetBytes } = parseSafetensorsHeader(bytes, bytes.byteLength);
      expect(bytes.byteLength - dataOffsetBytes).toBe(64 * 114);
      if (round === 0) sent = decodeFragment('topk', wide, bytes).params.filter((value) => value !== 0).length;
      residue = rest;
    }
    expect(sent).toBe(64 * 64);
    const greatest = residue.reduce((top, value) => Math.max(top, Math.abs(value)), 0);
    expect(greatest).toBeLessThan(1e-4);
  });

  it('read slices that span several staged blocks', () => {
    const wide = planFragments([{ name: 'w', shape: [70_001, 3], dtype: 'F32', kind: 'param' }], 1).fragments[0]!;
    const rng = new Rng(1);
    const params = Float32Array.from({ length: wide.elementCount }, () => rng.normal());
    for (const codec of names) {
      const { bytes, residue } = encodeFragment(codec, wide, { params, selectionBias: new Float32Array(0) });
      const back = decodeFragment(codec, wide, bytes).params;
      const wrong = back.findIndex((value, i) => Math.fround(params[i]! - value) + 0 !== residue[i]! + 0);
      expect(wrong, codec).toBe(-1);
    }
  });

  it('pack and unpack are inverse', () => {
    const plan = planFragments(contract, 3);
    const rng = new Rng(2);
    const tensors = new Map(
      contract.map(({ name, shape }) => [
        name,
        Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => rng.normal()),
      ]),
    );
    const copies = new Map([...tensors].map(([name, data]) => [name, new Float32Array(data.length)]));
    for (const part of plan.fragments)
      unpackFragment(
        part,
        packFragment(part, (name) => tensors.get(name)!),
        (name) => copies.get(name)!,
      );
    for (const { name, kind } of contract)
      if (kind !== 'constant') expect([...copies.get(name)!], name).toEqual([...tensors.get(name)!]);
  });
});

describe('decodeFragment refuses', () => {
  /** Rewrites a good int8 file's tensors. */
  function tampered(change: (tensors: Map<string, TensorBytes>) => void, codec: CodecName = 'int8'): Uint8Array {
    const tensors = new Map<string, TensorBytes>();
    for (const [name, value] of readSafetensors(encodeFragment(codec, fragment, sample(9)).bytes).tensors)
      tensors.set(name, { ...value, bytes: value.bytes.slice() });
    change(tensors);
    return encodeSafetensors(tensors, { format: 'accrete-fragment/1', codec });
  }
  const refuse = (bytes: Uint8Array, code: string, codec: CodecName = 'int8') =>
    expect(() => decodeFragment(codec, fragment, bytes)).toThrowError(expect.objectContaining({ code }));
  const setFloat = (tensors: Map<string, TensorBytes>, name: string, value: number) =>
    new DataView(tensors.get(name)!.bytes.buffer).setFloat32(tensors.get(name)!.bytes.byteOffset, value, true);

  it('scales that are NaN, infinite, negative, subnormal or overflowing', () => {
    for (const scale of [Number.NaN, Number.POSITIVE_INFINITY, -1, -0, 1e-40, 2e36])
      refuse(
        tampered((tensors) => setFloat(tensors, 'a.weight[0:41].scale', scale)),
        'BAD_SCALE',
      );
  });

  it('codes that no encoder writes', () => {
    refuse(
      tampered((tensors) => (tensors.get('a.weight[0:41]')!.bytes[7] = 0x80)),
      'NOT_CANONICAL',
    );
    refuse(
      tampered((tensors) => (tensors.get('scalar[0:1]')!.bytes[0]! |= 0x10), 'int4'),
      'NOT_CANONICAL',
      'int4',
    );
  });

  it('topk records with indices out of order, twice or beyond their chunk, bad scales and used padding', () => {
    const name = 'a.weight[0:41]'; // 533 numbers: 9 kept; 2 bytes of scale, 3 of codes, 14 of indices
    const change = (index: number, to: (byte: number) => number) =>
      tampered((tensors) => {
        const { bytes } = tensors.get(name)!;
        bytes[index] = to(bytes[index]!);
      }, 'topk');
    const good = readSafetensors(encodeFragment('topk', fragment, sample(9)).bytes).tensors.get(name)!.bytes;
    expect(good.byteLength).toBe(19);
    const swapped = tampered((tensors) => {
      const { bytes } = tensors.get(name)!;
      const [a, b, c] = good.subarray(5, 8) as unknown as [number, number, number];
      bytes.set([(b >> 4) | ((c & 15) << 4), (c >> 4) | ((a & 15) << 4), (a >> 4) | ((b & 15) << 4)], 5);
    }, 'topk');
    const twice = tampered((tensors) => {
      const first = good[5]! | ((good[6]! & 15) << 8);
      tensors.get(name)!.bytes.set([first & 255, (first >> 8) | ((first & 15) << 4), first >> 4], 5);
    }, 'topk');
    for (const bytes of [swapped, twice, change(18, (byte) => byte | 0x0f), change(18, (byte) => byte | 0x80)])
      refuse(bytes, 'NOT_CANONICAL', 'topk');
    refuse(
      change(4, (byte) => byte | 0x80),
      'NOT_CANONICAL',
      'topk',
    );
    for (const high of [0x7c, 0x7e, 0x80, 0xff])
      refuse(
        change(1, () => high),
        'BAD_SCALE',
        'topk',
      );
    // A scale of 0 with anything beside it.
    const zero = tampered((tensors) => tensors.get(name)!.bytes.fill(0, 0, 2), 'topk');
    refuse(zero, 'NOT_CANONICAL', 'topk');
  });

  it('NaN and infinity', () => {
    for (const [codec, name, word] of [
      ['f32', 'a.weight[0:41]', 0x7fc00000],
      ['f32', 'm.gate.expert_bias[0:4]', 0xff800000],
      ['bf16', 'a.weight[0:41]', 0x7f807f80],
      ['int8', 'm.gate.expert_bias[0:4]', 0x7f800000],
    ] as const) {
      const change = (tensors: Map<string, TensorBytes>) => {
        const { bytes } = tensors.get(name)!;
        new DataView(bytes.buffer, bytes.byteOffset).setUint32(0, word, true);
      };
      refuse(tampered(change, codec), 'NOT_FINITE', codec);
    }
  });

  it('missing, added, renamed, retyped and reshaped tensors', () => {
    const first = 'a.weight[0:41]';
    refuse(
      tampered((tensors) => tensors.delete(first)),
      'MISSING_TENSOR',
    );
    refuse(
      tampered((tensors) => tensors.set('extra', tensors.get(first)!)),
      'UNKNOWN_TENSOR',
    );
    refuse(
      tampered((tensors) => tensors.set(first, { ...tensors.get(first)!, dtype: 'U8' })),
      'WRONG_DTYPE',
    );
    refuse(
      tampered((tensors) => tensors.set(first, { ...tensors.get(first)!, shape: [13, 41] })),
      'WRONG_SHAPE',
    );
  });

  it('containers that are cut, longer, of another codec or format', () => {
    const { bytes } = encodeFragment('int8', fragment, sample(9));
    refuse(bytes.subarray(0, -1), 'BAD_CONTAINER');
    refuse(bytes.subarray(0, 5), 'BAD_CONTAINER');
    refuse(new Uint8Array([...bytes, 0]), 'BAD_CONTAINER');
    refuse(bytes, 'BAD_CONTAINER', 'bf16');
    refuse(encodeSafetensors(readSafetensors(bytes).tensors), 'BAD_CONTAINER');
  });

  it('values that cannot be encoded are refused by the encoder', () => {
    for (const [value, code] of [
      [Number.NaN, 'NOT_FINITE'],
      [Number.NEGATIVE_INFINITY, 'NOT_FINITE'],
      [2 ** 126, 'OUT_OF_RANGE'],
    ] as const) {
      const values = sample(1);
      values.params[17] = value;
      expect(() => encodeFragment('int8', fragment, values)).toThrowError(expect.objectContaining({ code }));
    }
  });
});
