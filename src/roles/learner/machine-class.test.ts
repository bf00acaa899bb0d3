/** @file Names of machine classes: what changes bits changes the name, and nothing else does. */
import { describe, expect, it } from 'vitest';
import { isSameMachineClass, type MachineTraits, machineClassOf, nameMachineClass } from './machine-class.ts';

const traits: MachineTraits = {
  ...{ device: 'cpu', engineVersion: '1.30.0', threads: 2, arch: 'x64', model: 'A', library: 'glibc2.36' },
  flags: new Set('sse sse4_1 avx avx2 fma'.split(' ')),
};
const name = (changes: Partial<MachineTraits>): string => nameMachineClass({ ...traits, ...changes });

describe('nameMachineClass', () => {
  it('tells apart what rounds differently', () => {
    expect(name({})).toBe('x64-avx2-glibc2.36/ort1.30.0/t2');
    const all = [
      name({}),
      name({ threads: 1 }),
      name({ engineVersion: '1.31.0' }),
      name({ library: 'glibc2.39' }),
      name({ arch: 'arm64' }),
      name({ device: 'webgpu' }),
      name({ device: 'wasm' }),
      name({ flags: null }),
      name({ flags: null, model: 'B' }),
      ...['', 'avx', 'avx avx2 fma avx512f avx512dq avx512bw avx512vl'].map((flags) =>
        name({ flags: new Set(flags.split(' ')) }),
      ),
    ];
    expect(new Set(all).size).toBe(all.length);
    for (const one of all) expect(one.length, one).toBeLessThanOrEqual(64);
  });

  it('takes no notice of what changes no bit', () => {
    expect(name({ model: 'B', flags: new Set('avx avx2 fma hypervisor'.split(' ')) })).toBe(name({}));
    expect(name({ device: 'wasm', threads: 8, arch: 'arm64', library: 'darwin24' })).toBe(name({ device: 'wasm' }));
  });

  it('names this machine the same twice, and no GPU its own equal', () => {
    const own = machineClassOf({ threads: 2 });
    expect(own).toMatch(/\/ort\d+\.\d+\.\d+\/t2$/);
    expect(isSameMachineClass(own, machineClassOf({ threads: 2 }))).toBe(true);
    expect(isSameMachineClass(own, machineClassOf({ threads: 1 }))).toBe(false);
    expect(isSameMachineClass(name({ device: 'webgpu' }), name({ device: 'webgpu' }))).toBe(false);
    expect(isSameMachineClass('', '')).toBe(false);
  });
});
