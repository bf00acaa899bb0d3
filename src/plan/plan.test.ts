/** @file Plans of the run of ten trillion tokens: figures by hand, what audits ask of links, what memory and term shut out. */
import { describe, expect, it } from 'vitest';
import { templates } from '../roles/run-templates.ts';
import { type Fleet, fleetSchema } from '../simulate/fleet/fleet-file.ts';
import { type Plan, planRun } from './plan.ts';
import { fileManifest, parseManifest } from './plan-manifest.ts';

const manifest = fileManifest(templates['quasar-10t']);
const parameters = 16_553_949_296;
const machine = { kind: 'server', count: 100, tokensPerSecond: 100_000, upMbps: 10_000, downMbps: 10_000 };
const fleetOf = (changes: object = {}, validators: object = {}): Fleet =>
  fleetSchema.parse({
    name: 'test',
    machines: [{ ...machine, ...changes }],
    validators: { count: 16, tokensPerSecond: 200_000, downMbps: 100_000, ...validators },
  });
const planOf = (changes: object = {}, validators: object = {}, stateFormat: 'exact' | 'rounded' = 'rounded'): Plan =>
  planRun(
    { ...manifest, audit: { ...manifest.audit, stateFormat } },
    fleetOf({ learnersPerHotkey: 4, ...changes }, validators),
    '',
    [],
  );

describe('a plan of quasar-10t', () => {
  it('comes to what a hand computes', () => {
    const plan = planOf();
    const tokensADay = 100 * 100_000 * 86_400;
    expect(plan.tokensADay).toBeCloseTo(tokensADay, -6);
    expect(plan.phases.map(({ endDays }) => endDays)).toEqual([
      expect.closeTo(5e12 / tokensADay, 3),
      expect.closeTo(1e13 / tokensADay, 3),
      expect.closeTo(1.01e13 / tokensADay, 1),
    ]);
    expect(plan.trainingBytes).toBe(16 * parameters);
    // Two codes of a byte, one of two, one of a half, and their scales; what the recipe freezes, a quarter of a hundredth, is not in them.
    expect(plan.stateBytes / ((4.5 + 16 / 256) * parameters)).toBeCloseTo(1, 2);
    // Five arrays of float32.
    expect(planOf({}, {}, 'exact').stateBytes / (20 * parameters)).toBeCloseTo(1, 2);
    const [kind] = plan.kinds;
    expect(kind!.joinSeconds).toBeCloseTo((32 * parameters) / 1e10, 0);
    // Three of a tempo of 72 minutes and a hotkey of four learners.
    expect(kind!.audits.countADay).toBeCloseTo(15, 3);
    expect(kind!.audits.bytesADay / (15 * 2 * plan.stateBytes)).toBeCloseTo(1, 6);
    expect(kind!.audits.answerSeconds).toBeCloseTo((2 * plan.stateBytes * 8) / 1e10, 3);
    expect(plan.validators.auditsADay).toBeCloseTo(1_500, 1);
    // One of three by two, a tenth of the others too.
    expect(plan.validators.replaysADay).toBeCloseTo(1_500 * (1 + 1.2 / 3), 1);
    expect(plan.validators.replaySecondsADay).toBeCloseTo((2_100 * 10 * 512 * 4_096) / 200_000, -1);
    expect(plan.paidTokensADay).toBe(plan.tokensADay);
  });

  it('says first that nobody is paid where no link carries the states of an audit in its term', () => {
    const plan = planOf({ upMbps: 1_000, learnersPerHotkey: 1 }, {}, 'exact');
    expect(plan.paidTokensADay).toBe(0);
    expect(plan.limits[0]).toMatch(/^nobody is paid/);
    expect(plan.limits[1]).toMatch(
      /^server: an audit asks for two states, 66\d GB: 88\.\d min at its 1 Gbit\/s, and 30 min are given/,
    );
    expect(plan.limits[2]).toMatch(
      /^server: audits ask for 39\.\d TB of states a day, and its uplink carries 10\.8 TB/,
    );
    // It sends what the link carries, no more.
    expect(plan.kinds[0]!.bytesUpADay).toBeCloseTo((86_400 * 1e9) / 8, -9);
    expect(plan.store.parts.auditStates).toBe(0);
    expect(plan.sensitivities[0]).toMatchObject({ paidShare: 1 });
  });

  it('says so too where validators cannot fetch and redo them in half a tempo', () => {
    const plan = planOf({}, { downMbps: 100 });
    expect(plan.paidTokensADay).toBe(0);
    expect(plan.limits[0]).toBe('nobody is paid: no validator redoes an audit in time');
  });

  it('says that pay is held where the last audit of a tempo is never over in time, and pays as much as validators redo', () => {
    // 151 GB take 20 minutes at 1 Gbit/s up, and as long down: three times that is more than a tempo of 72, if one machine answers all.
    const slow = { upMbps: 1_000, learnersPerHotkey: 1 };
    const held = planOf(slow, { downMbps: 1_000 });
    expect(held.paidTokensADay).toBe(0);
    expect(held.limits[1]).toMatch(
      /^server: an audit is answered in 20\.\d min and redone in 21\.\d min, and 24 min are left/,
    );
    expect(planOf({ ...slow, learnersPerHotkey: 4 }, { downMbps: 20_000, count: 64 }).paidTokensADay).toBe(
      held.tokensADay,
    );
    const few = planOf({}, { count: 1 });
    expect(few.paidTokensADay / few.tokensADay).toBeCloseTo(1 / few.validators.needed, 6);
    expect(few.limits.join('\n')).toContain('close unchecked');
  });

  it('says that a subnet has uids for so many hotkeys', () => {
    const crowd = planOf({ learnersPerHotkey: 1, count: 250 }).limits.join('\n');
    expect(crowd).toContain('a subnet has 256 uids: 250 hotkeys of miners and 16 validators want one');
    expect(planOf({ count: 250 }).limits.join('\n')).not.toContain('uids');
  });

  it('leaves out machines whose memory does not hold the training, unless their speed is known', () => {
    const card = { accelerator: 'rtx-4090', tokensPerSecond: undefined };
    const plan = planOf(card);
    expect(plan.phases[0]!.endDays).toBeNull();
    expect(plan.limits.join('\n')).toContain('24 GiB of memory');
    expect(planOf({ ...card, accelerators: 16 }).tokensADay).toBeGreaterThan(0);
    expect(planOf({ memoryGib: 24 }).tokensADay).toBe(0);
  });

  it('leaves out links that do not reveal a claim in time', () => {
    const plan = planOf({ upMbps: 5 });
    expect(plan.tokensADay).toBe(0);
    expect(plan.limits.join('\n')).toMatch(/a claim of 699 MB takes 18\.6 min to upload at 5 Mbit\/s/);
  });
});

it('takes a manifest, one in the event that holds it, and nothing else for one', () => {
  expect(parseManifest(manifest)).toEqual({ manifest });
  expect(parseManifest({ manifest })).toEqual({ manifest });
  expect(parseManifest({ ...manifest, codec: 'zip' })).toHaveProperty('fault');
  expect(parseManifest(templates.demo)).toBeNull();
});
