/** @file The miner's decisions: examples of each rule, and random lives that keep the invariants. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ArtifactRef } from '../../protocol/manifest.ts';
import type { Hash } from '../../protocol/names.ts';
import { countRanges, intersectRanges, isNormalRanges, type Range, unionRanges } from '../../util/ranges.ts';
import type { ClaimPlan, MinerEffect, MinerEvent, MinerRules, MinerState, TrainPlan } from './events.ts';
import { initialMinerState, stepMiner } from './step.ts';

const rules: MinerRules = {
  fragmentCount: 3,
  batchSequences: 4,
  innerStepsPerOuterStep: 2,
  joinWarmupSteps: 4,
  stateRootEverySteps: 5,
  leaseRetryMs: 1000,
};
const hash = (n: number): Hash => n.toString(16).padStart(64, '0') as Hash;
const artifact = (n: number): ArtifactRef => ({ root: hash(n), sizeBytes: 1 });

const newState = (): MinerState =>
  initialMinerState({ rules, innerSteps: 0, versions: [0, 0, 0], lastClaimedOuterStep: -1 });

type Sent<E> = E extends unknown ? Omit<E, 'nowMs'> : never;

/** Runs events through the step at a fixed time and collects the effects. */
function run(state: MinerState, events: readonly Sent<MinerEvent>[], nowMs = 0): [MinerState, MinerEffect[]] {
  const effects: MinerEffect[] = [];
  let next = state;
  for (const event of events) {
    const [after, more] = stepMiner(next, { ...event, nowMs } as MinerEvent);
    next = after;
    effects.push(...more);
  }
  return [next, effects];
}

const kinds = (effects: readonly MinerEffect[]): string[] => effects.map(({ kind }) => kind);
const lease = (id: number, range: Range, phase = 0): Sent<MinerEvent> => ({
  kind: 'lease-granted',
  lease: { lease: id, phase, range, scheduleTokens: [range[0] * 10, range[1] * 10] },
});
const trains = (effects: readonly MinerEffect[]): TrainPlan[] =>
  effects.flatMap((effect) => (effect.kind === 'train' ? [effect.plan] : []));
const claims = (effects: readonly MinerEffect[]): ClaimPlan[] =>
  effects.flatMap((effect) => (effect.kind === 'claim' ? [effect.plan] : []));
const done: Sent<MinerEvent> = { kind: 'step-done' };
const due = (outerStep: number): Sent<MinerEvent> => ({ kind: 'fragment-due', outerStep, fragment: outerStep % 3 });

describe('leases', () => {
  it('asks once on joining, trains on what comes, and asks again before it runs out', () => {
    const [joined, first] = run(newState(), [{ kind: 'joined' }, { kind: 'tick' }]);
    expect(kinds(first)).toEqual(['request-lease']);
    const [working, second] = run(joined, [lease(0, [0, 24])]);
    expect(kinds(second)).toEqual(['train']);
    const [, third] = run(working, [done, done, done]);
    expect(kinds(third)).toEqual(['train', 'train', 'request-lease', 'train']);
    expect(trains(third).map(({ sequences }) => sequences)).toEqual([[[4, 8]], [[8, 12]], [[12, 16]]]);
  });

  it('reads on over the border of two leases, and interpolates the schedule inside each', () => {
    const [, effects] = run(newState(), [{ kind: 'joined' }, lease(0, [0, 6]), done, lease(1, [40, 60]), done]);
    expect(trains(effects).map(({ sequences }) => sequences)).toEqual([
      [[0, 4]],
      [
        [4, 6],
        [40, 42],
      ],
      [[42, 46]],
    ]);
    expect(trains(effects).map(({ scheduleTokens }) => scheduleTokens)).toEqual([0, 40, 420]);
  });

  it('gives a rest too short for a batch back before another phase', () => {
    const [, effects] = run(newState(), [{ kind: 'joined' }, lease(0, [0, 6]), lease(1, [0, 20], 1), done]);
    expect(kinds(effects.slice(3))).toEqual(['return-lease', 'train']);
    expect(trains(effects).at(-1)).toMatchObject({ phase: 1, sequences: [[0, 4]] });
  });

  it('waits before it asks again after a refusal', () => {
    const [refused] = run(newState(), [{ kind: 'joined' }, { kind: 'lease-refused' }]);
    expect(run(refused, [{ kind: 'tick' }], 999)[1]).toEqual([]);
    expect(kinds(run(refused, [{ kind: 'tick' }], 1000)[1])).toEqual(['request-lease']);
  });

  it('claims nothing of a lease that was taken back before its steps were committed', () => {
    const [state] = run(newState(), [{ kind: 'joined' }, lease(0, [0, 8]), lease(1, [8, 40]), done, done]);
    const [, effects] = run(state, [{ kind: 'lease-ended', lease: 0 }, due(0), done]);
    expect(claims(effects)).toMatchObject([{ steps: [0, 3], sequences: [[8, 12]] }]);
  });
});

