/** @file The case that breaks the inverse by products of powers: equal keys in a chunk, as repeated tokens give. */
import { expect, test } from 'vitest';
import { viewOf } from '../tensor/view.ts';
import { gradients } from './grad.ts';
import { GraphBuilder } from './graph.ts';
import { runReference } from './reference.ts';
import { openSession } from './session.ts';

test.each([16, 32, 64])('equal keys, write strength 0.95, chunks of %i', async (size) => {
  const b = new GraphBuilder();
  const L = b.param('L', [2, size, size]);
  const T = b.output('T', b.unitLowerTriangularInverse(L));
  b.output('dL', gradients(b, b.reduceSum(b.square(T)), [L])[0]!);
  const graph = b.build();
  // The upper triangle is not zero: it must not matter.
  const feeds = { L: viewOf(new Float32Array(2 * size * size).fill(0.95), [2, size, size]) };
  const exact = runReference(graph, feeds, { precision: 'f64' });
  const session = await openSession(graph);
  const got = await session.run(feeds);
  await session.release();
  for (const [name, { data }] of Object.entries(exact)) {
    const norm = Math.hypot(...Array.from(data as Float64Array));
    const error = Math.hypot(...Array.from(data as Float64Array, (value, i) => value - Number(got[name]!.data[i])));
    expect(error / norm, name).toBeLessThan(2e-6);
  }
});
