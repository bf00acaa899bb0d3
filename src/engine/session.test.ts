/** @file Sessions: feeds in place, equal bits on threads, run-time sizes, and what is refused. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type TensorView, viewOf, zeros } from '../tensor/view.ts';
import { EngineError } from './errors.ts';
import { gradients } from './grad.ts';
import { GraphBuilder } from './graph.ts';
import { runReference } from './reference.ts';
import { openSession, type Session, shareSessions } from './session.ts';
import { seededFloats } from './test-support.ts';

const rejectedCode = async (act: Promise<unknown>): Promise<string> => {
  const error = await act.then(
    () => null,
    (reason: unknown) => reason,
  );
  return error instanceof EngineError ? error.code : `${error}`;
};

const floats = (shape: readonly number[], seed: string): TensorView => seededFloats(shape, seed, [-1, 1]);

/** y = x wᵀ over free sizes batch and time. */
function freeSizes() {
  const b = new GraphBuilder();
  const x = b.input('x', ['batch', 'time', 4]);
  const y = b.matmul(b.silu(x), b.param('w', [6, 4]), { transB: true });
  b.param('unneeded', [1]);
  b.output('heads', b.transpose(b.reshape(y, ['batch', 'time', 2, 3]), [0, 2, 1, 3]));
  b.output('x', x);
  return b.build();
}

let session: Session;
beforeAll(async () => {
  session = await openSession(freeSizes());
});
afterAll(() => session.release());

test('free sizes are those of the feeds', async () => {
  for (const [batch, time] of [
    [2, 3],
    [1, 7],
  ] as const) {
    const feeds = { x: floats([batch, time, 4], 'x'), w: floats([6, 4], 'w') };
    const { heads } = await session.run(feeds, ['heads']);
    expect(heads!.shape).toEqual([batch, 2, time, 3]);
    const expected = runReference(freeSizes(), feeds, { precision: 'f32' }).heads!;
    expected.data.forEach((value, i) => {
      expect(heads!.data[i]).toBeCloseTo(Number(value), 5);
    });
  }
});

test('feeds may be views into WASM memory, and an input may be an output', async () => {
  const memory = new WebAssembly.Memory({ initial: 1 });
  const w = new Float32Array(memory.buffer, 256, 24).fill(0.5);
  const x = new Float32Array(memory.buffer, 1024, 4).fill(2);
  const results = await session.run({ x: viewOf(x, [1, 1, 4]), w: viewOf(w, [6, 4]) });
  expect([...(results.x!.data as Float32Array)]).toEqual([2, 2, 2, 2]);
  const silu = 2 / (1 + Math.exp(-2));
  expect(results.heads!.data[0]).toBeCloseTo(4 * 0.5 * silu, 5);
});

test('feeds that do not fit are refused by name', async () => {
  const good = { x: floats([1, 2, 4], 'x'), w: floats([6, 4], 'w') };
  const cases: Record<string, [string, Record<string, TensorView>]> = {
    missing: ['MISSING_FEED', { x: good.x }],
    unknown: ['UNKNOWN_FEED', { ...good, z: good.x }],
    shape: ['FEED_MISMATCH', { ...good, w: floats([4, 6], 'w') }],
    rank: ['FEED_MISMATCH', { ...good, x: floats([2, 4], 'x') }],
    dtype: ['FEED_MISMATCH', { ...good, w: zeros('i64', [6, 4]) }],
    short: ['FEED_MISMATCH', { ...good, w: viewOf(new Float32Array(5), [6, 4]) }],
  };
  for (const [name, [code, feeds]] of Object.entries(cases))
    expect(await rejectedCode(session.run(feeds)), name).toBe(code);
  expect(await rejectedCode(session.run(good, ['nothing']))).toBe('UNKNOWN_OUTPUT');
  expect((await session.run({ ...good, unneeded: floats([1], 'u') }, ['x'])).x!.shape).toEqual([1, 2, 4]);
});

test('a released session says so', async () => {
  const closing = await openSession(freeSizes());
  await closing.release();
  expect(await rejectedCode(closing.run({}))).toBe('SESSION_CLOSED');
});

test('two threads give the same bits twice, with repeated rows in the embedding', async () => {
  const b = new GraphBuilder();
  const [table, w, g] = [b.param('table', [61, 48]), b.param('w', [61, 48]), b.param('g', [48])];
  const x = b.rmsNorm(b.gather(table, b.input('ids', [512], 'i64')), g, 1e-6);
  const loss = b.reduceMean(b.crossEntropy(b.matmul(x, w, { transB: true }), b.input('labels', [512], 'i64')));
  b.output('loss', loss);
  for (const [i, gradient] of gradients(b, loss, [table, w, g]).entries()) b.output(`d${i}`, gradient);
  const graph = b.build();
  const ids = viewOf(
    BigInt64Array.from({ length: 512 }, (_, i) => BigInt((i * i) % 7)),
    [512],
  );
  const labels = viewOf(
    BigInt64Array.from({ length: 512 }, (_, i) => BigInt((i * 13) % 61)),
    [512],
  );
  const feeds = { table: floats([61, 48], 'table'), w: floats([61, 48], 'w'), g: floats([48], 'g'), ids, labels };
  const exact = runReference(graph, feeds, { precision: 'f64' });
  const first = await openSession(graph, { threads: 2 });
  const second = await openSession(graph, { threads: 2 });
  const runs = [await first.run(feeds), await first.run(feeds), await second.run(feeds)];
  await first.release();
  await second.release();
  for (const [name, { data }] of Object.entries(exact)) {
    for (const run of runs) expect(run[name]!.data, name).toEqual(runs[0]![name]!.data);
    data.forEach((value, i) => {
      expect(runs[0]![name]!.data[i], `${name}[${i}]`).toBeCloseTo(Number(value), 5);
    });
  }
});

