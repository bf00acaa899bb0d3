/** @file Orders over phases: no text twice before a source is used up, whatever the lengths and mixtures; one phase is as it was. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { buildOrder, sequenceAt } from './order.ts';
import { PhaseOrders, type PhaseText, windowSpans } from './phase-order.ts';

const seed = 'ab'.repeat(32);
const orders = (spanTokens: number, spans: Record<string, number>, phases: readonly PhaseText[]): PhaseOrders =>
  new PhaseOrders({ seed, spanTokens, spans: new Map(Object.entries(spans)), phases });

/** Tokens of a source that were drawn: `span × spanTokens + offset` of each unit of `unitTokens`. */
function* unitsOf(
  order: PhaseOrders,
  phases: readonly PhaseText[],
  cursors: readonly number[],
  { spanTokens, unitTokens }: { readonly spanTokens: number; readonly unitTokens: number },
): Generator<string> {
  for (const [phase, count] of cursors.entries())
    for (let position = 0; position < count; position++) {
      const { source, span, part, pass } = order.at(phase, position, cursors);
      const length = phases[phase]!.sequenceLength;
      for (let at = part * length; at < (part + 1) * length; at += unitTokens)
        yield `${source}/${pass}/${span * spanTokens + at}`;
    }
}

describe('orders of phases', () => {
  it('one phase is the order that runs have always had', () => {
    const mixture = { a: 2, b: 1 };
    const known = buildOrder({ seed, mixture, sequences: new Map(Object.entries({ a: 37, b: 11 })) });
    const order = orders(16, { a: 37, b: 11 }, [{ sequenceLength: 16, mixture }]);
    for (let position = 0; position < 300; position++) {
      const { source, sequenceIndex, pass } = sequenceAt(known, position);
      expect(order.at(0, position, []), `${position}`).toEqual({ source, span: sequenceIndex, part: 0, pass });
    }
  });

  it('a later phase of the same length goes on where the one before it ended', () => {
    const phases = [1, 2].map(() => ({ sequenceLength: 8, mixture: { a: 1 } }));
    const order = orders(8, { a: 100 }, phases);
    const drawn = [...Array(40).keys()].map((position) => order.at(0, position, [40, 60]).span);
    const then = [...Array(60).keys()].map((position) => order.at(1, position, [40, 60]).span);
    expect(new Set([...drawn, ...then]).size).toBe(100);
  });

  it('property: no token of a source is drawn twice in a pass, over any phases', () => {
    const phase = fc.record({
      sequenceLength: fc.constantFrom(2, 4, 8, 16),
      mixture: fc.constantFrom<Record<string, number>>({ a: 1 }, { a: 3, b: 1 }, { b: 1, c: 2 }, { a: 1, b: 1, c: 1 }),
    });
    const run = fc.record({
      phases: fc.array(fc.tuple(phase, fc.integer({ min: 0, max: 400 })), { minLength: 1, maxLength: 4 }),
      sizes: fc.tuple(...[1, 2, 3].map(() => fc.integer({ min: 1, max: 150 }))),
    });
    fc.assert(
      fc.property(run, ({ phases: drawn, sizes }) => {
        const phases = drawn.map(([text]) => text);
        const cursors = drawn.map(([, count]) => count);
        const order = orders(16, { a: sizes[0]!, b: sizes[1]!, c: sizes[2]! }, phases);
        const seen = new Set<string>();
        const twice: string[] = [];
        for (const unit of unitsOf(order, phases, cursors, { spanTokens: 16, unitTokens: 2 }))
          if (seen.size === seen.add(unit).size) twice.push(unit);
        expect(twice).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });

  it('leaves out less than two windows of a source at a change of length', () => {
    const phases = [
      { sequenceLength: 4, mixture: { a: 1 } },
      { sequenceLength: 16, mixture: { a: 1 } },
    ];
    const order = orders(16, { a: 10_000 }, phases);
    for (const drawn of [0, 1, 4, 127, 128, 129, 5_000]) {
      const start = order.startsOf(1, [drawn]).get('a')!;
      expect(start - drawn / 4, `${drawn}`).toBeGreaterThanOrEqual(0);
      expect(start - drawn / 4, `${drawn}`).toBeLessThan(windowSpans);
    }
  });

  it('sequences of one span are not neighbours in a batch', () => {
    const phases = [{ sequenceLength: 4, mixture: { a: 1 } }];
    const order = orders(16, { a: 1_000 }, phases);
    let together = 0;
    for (let i = 1; i < 4_000; i++) if (order.at(0, i, []).span === order.at(0, i - 1, []).span) together++;
    // 3 of the 127 others in a window: 95 expected.
    expect(together).toBeLessThan(160);
  });

  it('counts ten trillion tokens in two phases without a table, by samples and their inverse', () => {
    const spans = 10e12 / 32_768;
    const phases = [
      { sequenceLength: 4_096, mixture: { web: 7, code: 3 } },
      { sequenceLength: 32_768, mixture: { web: 1, code: 1 } },
    ];
    const order = orders(32_768, { web: Math.floor(spans * 0.7), code: Math.floor(spans * 0.7) }, phases);
    const cursors = [Math.floor(5e12 / 4_096), Math.floor(5e12 / 32_768)];
    const seen = new Set<string>();
    for (let i = 0; i < 2_000; i++)
      for (const phase of [0, 1]) {
        const { source, span, part, pass } = order.at(phase, Math.floor((cursors[phase]! * i) / 2_000), cursors);
        expect(pass, `${phase} ${i}`).toBe(0);
        const key = `${source}/${span}${phase === 0 ? `/${part}` : ''}`;
        expect(seen.has(key)).toBe(false);
        seen.add(key);
      }
    const first = order.startsOf(1, cursors);
    // Half a share less than a window past the end of what phase 0 drew, in spans.
    for (const [source, share] of Object.entries({ web: 0.7, code: 0.3 }))
      expect(Math.abs(first.get(source)! - (5e12 * share) / 32_768), source).toBeLessThan(windowSpans + 1);
  });
});
