/** @file Fleets on a virtual clock: one seed one journal, faults, fairness, goodput; and that the plan agrees with the simulator. */
import { describe, expect, it } from 'vitest';
import { nativeEquation } from '../src/cli/native-ed25519.ts';
import { indexesOf } from '../src/journal/indexes.ts';
import { planRun } from '../src/plan/plan.ts';
import { type Fleet, fleetSchema, parseFleet } from '../src/simulate/fleet/fleet-file.ts';
import { type FleetOutcome, fleetOutcome } from '../src/simulate/fleet/fleet-outcome.ts';
import { FleetRun, type FleetRunOptions } from '../src/simulate/fleet/fleet-run.ts';
import { goodputFleet, goodputResult, publishedRows } from '../src/simulate/fleet/goodput.ts';

const run = {
  ...{ preset: 'tiny', sequenceLength: 256, batchSequences: 16, fragments: 4, innerSteps: 4 },
  ...{ graceSeconds: [1, 5], deadlineSeconds: 60, leaseSequences: 4_096, leaseSeconds: 120, stateRootEverySteps: 8 },
  ...{ blockSeconds: 2, tempoBlocks: 180, auditAnswerSeconds: 60 },
} as const;
const machine = { kind: 'machine', count: 4, tokensPerSecond: 1_000, upMbps: 100, downMbps: 100 };
const fleetOf = (changes: object): Fleet =>
  fleetSchema.parse({
    ...{ name: 'test', machines: [machine], run },
    validators: { count: 3, tokensPerSecond: 10_000, checkSeconds: 0.5 },
    ...changes,
  });

/** Everything that the schema knows goes wrong. */
const troubled = fleetOf({
  machines: [
    { ...machine, spread: 10, failuresADay: 40, restartSeconds: 60, lossRate: 0.1, site: 'a' },
    { ...machine, kind: 'evening', count: 3, hoursADay: 20, slowdownsADay: 50, slowdownMinutes: 3, site: 'b' },
    {
      ...machine,
      kind: 'guest',
      count: 2,
      joinEveryHours: 0.1,
      leaveAfterHours: 0.2,
      stallsADay: 900,
      stallSeconds: 20,
    },
  ],
  faults: { partitionsADay: 100, partitionMinutes: 1, siteLossesADay: 100, siteLossMinutes: 2 },
});

interface Ran {
  readonly fleet: FleetRun;
  readonly outcome: FleetOutcome;
  readonly lines: readonly string[];
}

function simulate(fleet: Fleet, hours: number, options: Partial<FleetRunOptions> = {}): Ran {
  const lines: string[] = [];
  const made = new FleetRun({
    ...{ fleet, hours, seed: '1', mode: 'stub', equation: nativeEquation, onLine: (line) => lines.push(line) },
    ...options,
  });
  made.run();
  const about = { command: '', name: fleet.name, about: '', seed: '1', hours, notes: [] };
  return { fleet: made, outcome: fleetOutcome(made, about), lines };
}