/** Experts' matrices cross in parts: a feed that only grouped products read, and its gradient. */
function experts() {
  const b = new GraphBuilder();
  const W = b.param('W', [3, 4, 2]);
  const y = b.groupedMatmul(b.param('x', [5, 4]), W, b.input('sizes', [3], 'i64'));
  const loss = b.output('loss', b.reduceSum(b.square(y)));
  b.output('dW', gradients(b, loss, [W])[0]!);
  return b.build();
}

test('what `into` names is written there, without a copy and part by part; the rest is as ever', async () => {
  const sizes = viewOf(BigInt64Array.of(2n, 0n, 3n), [3]);
  const feeds = { x: floats([5, 4], 'x'), W: floats([3, 4, 2], 'W'), sizes };
  const target = viewOf(new Float32Array(new WebAssembly.Memory({ initial: 1 }).buffer, 64, 24).fill(7), [3, 4, 2]);
  const session = await openSession(experts());
  const copied = await session.run(feeds);
  const inPlace = await session.run(feeds, ['dW', 'loss'], { dW: target });
  const refused = session.run(feeds, ['dW'], { dW: viewOf(new Float32Array(12), [3, 2, 2]) });
  expect(await rejectedCode(refused)).toBe('SESSION_FAILED');
  await session.release();
  expect(inPlace.dW!.data).toBe(target.data);
  expect(target.data).toEqual(copied.dW!.data);
  expect(inPlace.loss).toEqual(copied.loss);
  const exact = runReference(experts(), feeds, { precision: 'f32' }).dW!.data as Float32Array;
  exact.forEach((value, i) => void expect(copied.dW!.data[i]).toBeCloseTo(value, 5));
});

test('constants are part of the session: copied, checked by name, not fed, and the results are the same', async () => {
  const feeds = { x: floats([2, 3, 4], 'x'), w: floats([6, 4], 'w') };
  const expected = await session.run(feeds, ['heads']);
  const w = viewOf((feeds.w.data as Float32Array).slice(), [6, 4]);
  const fixed = await openSession(freeSizes(), { constants: { w } });
  w.data.fill(0 as never);
  const { heads } = await fixed.run({ x: feeds.x }, ['heads']);
  await fixed.release();
  (expected.heads!.data as Float32Array).forEach((value, i) => void expect(heads!.data[i]).toBeCloseTo(value, 6));
  const wrong = { constants: { w: floats([4, 6], 'w') } };
  expect(await rejectedCode(openSession(freeSizes(), wrong))).toBe('FEED_MISMATCH');
});

test('WebAssembly computes what native code does but for the last bits, and writes where it is told', async () => {
  const b = new GraphBuilder();
  const x = b.input('x', [3, 5, 8]);
  const w = b.param('w', [6, 8]);
  const y = b.softmax(b.matmul(b.silu(x), w, { transB: true }));
  b.output('dw', gradients(b, b.reduceSum(b.square(y), [0, 1, 2], false), [w])[0]!);
  b.output('y', y);
  const graph = b.build();
  const feeds = { x: floats([3, 5, 8], 'x'), w: floats([6, 8], 'w') };
  const [native, portable] = await Promise.all([openSession(graph), openSession(graph, { device: 'wasm' })]);
  const into = { dw: zeros('f32', [6, 8]) };
  const results = await portable.run(feeds, ['dw', 'y'], into);
  expect(results.dw).toBe(into.dw);
  for (const [name, { data }] of Object.entries(await native.run(feeds)))
    data.forEach((value, i) => {
      expect(results[name]!.data[i], `${name} ${i}`).toBeCloseTo(Number(value), 5);
    });
  expect(await portable.run(feeds, ['y'])).toEqual({ y: results.y });
  await native.release();
  await portable.release();
});

test('the arithmetic of the thread that opened it keeps its subnormals', async () => {
  await session.run({ x: floats([1, 1, 4], 'x'), w: floats([6, 4], 'w') });
  const [single, double] = [Math.fround(2 ** -140), 2 ** -1060];
  const one = performance.now() > 0 ? 1 : 2;
  expect([single * one, double * one]).toEqual([2 ** -140, 2 ** -1060]);
  expect(new Float32Array([single])[0]! * one).toBeGreaterThan(0);
});

test('a shared session is open until the last of its users releases it', async () => {
  shareSessions(true);
  try {
    const feeds = { x: floats([2, 3, 4], 'x'), w: floats([6, 4], 'w') };
    const { heads: own } = await session.run(feeds, ['heads']);
    const [a, b] = await Promise.all([openSession(freeSizes()), openSession(freeSizes())]);
    const [ofA, ofB] = await Promise.all([a.run(feeds, ['heads']), b.run(feeds, ['heads'])]);
    expect([ofA.heads, ofB.heads]).toEqual([own, own]);
    await a.release();
    await a.release();
    expect(await rejectedCode(a.run(feeds))).toBe('SESSION_CLOSED');
    expect((await b.run(feeds, ['heads'])).heads).toEqual(own);
    await b.release();
    const again = await openSession(freeSizes());
    expect((await again.run(feeds, ['heads'])).heads).toEqual(own);
    await again.release();
  } finally {
    shareSessions(false);
  }
});