describe('claims', () => {
  it('claims the due fragment after enough inner steps, once an outer step', () => {
    const [state, early] = run(newState(), [{ kind: 'joined' }, lease(0, [0, 400]), due(0), done]);
    expect(claims(early)).toEqual([]);
    const [claimed, effects] = run(state, [done]);
    expect(claims(effects)).toEqual([
      { outerStep: 0, fragment: 0, baseVersion: 0, steps: [0, 2], phase: 0, sequences: [[0, 8]] },
    ]);
    expect(claims(run(claimed, [due(0), done, done, done])[1])).toEqual([]);
  });

  it('starts each fragment where its last claim ended, and commits one at a time', () => {
    const committed = (outerStep: number): Sent<MinerEvent> => ({
      kind: 'claim-committed',
      outerStep,
      claim: hash(outerStep),
    });
    const [state] = run(newState(), [{ kind: 'joined' }, lease(0, [0, 400]), due(0), done, done]);
    const [blocked, none] = run(state, [due(1), done, done, done]);
    expect(claims(none)).toEqual([]);
    const [next, second] = run(blocked, [committed(0), done]);
    expect(claims(second)).toMatchObject([{ fragment: 1, steps: [0, 6], sequences: [[0, 24]] }]);
    const [, third] = run(next, [committed(1), due(3), done, done]);
    expect(claims(third)).toMatchObject([{ outerStep: 3, fragment: 0, steps: [2, 8], sequences: [[8, 32]] }]);
  });

  it('serves all fragments also where a slow learner always meets the same one', () => {
    for (const outerStepsAClaim of [3, 6, 4, 5]) {
      let [state] = run(newState(), [{ kind: 'joined' }, lease(0, [0, 400])]);
      const waits: number[] = [];
      for (let i = 0; i < 12; i++) {
        const [next, effects] = run(state, [due(i * outerStepsAClaim), done, done]);
        const [{ outerStep, fragment, steps }] = claims(effects) as [ClaimPlan];
        expect(fragment).toBe(outerStep % 3);
        waits.push(steps[1] - steps[0]);
        const committed = { kind: 'claim-committed' as const, outerStep, claim: hash(outerStep) };
        [state] = run(next, [committed, { kind: 'claim-revealed', claim: hash(outerStep) }]);
      }
      // Each of the three is claimed for every six steps in the mean, none waits for much longer.
      expect(Math.max(...waits), String(outerStepsAClaim)).toBeLessThanOrEqual(10);
      expect(state.innerSteps - Math.min(...state.claimedThrough), String(outerStepsAClaim)).toBeLessThanOrEqual(10);
    }
  });

  it('takes a fetched version in before it claims, and skips overtaken ones', () => {
    const published = (version: number): Sent<MinerEvent> => ({
      kind: 'fragment-published',
      fragment: 0,
      version,
      artifact: artifact(version),
    });
    const fetched = (version: number): Sent<MinerEvent> => ({ kind: 'fragment-fetched', fragment: 0, version });
    const [state, effects] = run(newState(), [{ kind: 'joined' }, lease(0, [0, 400]), published(1), published(2)]);
    expect(kinds(effects)).toEqual(['request-lease', 'train', 'fetch-fragment', 'fetch-fragment']);
    const [, after] = run(state, [fetched(1), done, fetched(2), due(0), done]);
    expect(kinds(after)).toEqual(['train', 'take-in', 'claim', 'train']);
    expect(claims(after)).toMatchObject([{ baseVersion: 2 }]);
  });

  it('names in the next step what was taken in and claimed, and takes nothing in on top of its claim', () => {
    const version = (fragment: number, version: number): Sent<MinerEvent>[] => [
      { kind: 'fragment-published', fragment, version, artifact: artifact(version) },
      { kind: 'fragment-fetched', fragment, version },
    ];
    // No lease is left after the second step: what comes then waits for the third.
    const [idle, early] = run(newState(), [{ kind: 'joined' }, lease(0, [0, 8]), done, done, due(0)]);
    expect(trains(early).map(({ start }) => start)).toEqual([[0, 0, 0], null]);
    expect(claims(early)).toMatchObject([{ fragment: 0 }]);
    const [waiting, waits] = run(idle, [...version(0, 1), ...version(1, 4), ...version(1, 5)]);
    expect(waits.filter(({ kind }) => kind === 'take-in')).toEqual([
      { kind: 'take-in', fragment: 1, version: 4 },
      { kind: 'take-in', fragment: 1, version: 5 },
    ]);
    const [training, next] = run(waiting, [lease(1, [8, 48])]);
    expect(trains(next)).toMatchObject([
      {
        start: null,
        takenIn: [
          [1, 4],
          [1, 5],
        ],
        claimed: [[0, 0]],
      },
    ]);
    const [, after] = run(training, [done]);
    expect(kinds(after)).toEqual(['take-in', 'train']);
    expect(trains(after)).toMatchObject([{ takenIn: [[0, 1]], claimed: [] }]);
  });

  it('stops the upload of a voided claim', () => {
    const [state] = run(newState(), [{ kind: 'joined' }, lease(0, [0, 400]), due(0), done, done]);
    const [, effects] = run(state, [
      { kind: 'claim-committed', outerStep: 0, claim: hash(7) },
      { kind: 'claim-voided', claim: hash(7) },
      { kind: 'claim-voided', claim: hash(7) },
    ]);
    expect(effects).toEqual([{ kind: 'abandon-claim', claim: hash(7) }]);
  });
});

