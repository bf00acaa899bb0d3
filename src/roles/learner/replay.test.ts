/** @file Replays of a tiny run's segments: honest ones pass to the bit, and every kind of lie has its code. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { artifactOf } from '../../protocol/artifact.ts';
import { type Decimal, toDecimal } from '../../protocol/names.ts';
import type { TraceLine } from '../../protocol/trace.ts';
import { learningRateAt } from '../../training/schedule.ts';
import { nodeSha256 as hash } from '../../util/node-sha256.ts';
import type { AuditedSegment, ReplayFinding } from './audited-segment.ts';
import { Replayer } from './replay.ts';
import { TracedLearner } from './test-support.ts';
import { tinyRun } from './test-support-run.ts';

const machine = { threads: 1, device: 'cpu' } as const;
const run = tinyRun({});
let learner: TracedLearner;
/** From the join, and a later one. Both have claims; the second also take-ins. */
let first: AuditedSegment;
let second: AuditedSegment;

beforeAll(async () => {
  run.merge(1, []);
  learner = new TracedLearner(run, machine, 4);
  await learner.step();
  await learner.step();
  const claim = learner.claim(0);
  await learner.step();
  await learner.step();
  run.merge(0, [claim]);
  learner.takeIn(0);
  learner.claim(1);
  await learner.step();
  await learner.step();
  learner.claim(2, false);
  await learner.step();
  run.merge(2, []);
  learner.takeIn(2);
  await learner.step();
  first = learner.segment(8);
  second = learner.segment(12);
});
afterAll(async () => {
  await learner.learner.close();
  await replayer.close();
});

const replayer = new Replayer({ manifest: run.manifest, loaded: run.loaded, hash, ...machine });
const replay = (segment: AuditedSegment, isSameClass = true): Promise<ReplayFinding> =>
  replayer.replay(segment, { isSameClass, signal: AbortSignal.timeout(300_000) });

const withLine = (segment: AuditedSegment, i: number, changes: Partial<TraceLine>): AuditedSegment => ({
  ...segment,
  lines: segment.lines.with(i, { ...segment.lines[i]!, ...changes }),
});

/** Another last state, named by the trace as if it were the learner's. */
function withEnd(segment: AuditedSegment, change: (floats: Float32Array, bytes: Uint8Array) => void): AuditedSegment {
  const end = segment.end.slice();
  change(new Float32Array(end.buffer, 64), end);
  return { ...withLine(segment, 3, { stateRoot: artifactOf(end, hash).root }), end };
}

