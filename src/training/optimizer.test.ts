/** @file AdamW against its formula in float64, its state, and the flat buffers that it works on. */
import { describe, expect, it } from 'vitest';
import type { ParameterContract } from '../tensor/contract.ts';
import { FlatParams } from '../tensor/flat-params.ts';
import { KernelMemory } from '../tensor/kernels/memory.ts';
import { Rng } from '../util/rng.ts';
import { AdamW, type AdamWOptions, traitsFromContract } from './optimizer.ts';

const contract: ParameterContract = [
  { name: 'w', shape: [5, 7], dtype: 'F32', kind: 'param' },
  { name: 'norm', shape: [7], dtype: 'F32', kind: 'param' },
  { name: 'slope', shape: [3], dtype: 'F32', kind: 'constant' },
  { name: 'A_log', shape: [2], dtype: 'F32', kind: 'param' },
  { name: 'out', shape: [7, 3], dtype: 'F32', kind: 'param' },
];
const options: AdamWOptions = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, clipNorm: 1 };

function setUp(seed: number, fields: Partial<AdamWOptions> = {}) {
  const memory = new KernelMemory(1 << 16);
  const params = new FlatParams(memory, contract);
  const gradients = new FlatParams(memory, contract);
  const rng = new Rng(seed);
  params.flat().set(params.flat().map(() => rng.normal()));
  const optimizer = new AdamW(params, gradients, { ...options, ...fields });
  const fill = () => gradients.flat().set(gradients.flat().map(() => rng.normal()));
  return { memory, params, gradients, optimizer, fill };
}

describe('AdamW', () => {
  it('follows the formula in float64 over several steps, clip and decay included', () => {
    const { params, gradients, optimizer, fill } = setUp(1);
    const n = params.length;
    const [p, m, v] = [Float64Array.from(params.flat()), new Float64Array(n), new Float64Array(n)];
    for (let t = 1; t <= 5; t++) {
      fill();
      const g = [...gradients.flat()];
      const norm = Math.sqrt(g.reduce((sum, value) => sum + value * value, 0));
      expect(optimizer.step(0.01), `step ${t}`).toBeCloseTo(norm, 9);
      for (const { name, shape, offset, length } of params.entries)
        for (let i = offset; i < offset + length; i++) {
          const clipped = g[i]! / Math.max(1, norm);
          m[i] = 0.9 * m[i]! + 0.1 * clipped;
          v[i] = 0.95 * v[i]! + 0.05 * clipped ** 2;
          const decay = shape.length >= 2 ? 0.1 : 0;
          const move = m[i]! / (1 - 0.9 ** t) / (Math.sqrt(v[i]! / (1 - 0.95 ** t)) + 1e-8);
          p[i] = p[i]! * (1 - 0.01 * decay) - 0.01 * move;
          expect(params.flat()[i], `${name} ${i} after ${t}`).toBeCloseTo(p[i]!, 5);
        }
    }
    expect(optimizer.stepCount).toBe(5);
  });

  it('decays what the contract says and nothing else', () => {
    const decays = contract.map(({ name }) => ({ name, decay: name === 'out' }));
    const { params, gradients, optimizer } = setUp(2, { weightDecay: 0.5, traitsOf: traitsFromContract(decays) });
    const before = params.flat().slice();
    gradients.flat().fill(0);
    optimizer.step(0.1);
    for (const { name, offset, length } of params.entries) {
      const factor = name === 'out' ? Math.fround(0.95) : 1;
      const expected = before.subarray(offset, offset + length).map((value) => value * factor);
      expect([...params.view(name)], name).toEqual([...expected]);
    }
  });

  it('multiplies the learning rate of a tensor', () => {
    const traitsOf = ({ name }: { name: string }) => ({ decay: 0, learningRate: name === 'w' ? 5 : 0 });
    const { params, optimizer, fill } = setUp(3, { traitsOf });
    const before = params.flat().slice();
    fill();
    optimizer.step(0.01);
    params.view('w').forEach((value, i) => {
      expect(Math.abs(value - before[i]!)).toBeCloseTo(0.05, 5);
    });
    expect([...params.flat().subarray(35)]).toEqual([...before.subarray(35)]);
  });

  it('changes nothing on a gradient that is not finite', () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const { params, gradients, optimizer, fill } = setUp(4);
      fill();
      optimizer.step(0.01);
      const [first, second] = optimizer.state();
      const before = [params.flat(), first, second].map((array) => [...array]);
      gradients.flat()[50] = bad;
      expect(Number.isFinite(optimizer.step(0.01))).toBe(false);
      expect([params.flat(), first, second].map((array) => [...array])).toEqual(before);
      expect(optimizer.stepCount).toBe(1);
    }
  });

  it('goes on with the same bits after a restore', () => {
    const [a, b] = [setUp(5), setUp(6)];
    for (let t = 0; t < 9; t++) {
      a.fill();
      a.optimizer.step(0.01);
    }
    b.params.flat().set(a.params.flat());
    b.optimizer.restore(a.optimizer.stepCount, a.optimizer.state());
    for (let t = 0; t < 3; t++) {
      a.fill();
      b.gradients.flat().set(a.gradients.flat());
      a.optimizer.step(0.01);
      b.optimizer.step(0.01);
    }
    expect([...b.params.flat()]).toEqual([...a.params.flat()]);
    expect([...b.optimizer.state()[1]]).toEqual([...a.optimizer.state()[1]]);
  });
});

describe('FlatParams', () => {
  it('lays the trained tensors end to end and shows each as a live view', () => {
    const { params } = setUp(7);
    expect(params.entries.map(({ name, offset }) => [name, offset])).toEqual([
      ['w', 0],
      ['norm', 35],
      ['A_log', 42],
      ['out', 44],
    ]);
    params.view('A_log').fill(9);
    expect([...params.flat().subarray(41, 45)].map((value) => value === 9)).toEqual([false, true, true, false]);
    expect(params.has('slope')).toBe(false);
    expect(() => params.view('slope')).toThrowError('slope');
  });
});
