/** @file The builder: shapes, sharing, dead code, and what it refuses. */
import { expect, test } from 'vitest';
import { EngineError } from './errors.ts';
import { gradients } from './grad.ts';
import { GraphBuilder } from './graph.ts';
import { emitOnnx } from './onnx.ts';

const codeOf = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    if (error instanceof EngineError) return error.code;
    throw error;
  }
  return 'no error';
};

test('equal subexpressions and constants are one node', () => {
  const b = new GraphBuilder();
  const x = b.param('x', [3, 5]);
  expect(b.exp(b.add(x, 1))).toBe(b.exp(b.add(x, 1)));
  expect(b.constant(Float32Array.of(1, 2))).toBe(b.constant(Float32Array.of(1, 2)));
  expect(b.constant(Float32Array.of(1, 2))).not.toBe(b.constant(Float32Array.of(1, 3)));
  expect(b.constant(Float32Array.of(1, 2), [2, 1])).not.toBe(b.constant(Float32Array.of(1, 2), [1, 2]));
  expect(b.clamp(x, 0, Number.POSITIVE_INFINITY)).not.toBe(b.clamp(x, 0, 1));
});

test('what no output needs is dropped, and with it the inputs', () => {
  const b = new GraphBuilder();
  const x = b.param('x', [3]);
  b.exp(b.param('unneeded', [3]));
  b.output('y', b.neg(x));
  const graph = b.build();
  expect(graph.nodes.map(({ op }) => op)).toEqual(['param', 'neg']);
  expect([...graph.inputs.keys()]).toEqual(['x']);
  expect([...graph.declared]).toEqual(['x', 'unneeded']);
});

test('elementwise operands are not expanded first', () => {
  const b = new GraphBuilder();
  const x = b.param('x', [3, 5]);
  b.output('dx', gradients(b, b.reduceSum(b.mul(x, b.constant(2, [3, 5]))), [x])[0]!);
  b.output('y', b.mul(x, b.expand(b.input('row', [5]), [3, 5])));
  const ops = b.build().nodes.map(({ op }) => op);
  expect(ops.filter((op) => op === 'expand').length).toBe(1);
});

test('symbolic sizes flow through reshapes and products', () => {
  const b = new GraphBuilder();
  const x = b.input('x', ['batch', 'time', 8]);
  const y = b.matmul(x, b.param('w', [6, 8]), { transB: true });
  expect(y.shape).toEqual(['batch', 'time', 6]);
  expect(b.reshape(y, ['batch', 'time', 2, -1]).shape).toEqual(['batch', 'time', 2, 3]);
  expect(b.reshape(y, [-1, 6]).shape).toEqual(['batch*time', 6]);
  expect(b.concat([b.input('past', [4, 'past']), b.constant(0, [4, 1])], 1).shape).toEqual([4, '(past+1)']);
});

test('misfits are refused by code', () => {
  const b = new GraphBuilder();
  const x = b.param('x', [3, 5]);
  const i = b.input('i', [3], 'i64');
  const cases: Record<string, [string, () => unknown]> = {
    broadcast: ['SHAPE_MISMATCH', () => b.add(x, b.param('z', [4]))],
    inner: ['SHAPE_MISMATCH', () => b.matmul(x, x)],
    reshape: ['SHAPE_MISMATCH', () => b.reshape(x, [4, -1])],
    axis: ['SHAPE_MISMATCH', () => b.reduceSum(x, 2)],
    slice: ['SHAPE_MISMATCH', () => b.slice(x, 1, 4, 9)],
    split: ['SHAPE_MISMATCH', () => b.split(x, 1, 2)],
    concat: ['SHAPE_MISMATCH', () => b.concat([x, b.param('w', [2, 4])], 0)],
    topK: ['SHAPE_MISMATCH', () => b.topK(x, 6)],
    symbol: ['SHAPE_MISMATCH', () => b.sizeOf('nowhere')],
    mixed: ['DTYPE_MISMATCH', () => b.add(b.reduceSum(x, 1), i)],
    ids: ['DTYPE_MISMATCH', () => b.gather(x, b.param('f', [2]))],
    mask: ['DTYPE_MISMATCH', () => b.where(i, 1, 2)],
    twice: ['DUPLICATE_NAME', () => b.param('x', [1])],
    loss: ['NO_GRADIENT', () => gradients(b, x, [x])],
  };
  for (const [name, [code, act]] of Object.entries(cases)) expect(codeOf(act), name).toBe(code);
});

test('a parameter that the loss does not use gets zeros', () => {
  const b = new GraphBuilder();
  const [x, z] = [b.param('x', [3]), b.param('z', [2, 2])];
  const dz = gradients(b, b.reduceSum(x), [z])[0]!;
  expect(dz.shape).toEqual([2, 2]);
  expect(dz.node.op).toBe('expand');
});

test('equal graphs give equal bytes', () => {
  const build = (): Uint8Array => {
    const b = new GraphBuilder();
    const x = b.param('x', [4, 3]);
    const loss = b.output('loss', b.reduceMean(b.square(b.rmsNorm(x, null, 1e-6))));
    b.output('dx', gradients(b, loss, [x])[0]!);
    return emitOnnx(b.build());
  };
  expect(build()).toEqual(build());
});
