/** @file Scans as loops give the bits of unrolled ones: a long scan against its two halves, each short enough to be unrolled. */
import { describe, expect, it } from 'vitest';
import { GraphBuilder } from './graph.ts';
import { openSession } from './session.ts';
import { seededFloats } from './test-support.ts';

const [B, N, C, D] = [2, 256, 4, 3];
const shapes = {
  U: [B, N, C, D],
  W: [B, N, C, D],
  K: [B, N, C, D],
  decay: [B, N, 1, D],
  update: [B, N, D, D],
  start: [B, D, D],
};

describe('a scan over many chunks', () => {
  it.each([false, true])('is the same bits as its halves one after the other, reversed: %s', async (reverse) => {
    const g = new GraphBuilder();
    const t = Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, g.input(name, shape)]));
    const half = (name: string, second: boolean) => g.slice(t[name]!, 1, second ? N / 2 : 0, second ? N : N / 2);
    const initial = t.start;
    const whole = {
      delta: g.deltaStateScan(t.U!, t.W!, t.K!, { initial, reverse }),
      diagonal: g.diagonalStateScan(t.decay!, t.update!, { initial, reverse }),
    };
    const order = reverse ? [true, false] : [false, true];
    let [deltaStart, diagonalStart] = [initial, initial];
    for (const second of order) {
      const part = g.deltaStateScan(half('U', second), half('W', second), half('K', second), {
        initial: deltaStart,
        reverse,
      });
      const other = g.diagonalStateScan(half('decay', second), half('update', second), {
        initial: diagonalStart,
        reverse,
      });
      [deltaStart, diagonalStart] = [part.final, other.final];
      const label = second ? 'late' : 'early';
      g.output(`${label}.delta.states`, part.states);
      g.output(`${label}.delta.residuals`, part.residuals);
      g.output(`${label}.diagonal.states`, other.states);
      if (second !== reverse) {
        g.output('half.delta.final', part.final);
        g.output('half.diagonal.final', other.final);
      }
    }
    g.output('delta.states', whole.delta.states);
    g.output('delta.residuals', whole.delta.residuals);
    g.output('delta.final', whole.delta.final);
    g.output('diagonal.states', whole.diagonal.states);
    g.output('diagonal.final', whole.diagonal.final);
    const session = await openSession(g.build());
    const feeds = Object.fromEntries(
      Object.entries(shapes).map(([name, shape]) => [name, seededFloats(shape, `scan ${name}`, [-0.6, 0.6])]),
    );
    const results = await session.run(feeds);
    await session.release();
    const floats = (name: string) => results[name]!.data as Float32Array;
    for (const name of ['delta.final', 'diagonal.final']) expect(floats(name)).toEqual(floats(`half.${name}`));
    for (const name of ['delta.states', 'delta.residuals', 'diagonal.states']) {
      const [all, early, late] = [floats(name), floats(`early.${name}`), floats(`late.${name}`)];
      const row = all.length / B;
      for (let b = 0; b < B; b++) {
        const halves = [early, late].map((part) => part.slice((b * row) / 2, ((b + 1) * row) / 2));
        expect([...all.slice(b * row, (b + 1) * row)], `${name} of row ${b}`).toEqual(
          halves.flatMap((part) => [...part]),
        );
      }
    }
  });
});
