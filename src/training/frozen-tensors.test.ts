/** @file Frozen tensors are rounded once, come back with the same bits, and refuse what is not theirs. */
import { describe, expect, it } from 'vitest';
import { buildContract } from '../model/quasar-long/contract.ts';
import { freezeContract } from '../model/quasar-long/frozen.ts';
import { floatsOf, initParams } from '../model/quasar-long/init.ts';
import { presetConfig } from '../model/quasar-long/presets.ts';
import { encodeSafetensors, readSafetensors, tensorBytes } from '../tensor/safetensors.ts';
import { FrozenTensors, maxFrozenFileBytes } from './frozen-tensors.ts';

const config = presetConfig('tiny');
const contract = freezeContract(buildContract(config), ['lm_head.weight', '*.mlp.gate.weight']);
const params = initParams(config, 'seed');

function filled(dtype: 'f32' | 'bf16'): FrozenTensors {
  const frozen = new FrozenTensors(contract, dtype);
  for (const name of frozen.stored.keys()) frozen.set(name, floatsOf(params, name));
  return frozen;
}
const wideOf = (frozen: FrozenTensors) => new Map([...frozen.widened()].map(([{ name }, values]) => [name, values]));

describe('FrozenTensors', () => {
  it('keeps float32 as it is, and rounds to the nearest bfloat16, ties to even', () => {
    for (const [name, values] of wideOf(filled('f32'))) expect(values, name).toEqual(params.get(name));
    const frozen = new FrozenTensors(contract, 'bf16');
    const head = new Float32Array(floatsOf(params, 'lm_head.weight').length);
    head.set([1, 1 + 2 ** -8, 1 + 3 * 2 ** -8, 1 + 2 ** -8 + 2 ** -20, -(1 + 2 ** -8), 1e-40]);
    frozen.set('lm_head.weight', head);
    const kept = wideOf(frozen).get('lm_head.weight')!;
    expect([...kept.subarray(0, 5)]).toEqual([1, 1, 1 + 2 ** -6, 1 + 2 ** -7, -1]);
    expect(kept[5]).toBe(2 ** -133);
  });

  it('takes half the bytes as bfloat16, but selection biases stay float32', () => {
    const stored = filled('bf16').stored;
    for (const [name, values] of stored)
      expect(values, name).toBeInstanceOf(name.endsWith('.expert_bias') ? Float32Array : Uint16Array);
    expect([...stored.keys()].some((name) => name.endsWith('.expert_bias'))).toBe(true);
  });

  it('comes back from its file with the same bits', () => {
    for (const dtype of ['f32', 'bf16'] as const) {
      const bytes = filled(dtype).encode();
      expect(bytes.byteLength).toBeLessThanOrEqual(maxFrozenFileBytes(contract));
      const back = new FrozenTensors(contract, dtype);
      back.load(bytes);
      expect(back.stored).toEqual(filled(dtype).stored);
      expect(back.encode()).toEqual(bytes);
    }
  });

  it('refuses a file of other tensors, of another dtype, cut short, too long, or with what is not finite', () => {
    const bytes = filled('bf16').encode();
    const changed = (change: (tensors: Map<string, ReturnType<typeof tensorBytes>>) => void, format = true) => {
      const tensors = new Map(readSafetensors(bytes).tensors);
      change(tensors as never);
      return encodeSafetensors(tensors, format ? { format: 'accrete-frozen-1' } : {});
    };
    const shape = contract.find(({ name }) => name === 'lm_head.weight')!.shape;
    const length = floatsOf(params, 'lm_head.weight').length;
    const refusals: [Uint8Array, RegExp][] = [
      [filled('f32').encode(), /expected BF16/],
      [bytes.subarray(0, bytes.length - 2), /TRUNCATED|cover|ends at/],
      [new Uint8Array(maxFrozenFileBytes(contract) + 1), /at most/],
      [changed(() => {}, false), /expected format/],
      [changed((tensors) => void tensors.delete('lm_head.weight')), /expected \d+ tensors/],
      [
        changed((tensors) => void tensors.set('lm_head.weight', tensorBytes(new Uint16Array(length), [length]))),
        /lm_head\.weight: expected BF16/,
      ],
      [
        changed(
          (tensors) => void tensors.set('lm_head.weight', tensorBytes(new Uint16Array(length).fill(0x7f80), shape)),
        ),
        /not finite/,
      ],
    ];
    for (const [file, message] of refusals) {
      const frozen = new FrozenTensors(contract, 'bf16');
      expect(() => frozen.load(file), String(message)).toThrow(message);
    }
  });
});
