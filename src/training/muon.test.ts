/** @file Muon against its formula in float64, on wide, tall and stacked matrices, and which tensors it moves. */
import { afterAll, describe, expect, it } from 'vitest';
import { buildContract } from '../model/quasar-long/contract.ts';
import { presetConfig } from '../model/quasar-long/presets.ts';
import type { ParameterContract } from '../tensor/contract.ts';
import { FlatParams } from '../tensor/flat-params.ts';
import { KernelMemory } from '../tensor/kernels/memory.ts';
import { Rng } from '../util/rng.ts';
import { Muon, matricesFromContract } from './muon.ts';

const contract: ParameterContract = [
  { name: 'wide', shape: [5, 7], dtype: 'F32', kind: 'param' },
  { name: 'norm', shape: [7], dtype: 'F32', kind: 'param' },
  { name: 'tall', shape: [9, 4], dtype: 'F32', kind: 'param' },
  { name: 'experts_w12', shape: [3, 4, 12], dtype: 'F32', kind: 'param' },
];
const options = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, clipNorm: 1, momentum: 0.95 };
const opened: Muon[] = [];
afterAll(async () => {
  for (const muon of opened) await muon.close();
});

function setUp(seed: number) {
  const memory = new KernelMemory(1 << 17);
  const params = new FlatParams(memory, contract);
  const gradients = new FlatParams(memory, contract);
  const rng = new Rng(seed);
  params.flat().set(params.flat().map(() => rng.normal()));
  const matricesOf = ({ name, shape }: { name: string; shape: readonly number[] }) =>
    shape.length < 2 ? null : name === 'experts_w12' ? 2 : 1;
  const muon = new Muon(params, gradients, { ...options, newtonSchulzSteps: 5, threads: 1, matricesOf });
  opened.push(muon);
  return { params, gradients, muon, fill: () => gradients.flat().set(gradients.flat().map(() => rng.normal())) };
}

type Rows = number[][];
const product = (a: Rows, b: Rows): Rows =>
  a.map((row) => b[0]!.map((_, j) => row.reduce((sum, x, k) => sum + x * b[k]![j]!, 0)));
const transposed = (a: Rows): Rows => a[0]!.map((_, j) => a.map((row) => row[j]!));

/** Plainly X ← aX + bXXᵀX + c(XXᵀ)²X. */
function orthogonalised(matrix: Rows): Rows {
  const norm = Math.sqrt(matrix.flat().reduce((sum, x) => sum + x * x, 0));
  let x = matrix.map((row) => row.map((value) => value / norm));
  for (let step = 0; step < 5; step++) {
    const a = product(x, transposed(x));
    const [ax, aax] = [product(a, x), product(a, product(a, x))];
    x = x.map((row, i) => row.map((value, j) => 3.4445 * value - 4.775 * ax[i]![j]! + 2.0315 * aax[i]![j]!));
  }
  return x;
}

/** Index of row i, column j of each matrix in its tensor. */
function placesOf(shape: readonly number[], parts: number): number[][][] {
  const [experts, rows, width] = shape.length === 3 ? (shape as [number, number, number]) : [1, shape[0]!, shape[1]!];
  const columns = width / parts;
  return Array.from({ length: experts * parts }, (_, m) =>
    Array.from({ length: rows }, (_, i) =>
      Array.from({ length: columns }, (_, j) => (Math.floor(m / parts) * rows + i) * width + (m % parts) * columns + j),
    ),
  );
}

describe('Muon', () => {
  it('follows the formula in float64 over several steps: clip, Nesterov, five steps, scale and decay', async () => {
    const { params, gradients, muon, fill } = setUp(1);
    const p = Float64Array.from(params.flat());
    const m = new Float64Array(params.length);
    for (let t = 1; t <= 3; t++) {
      fill();
      const norm = Math.sqrt(gradients.flat().reduce((sum, x) => sum + x * x, 0));
      const g = Float64Array.from(gradients.flat(), (x) => x / Math.max(1, norm));
      expect(await muon.step(0.01)).toBeCloseTo(norm, 5);
      for (const { name, shape, offset } of params.entries) {
        if (shape.length < 2) continue;
        for (const places of placesOf(shape, name === 'experts_w12' ? 2 : 1)) {
          const nesterov = places.map((row) =>
            row.map((at) => {
              m[offset + at] = 0.95 * m[offset + at]! + g[offset + at]!;
              return g[offset + at]! + 0.95 * m[offset + at]!;
            }),
          );
          const reach = 0.2 * Math.sqrt(Math.max(places.length, places[0]!.length));
          orthogonalised(nesterov).forEach((row, i) => {
            row.forEach((update, j) => {
              const at = offset + places[i]![j]!;
              p[at] = p[at]! * (1 - 0.001) - 0.01 * reach * update;
              expect(params.flat()[at], `${name} ${at} after ${t}`).toBeCloseTo(p[at]!, 5);
            });
          });
        }
      }
    }
  });

  it('changes nothing on a gradient that is not finite, and leaves a matrix without gradient to its decay', async () => {
    const { params, gradients, muon } = setUp(2);
    const before = params.flat().slice();
    gradients.flat()[3] = Number.NaN;
    expect(await muon.step(0.01)).toBeNaN();
    expect(params.flat()).toEqual(before);
    gradients.flat().fill(0);
    await muon.step(0.01);
    expect(params.view('tall')[0]).toBeCloseTo(before[42]! * 0.999, 6);
  });

  it('goes on with the same bits after a restore', async () => {
    const [a, b] = [setUp(3), setUp(4)];
    a.fill();
    await a.muon.step(0.01);
    b.params.flat().set(a.params.flat());
    b.muon.restore(a.muon.stepCount, a.muon.state());
    a.fill();
    b.gradients.flat().set(a.gradients.flat());
    await a.muon.step(0.01);
    await b.muon.step(0.01);
    expect(b.params.flat()).toEqual(a.params.flat());
    expect(b.muon.state()).toEqual(a.muon.state());
  });

  it('takes weight matrices and experts, but no embedding, head, router, norm or decay rate', () => {
    const specs = buildContract(presetConfig('tiny'));
    const partsOf = matricesFromContract(specs);
    for (const { name, shape } of specs) {
      const parts = partsOf({ name });
      if (/word_embeddings|lm_head|mlp\.gate\.|norm|A_log|bias|gain|logits|alpha/.test(name))
        expect(parts, name).toBeNull();
      else if (/experts_w12$/.test(name)) expect(parts, name).toBe(2);
      else if (/(_proj|dense|query_key_value)\.weight$/.test(name) && shape.length === 2)
        expect(parts === 1 || parts === null, name).toBe(true);
    }
    expect(specs.filter(({ name }) => partsOf({ name }) !== null).length).toBeGreaterThan(5);
  });
});