describe('a fleet on a virtual clock', () => {
  it('goes on alike without the claims that are over', () => {
    const [kept, forgot] = [true, false].map((keepsClaims) => simulate(troubled, 0.5, { keepsClaims }));
    expect(forgot!.lines.join('\n') === kept!.lines.join('\n')).toBe(true);
    const sizeOf = ({ fleet }: Ran): number => fleet.journal.run.claims.size;
    expect(sizeOf(forgot!)).toBeGreaterThan(0);
    expect(sizeOf(forgot!)).toBeLessThan(sizeOf(kept!) / 2);
  });

  it('audits the learners of one hotkey side by side, and one of them at a time, so that slow links are paid', () => {
    // Two states of tiny take two minutes at this uplink, and three audits one after another more than a tempo of six.
    const slow = { ...machine, upMbps: 0.3, learnersPerHotkey: 4 };
    const { fleet, outcome } = simulate(
      fleetOf({ machines: [slow], run: { ...run, auditsPerTempo: 3, auditAnswerSeconds: 240, revealSeconds: 120 } }),
      0.8,
    );
    const { audits } = fleet.journal.run;
    const ended = [...audits.values()].filter(({ settledAtMs }) => settledAtMs !== null);
    expect(ended.length).toBeGreaterThan(9);
    const together = ended.flatMap((a) =>
      ended.filter((b) => b.id > a.id && b.openedAtMs < a.settledAtMs!).map((b) => a.learner === b.learner),
    );
    expect(together.length).toBeGreaterThan(2);
    expect(together.filter((isSame) => isSame)).toEqual([]);
    expect(ended.filter(({ status }) => status !== 'passed')).toEqual([]);
    const [earner] = outcome.fairness.earners;
    expect(outcome.fairness.earners).toHaveLength(1);
    expect(earner!.temposToFirstPay).toBeLessThanOrEqual(3);
  });

  it('gives one journal for one seed, byte for byte, whatever goes wrong, and another for another', () => {
    const [first, again, other] = [
      simulate(troubled, 0.5),
      simulate(troubled, 0.5),
      simulate(troubled, 0.1, { seed: '2' }),
    ];
    expect(first.lines.join('\n') === again.lines.join('\n')).toBe(true);
    expect(JSON.stringify(first.outcome)).toBe(JSON.stringify(again.outcome));
    expect(other.outcome.headHash).not.toBe(first.outcome.headHash);
    const { faults, journalBytes } = first.outcome;
    for (const [fault, count] of Object.entries(faults)) expect(count, fault).toBeGreaterThan(0);
    expect(journalBytes).toBe(first.lines.reduce((sum, line) => sum + Buffer.byteLength(line) + 1, 0));
  });

  it('keeps the indexes beside the state as they would be made anew', () => {
    const { run: state } = simulate(troubled, 0.3).fleet.journal;
    const plain = (of: ReturnType<typeof indexesOf>) => ({
      open: Object.values(of.open).map((ids) => [...ids].sort()),
      accepted: [...of.accepted]
        .filter(([, { claims }]) => claims.size > 0)
        .map(([f, each]) => [f, [...each.claims].sort(), [...each.learners].sort()])
        .sort(),
      learners: [...of.learners].map(([hotkey, own]) => [hotkey, own.map(({ id }) => id)]).sort(),
      untrained: [...of.untrained],
    });
    expect(plain(indexesOf(state))).toEqual(plain(indexesOf({ ...state })));
  });

  it('signs and checks every entry where it is asked to', () => {
    const signed = simulate(fleetOf({}), 0.1, { mode: 'real' });
    expect(signed.outcome.claims.merged).toBeGreaterThan(0);
    expect(signed.outcome.refusals).toEqual({});
  });

  it('pays work by tokens, over a factor of 100 in speed, and what a freeloader claims not at all', () => {
    const fleet = fleetOf({ machines: [{ ...machine, count: 7, tokensPerSecond: 6_000, spread: 100 }] });
    const honest = simulate(fleet, 1.2).outcome;
    const fair = honest.fairness.earners.map(({ fairness }) => fairness!);
    expect(Math.min(...fair)).toBeGreaterThan(0.9);
    expect(Math.max(...fair)).toBeLessThan(1.1);
    expect(honest.squareRule.effectiveEarners).toBeLessThan(honest.fairness.effectiveEarners);
    for (const { temposToFirstPay } of honest.fairness.earners) expect(temposToFirstPay).toBeLessThanOrEqual(2);
    const { outcome, fleet: cheated } = simulate(fleet, 0.25, { freeloaders: 1 });
    const cheat = cheated.miners.find(({ options }) => options.isFreeloader)!.options.hotkey.hotkey;
    expect(outcome.audits.failed).toBeGreaterThan(0);
    expect(outcome.fairness.earners.find(({ hotkey }) => hotkey === cheat)!.paidShare).toBe(0);
  });

  it('has at least the goodput of the published row of eight learners', () => {
    const row = publishedRows.find(({ chips, learners }) => chips === 1.2e6 && learners === 8)!;
    const { outcome } = simulate(goodputFleet(row), 1);
    const { ours, uptime } = goodputResult(row, outcome);
    expect(ours).toBeGreaterThanOrEqual(row.published);
    expect(ours).toBeLessThan(96);
    expect(uptime).toBeGreaterThan(99);
  });
});

describe('a plan', () => {
  it('agrees with the simulator: merged tokens within 10 %, claims, outer steps and entries within 35 %', () => {
    const hours = 0.5;
    const fleet = fleetOf({
      machines: [{ ...machine, count: 6, tokensPerSecond: 4_000, spread: 4 }],
    });
    const { fleet: ran, outcome } = simulate(fleet, hours, { tickMs: 100 });
    const plan = planRun(ran.manifest, fleet, '', []);
    const ratio = (simulated: number, aDay: number) => simulated / ((aDay * hours) / 24);
    const near = (value: number, tolerance: number, what: string) => {
      expect(value, what).toBeGreaterThan(1 - tolerance);
      expect(value, what).toBeLessThan(1 + tolerance);
    };
    near(ratio(outcome.mergedTokens, plan.tokensADay), 0.1, 'tokens');
    near(ratio(outcome.claims.committed, plan.kinds[0]!.claimsADay * 6), 0.35, 'claims');
    near(ratio(outcome.merges, 86_400 / plan.outerStepSeconds), 0.35, 'outer steps');
    near(ratio(outcome.events, plan.journal.eventsADay), 0.35, 'entries');
    near(ratio(outcome.journalBytes, plan.journal.bytesADay), 0.35, 'bytes');
  });

  it('says what shuts a machine out', () => {
    const fleet = fleetOf({ machines: [{ ...machine, upMbps: 0.0001 }] });
    const plan = planRun(simulate(fleetOf({}), 0.01).fleet.manifest, fleet, '', []);
    expect(plan.phases[0]!.endDays).toBeNull();
    expect(plan.limits[0]).toBe('no machine of the fleet can take part');
    expect(plan.sensitivities[0]!.timeFactor).toBeNull();
  });
});

describe('a fleet’s file', () => {
  it('is refused with the field that is wrong', () => {
    const base = { name: 'f', machines: [machine] };
    expect(parseFleet(base)).toHaveProperty('fleet');
    const faults: [object, RegExp][] = [
      [{ ...base, machines: [] }, /^machines: /],
      [{ ...base, machines: [{ ...machine, hoursADay: 25 }] }, /^machines\.0\.hoursADay: /],
      [{ ...base, machines: [{ ...machine, tokensPerSecond: undefined }] }, /needs tokensPerSecond or an accelerator/],
      [
        { ...base, machines: [{ ...machine, tokensPerSecond: undefined, accelerator: 'abacus' }] },
        /no accelerator is called abacus/,
      ],
      [{ ...base, more: 1 }, /more/],
    ];
    for (const [json, expected] of faults) {
      const parsed = parseFleet(json);
      expect('fault' in parsed && parsed.fault).toMatch(expected);
    }
  });
});
