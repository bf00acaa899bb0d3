/** @file Dispatch of tokens to experts: nothing dropped, experts without tokens, gradients by gathers only. */
import { expect, test } from 'vitest';
import { viewOf } from '../tensor/view.ts';
import { gradients } from './grad.ts';
import { GraphBuilder, type Tensor } from './graph.ts';
import { collectRows, dispatchRows, dispatchTables } from './moe-dispatch.ts';
import { openSession } from './session.ts';
import { checkCase, seededFloats } from './test-support.ts';

const layouts: Record<string, { experts: number; choices: number[][] }> = {
  mixed: {
    experts: 5,
    choices: [
      [0, 4],
      [4, 1],
      [1, 4],
      [4, 0],
      [3, 4],
      [4, 2],
      [0, 1],
    ],
  },
  'all tokens to one expert': { experts: 3, choices: [[2], [2], [2], [2], [2]] },
  'one choice each': { experts: 7, choices: [[3], [0], [6], [3]] },
  'every expert each': {
    experts: 3,
    choices: [
      [0, 1, 2],
      [2, 1, 0],
      [1, 0, 2],
    ],
  },
  'one token': { experts: 4, choices: [[1, 3]] },
};

const choicesView = (choices: readonly (readonly number[])[]) =>
  viewOf(BigInt64Array.from(choices.flat(), BigInt), [choices.length, choices[0]!.length]);

/** Σ_k weight[n, k] · silu(x[n] w[expert(n, k)]). */
function mixture(b: GraphBuilder, t: Readonly<Record<string, Tensor>>, experts: number): Tensor {
  const tables = dispatchTables(b, t.choices!, experts);
  const y = collectRows(b, b.silu(b.groupedMatmul(dispatchRows(b, t.x!, tables), t.w!, tables.load)), tables);
  const [tokens, perToken] = t.choices!.shape;
  return b.reduceSum(b.mul(y, b.reshape(t.weight!, [tokens!, perToken!, 1])), 1);
}

test.each(Object.entries(layouts))('%s', async (name, { experts, choices }) => {
  const [tokens, perToken] = [choices.length, choices[0]!.length];
  const result = await checkCase(name, {
    params: { x: [tokens, 3], w: [experts, 3, 5], weight: [tokens, perToken] },
    inputs: { choices: choicesView(choices) },
    build: (b, t) => mixture(b, t, experts),
  });
  expect(result.gradientError).toBeLessThan(1e-6);
  expect(result.runtimeError).toBeLessThan(5e-6);
});

test('the result is the plain sum over choices, whatever the loads of the run', async () => {
  const b = new GraphBuilder();
  const shapes = { x: [6, 3], w: [4, 3, 5], weight: [6, 2] };
  const t = Object.fromEntries(Object.entries(shapes).map(([key, shape]) => [key, b.param(key, shape)]));
  const choices = b.input('choices', [6, 2], 'i64');
  b.output('y', mixture(b, { ...t, choices }, 4));
  b.output('load', dispatchTables(b, choices, 4).load);
  const session = await openSession(b.build(), { threads: 2 });
  const feeds = Object.fromEntries(
    Object.entries(shapes).map(([key, shape]) => [key, seededFloats(shape, key, [-1, 1])]),
  );
  const at = (key: string, i: number): number => Number(feeds[key]!.data[i]);
  for (const picked of [
    [
      [0, 1],
      [2, 3],
      [0, 2],
      [1, 3],
      [3, 0],
      [2, 1],
    ],
    [
      [1, 0],
      [1, 2],
      [1, 3],
      [1, 0],
      [1, 2],
      [1, 3],
    ],
  ]) {
    const { y, load } = await session.run({ ...feeds, choices: choicesView(picked) });
    picked.forEach((row, n) => {
      for (let j = 0; j < 5; j++) {
        const expected = row.reduce((sum, expert, k) => {
          const z = [0, 1, 2].reduce((dot, i) => dot + at('x', n * 3 + i) * at('w', (expert * 3 + i) * 5 + j), 0);
          return sum + (at('weight', n * 2 + k) * z) / (1 + Math.exp(-z));
        }, 0);
        expect(y!.data[n * 5 + j], `token ${n}, column ${j}`).toBeCloseTo(expected, 5);
      }
    });
    const counts = [0, 1, 2, 3].map((expert) => picked.flat().filter((choice) => choice === expert).length);
    expect([...load!.data].map(Number)).toEqual(counts);
  }
  await session.release();
});

test('no float is scattered', () => {
  const b = new GraphBuilder();
  const [x, w, weight] = [b.param('x', [6, 3]), b.param('w', [4, 3, 5]), b.param('weight', [6, 2])];
  const loss = b.reduceSum(mixture(b, { x, w, weight, choices: b.input('choices', [6, 2], 'i64') }, 4));
  for (const [i, gradient] of gradients(b, loss, [x, w, weight]).entries()) b.output(`d${i}`, gradient);
  const scatters = b.build().nodes.filter(({ op, outputs }) => op === 'scatterElements' && outputs[0]!.dtype === 'f32');
  expect(scatters).toEqual([]);
});