describe('Replayer', () => {
  it('passes what was done, from a join and from a state, with take-ins and claims', async () => {
    expect(first.steps).toEqual([4, 8]);
    expect(first.lines[0]!.start).toEqual([0, 1, 0, 0]);
    expect(first.end.byteLength).toBe(replayer.stateSizeBytes);
    for (const segment of [first, second])
      expect(await replay(segment)).toEqual({
        ...{ outcome: 'pass', code: 'OK', sentence: '' },
        measurements: { steps: 4, claims: 1, exact: 1 },
      });
    expect(second.lines.flatMap(({ takenIn }) => takenIn)).toEqual([
      [0, 1],
      [2, 1],
    ]);
    expect(second.lines.flatMap(({ claimed }) => claimed)).toEqual([
      [1, 1],
      [2, 2],
    ]);
  });

  it('refuses states that are not what the trace names', async () => {
    const { start, end } = second;
    const cases: [string, AuditedSegment, RegExp][] = [
      ['other bytes at the end', { ...second, end: start!.bytes }, /last state is not the \d+ bytes/],
      ['other bytes at the start', { ...second, start: { ...start!, bytes: end } }, /first state is not/],
      ['too few', { ...second, end: end.subarray(1) }, /last state is not/],
      ['not finite', withEnd(second, (floats) => floats.fill(Number.NaN, 7, 8)), /number 7 is not finite/],
      ['another version', withEnd(second, (_, bytes) => bytes.fill(0x39, 14, 15)), /version 1/],
      [
        'of another step',
        withEnd(second, (_, bytes) => bytes.fill(13, 16, 17)),
        /after step 13, the segment's is after 12/,
      ],
      ['steps never done', withEnd(second, (_, bytes) => bytes.fill(9, 24, 25)), /more steps than were done/],
      ['endless counter', withEnd(second, (_, bytes) => bytes.fill(0x7f, 24, 30)), /more steps|counter/],
    ];
    for (const [what, segment, sentence] of cases) {
      const finding = await replay(segment);
      expect(finding, what).toMatchObject({ outcome: 'fail', code: 'STATE' });
      expect(finding.sentence, what).toMatch(sentence);
    }
  });

  it('refuses a start that was never published, or where there was none', async () => {
    const cases: [string, AuditedSegment][] = [
      ['a version that never was', withLine(first, 0, { start: [0, 1, 0, 7] })],
      ['no start after the join', withLine(first, 0, { start: null })],
      ['a start without a join', withLine(second, 0, { start: [0, 0, 0, 0] })],
    ];
    for (const [what, segment] of cases)
      expect(await replay(segment), what).toMatchObject({ outcome: 'fail', code: 'START' });
  });

  it('refuses lines that cannot be, and steps that lead elsewhere', async () => {
    const line = second.lines[1]!;
    const [from, to] = line.sequences[0]!;
    const earlier = line.scheduleTokens - 4 * 16;
    // The warm-up of six steps is over.
    const rate = toDecimal(learningRateAt(run.manifest.phases[0]!.schedule, earlier));
    const cases: [string, AuditedSegment, RegExp][] = [
      [
        'a rate of its own',
        withLine(second, 1, { learningRate: '0.02' as Decimal }),
        /learning rate 0.02, the schedule gives/,
      ],
      [
        'a rounded rate',
        withLine(second, 1, { learningRate: toDecimal(Number(line.learningRate) * (1 + 2 ** -50)) }),
        /learning rate/,
      ],
      ['another position', withLine(second, 1, { scheduleTokens: line.scheduleTokens + 1 }), /schedule position/],
      ['no warm-up', { ...second, joinedAtStep: 2 }, /learning rate/],
      [
        'other data',
        withLine(second, 1, { sequences: [[from - 4, to - 4]], scheduleTokens: earlier, learningRate: rate }),
        /update|bits/,
      ],
      ["another's lease", withLine(second, 1, { leases: [99] }), /not this learner's/],
      ['a version that never was', withLine(second, 1, { takenIn: [[3, 5]] }), /never was/],
      ['a take-in left out', withLine(second, 0, { takenIn: [] }), /fragment 0/],
      ['a failed claim left out', withLine(second, 2, { claimed: [] }), /fragment 2/],
      ['a line too few', { ...second, lines: second.lines.slice(1) }, /expected 4 lines/],
      ['a parameter', withEnd(second, (floats) => void (floats[5]! += 1)), /update|bits/],
    ];
    for (const [what, segment, sentence] of cases) {
      const finding = await replay(segment);
      expect(finding, what).toMatchObject({ outcome: 'fail', code: 'REPLAY' });
      expect(finding.sentence, what).toMatch(sentence);
    }
  });

  it('refuses a claim that the redone steps do not give, or that the trace does not know', async () => {
    const [claim] = second.claims;
    const [other] = first.claims;
    const copied = { ...claim!, artifact: other!.artifact, bytes: other!.bytes };
    const bytes = claim!.bytes!.map((byte, i) => (i > claim!.bytes!.length / 2 ? -byte : byte));
    const turned = { ...claim!, bytes, artifact: artifactOf(bytes, hash) };
    const cases: [string, AuditedSegment, boolean][] = [
      ['of another fragment', { ...second, claims: [copied] }, true],
      ['of another fragment, other class', { ...second, claims: [copied] }, false],
      ['turned around', { ...second, claims: [turned] }, true],
      ['turned around, other class', { ...second, claims: [turned] }, false],
      ['unknown to the trace', { ...second, claims: [{ ...claim!, outerStep: 5 }] }, false],
      ['made elsewhere', { ...second, claims: [{ ...claim!, beforeStep: 9 }] }, false],
    ];
    for (const [what, segment, isSameClass] of cases)
      expect(await replay(segment, isSameClass), what).toMatchObject({ outcome: 'fail', code: 'CLAIM' });
  });

  it('measures between classes: the last bits may differ, the work may not', async () => {
    const n = run.model.plan.elementCount;
    const jitter = (floats: Float32Array): void => {
      for (let i = 0; i < n; i++) floats[i]! *= 1 + (i % 2 === 0 ? 1 : -1) * 2 ** -20;
    };
    const jittered = withEnd(second, jitter);
    expect(await replay(jittered, true)).toMatchObject({ outcome: 'fail', code: 'REPLAY' });
    const finding = await replay(jittered, false);
    expect(finding).toMatchObject({ outcome: 'pass', code: 'OK', measurements: { exact: 0, claims: 1 } });
    expect(finding.measurements.cosine).toBeGreaterThan(0.999);
    const before = new Float32Array(second.start!.bytes.slice().buffer, 64, n);
    const biases = run.model.plan.fragments.reduce((sum, { selectionBiasCount }) => sum + selectionBiasCount, 0);
    const cases: [string, AuditedSegment, RegExp][] = [
      ['no work', withEnd(second, (f) => f.set(before)), /its update/],
      ['twice the work', withEnd(second, (f) => scaleFrom(f, before)), /update/],
      ['no first moments', withEnd(second, (f) => f.fill(0, n, 2 * n)), /first moments/],
      [
        'great second moments',
        withEnd(second, (f) => void f.subarray(2 * n, 3 * n).forEach((v, i, all) => void (all[i] = 9 * v))),
        /second moments/,
      ],
      ['selection biases', withEnd(second, (f) => void f.subarray(3 * n, 3 * n + biases).fill(1)), /selection biases/],
      ['an anchor', withEnd(second, (f) => void (f[3 * n + biases]! += 1)), /anchor/],
      ['a residue', withEnd(second, (f) => f.fill(1, f.length - 100)), /residue/],
      ['a skipped step', withEnd(second, (_, bytes) => bytes.fill(7, 24, 25)), /optimiser steps/],
    ];
    for (const [what, segment, sentence] of cases) {
      const refused = await replay(segment, false);
      expect(refused, what).toMatchObject({ outcome: 'fail', code: 'REPLAY' });
      expect(refused.sentence, what).toMatch(sentence);
    }
  });

  it('ends with its signal', async () => {
    const signal = AbortSignal.abort(new Error('stop'));
    await expect(replayer.replay(first, { isSameClass: true, signal })).rejects.toThrow('stop');
  });
});

function scaleFrom(floats: Float32Array, start: Float32Array): void {
  start.forEach((value, i) => {
    floats[i] = value + 2 * (floats[i]! - value);
  });
}
