/** @file Traces: the chain, the form, and what a claim may not say of its lines. */
import { describe, expect, it } from 'vitest';
import { utf8 } from '../util/bytes.ts';
import type { Range } from '../util/ranges.ts';
import { hashOfText } from './hash.ts';
import type { Decimal, LearnerId } from './names.ts';
import {
  checkTraceInterval,
  encodeTrace,
  maxTraceBytes,
  parseTrace,
  type TraceClaim,
  type TraceLine,
  traceGenesis,
  traceHeadAfter,
} from './trace.ts';

const line = (step: number, changes: Partial<TraceLine> = {}): TraceLine => ({
  step,
  leases: [3],
  sequences: [[step * 4, step * 4 + 4]],
  scheduleTokens: step * 100,
  learningRate: '0.003' as Decimal,
  start: step === 5 ? [1, 1, 0, 1] : null,
  takenIn: step === 6 ? [[1, 2]] : [],
  claimed: step === 6 ? [[2, 6]] : [],
  stateRoot: step === 7 ? hashOfText('root') : null,
  ...changes,
});
const lines = [
  line(5),
  line(6),
  line(7, {
    leases: [3, 4],
    sequences: [
      [28, 30],
      [40, 42],
    ],
  }),
];
const previousHead = traceGenesis(hashOfText('run'), 'hotkey/a' as LearnerId);
const ranges = new Map<number, Range>([
  [3, [0, 30]],
  [4, [40, 80]],
]);
const claim: TraceClaim = {
  lines: [5, 8],
  previousHead,
  head: traceHeadAfter(previousHead, lines),
  batchAt: () => 4,
  fragmentCount: 4,
  stateRootEverySteps: 8,
  leaseOf: (lease) => (ranges.has(lease) ? { phase: 0, range: ranges.get(lease)! } : null),
};

describe('a trace', () => {
  it('reads back from its bytes, and its head is bound to run, learner and order', () => {
    expect(parseTrace(encodeTrace(lines), 3)).toEqual({ ok: true, lines });
    expect(checkTraceInterval(lines, claim)).toBeNull();
    const other = traceGenesis(hashOfText('run'), 'hotkey/b' as LearnerId);
    expect(traceHeadAfter(other, lines)).not.toBe(claim.head);
    expect(traceHeadAfter(previousHead, lines.toReversed())).not.toBe(claim.head);
    const half = traceHeadAfter(previousHead, lines.slice(0, 2));
    expect(traceHeadAfter(half, lines.slice(2))).toBe(claim.head);
  });

  it('is not what the claim says if any line is', () => {
    const cases: [code: string, lines: TraceLine[]][] = [
      ['STEPS', lines.slice(1)],
      ['STEPS', [...lines, line(8)]],
      ['STEPS', lines.with(1, line(9))],
      ['CHAIN', lines.with(1, line(6, { scheduleTokens: 1 }))],
      ['CHAIN', lines.with(1, line(6, { takenIn: [] }))],
      ['CHAIN', lines.with(1, line(6, { claimed: [] }))],
      ['CHAIN', lines.with(0, line(5, { start: null }))],
      ['BATCH', lines.with(1, line(6, { sequences: [[24, 27]] }))],
      [
        'MALFORMED',
        lines.with(
          1,
          line(6, {
            sequences: [
              [24, 26],
              [25, 27],
            ],
          }),
        ),
      ],
      ['START', lines.with(1, line(6, { start: [1, 1, 1, 1] }))],
      ['START', lines.with(0, line(5, { start: [1, 1, 1] }))],
      ['VERSIONS', lines.with(1, line(6, { takenIn: [[1, 1]] }))],
      ['VERSIONS', lines.with(2, { ...lines[2]!, takenIn: [[1, 2]] })],
      ['VERSIONS', lines.with(1, line(6, { takenIn: [[4, 9]] }))],
      ['VERSIONS', lines.with(1, line(6, { claimed: [[1, 6]] }))],
      ['VERSIONS', lines.with(2, { ...lines[2]!, claimed: [[2, 6]] })],
      ['ROOT', lines.with(2, { ...lines[2]!, stateRoot: null })],
      ['ROOT', lines.with(1, line(6, { stateRoot: hashOfText('root') }))],
      ['NOT_LEASED', lines.with(1, line(6, { leases: [5] }))],
      ['NOT_LEASED', lines.with(1, line(6, { sequences: [[30, 34]] }))],
    ];
    for (const [code, changed] of cases) expect(checkTraceInterval(changed, claim), code).toMatchObject({ code });
  });

  it('is refused as bytes that are too many, too long or no lines', () => {
    const text = (body: string) => parseTrace(utf8(body), 3);
    expect(parseTrace(encodeTrace(lines), 2)).toMatchObject({ code: 'OVERSIZED' });
    expect(parseTrace(new Uint8Array(maxTraceBytes + 1), 3)).toMatchObject({ code: 'OVERSIZED' });
    expect(text('\n'.repeat(100_000))).toMatchObject({ code: 'OVERSIZED' });
    for (const body of ['{}\n', '\n', '[]', JSON.stringify(line(1)), `${JSON.stringify({ ...line(1), more: 1 })}\n`])
      expect(text(body), body).toMatchObject({ code: 'MALFORMED' });
    expect(parseTrace(Uint8Array.of(0xff, 0x0a), 3)).toMatchObject({ code: 'MALFORMED' });
    expect(text('')).toEqual({ ok: true, lines: [] });
  });
});