describe('joining and leaving', () => {
  it('warms up over its own first steps and asks for state roots at multiples of S', () => {
    const [, effects] = run(newState(), [{ kind: 'joined' }, lease(0, [0, 400]), done, done, done, done, done]);
    expect(trains(effects).map(({ warmup }) => warmup)).toEqual([0.25, 0.5, 0.75, 1, 1, 1]);
    expect(trains(effects).map(({ withStateRoot }) => withStateRoot)).toEqual([
      false,
      false,
      false,
      false,
      true,
      false,
    ]);
  });

  it('ends the step and the open claim first, then returns its leases and leaves', () => {
    const [state] = run(newState(), [{ kind: 'joined' }, lease(0, [0, 400]), due(0), done, done]);
    const [waiting, none] = run(state, [{ kind: 'stop' }, done]);
    expect(none).toEqual([]);
    const [left, effects] = run(waiting, [
      { kind: 'claim-committed', outerStep: 0, claim: hash(1) },
      { kind: 'claim-revealed', claim: hash(1) },
      { kind: 'tick' },
    ]);
    expect(effects).toEqual([{ kind: 'return-lease', lease: 0 }, { kind: 'leave' }]);
    expect(left.kind).toBe('left');
  });
});

describe('random lives', () => {
  const anyEvent: fc.Arbitrary<Sent<MinerEvent> | 'grant' | 'commit' | 'reveal'> = fc.oneof(
    { weight: 6, arbitrary: fc.constant(done) },
    { weight: 3, arbitrary: fc.constant('grant' as const) },
    { weight: 3, arbitrary: fc.constant('commit' as const) },
    { weight: 2, arbitrary: fc.constant('reveal' as const) },
    { weight: 2, arbitrary: fc.nat(30).map(due) },
    { weight: 1, arbitrary: fc.constant<Sent<MinerEvent>>({ kind: 'lease-refused' }) },
    { weight: 1, arbitrary: fc.nat(5).map((id): Sent<MinerEvent> => ({ kind: 'lease-ended', lease: id })) },
    {
      weight: 1,
      arbitrary: fc.tuple(fc.nat(2), fc.nat(4)).map(
        ([fragment, version]): Sent<MinerEvent> => ({
          kind: 'fragment-published',
          fragment,
          version,
          artifact: artifact(version),
        }),
      ),
    },
  );

  it('never reads or claims a sequence twice, holds at most two leases, and commits in order', () => {
    fc.assert(
      fc.property(fc.array(anyEvent, { maxLength: 120 }), (script) => {
        let [state, effects] = run(newState(), [{ kind: 'joined' }]);
        const all = [...effects];
        let cursor = 0;
        let leases = 0;
        const claimedOf: Range[][] = [[], [], []];
        for (const word of script) {
          const event = translate(word, state, () => {
            const from = cursor;
            cursor += 10;
            return lease(leases++, [from, cursor]);
          });
          if (event === null) continue;
          [state, effects] = run(state, [event]);
          all.push(...effects);
          expect(state.leases.length).toBeLessThanOrEqual(2);
          expect(state.openClaims.filter(({ stage }) => stage === 'committing').length).toBeLessThanOrEqual(1);
        }
        const read = trains(all).flatMap(({ sequences }) => sequences);
        expect(countRanges(read)).toBe(countRanges(unionRanges(read, [])));
        for (const plan of trains(all)) expect(countRanges(plan.sequences)).toBe(4);
        for (const plan of claims(all)) {
          expect(isNormalRanges(plan.sequences)).toBe(true);
          expect(intersectRanges(claimedOf[plan.fragment]!, plan.sequences)).toEqual([]);
          claimedOf[plan.fragment] = unionRanges(claimedOf[plan.fragment]!, plan.sequences);
        }
      }),
      { seed: 7, numRuns: 300 },
    );
  });

  function translate(
    word: Sent<MinerEvent> | 'grant' | 'commit' | 'reveal',
    state: MinerState,
    grant: () => Sent<MinerEvent>,
  ): Sent<MinerEvent> | null {
    if (word === 'grant') return state.leaseRequest.kind === 'asked' ? grant() : null;
    if (word === 'commit') {
      const open = state.openClaims.find(({ stage }) => stage === 'committing');
      return open ? { kind: 'claim-committed', outerStep: open.outerStep, claim: hash(open.outerStep) } : null;
    }
    if (word === 'reveal') {
      const open = state.openClaims.find(({ claim }) => claim !== null);
      return open ? { kind: 'claim-revealed', claim: open.claim! } : null;
    }
    return word.kind === 'step-done' && !state.isStepping ? null : word;
  }
});
