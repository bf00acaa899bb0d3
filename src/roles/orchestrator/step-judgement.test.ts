/** @file What the syncer journals of audits and disputes, when; everything it decides is admitted by the fold. */
import { describe, expect, it } from 'vitest';
import type { Member } from '../../../tests/support/run-driver.ts';
import { testManifest } from '../../../tests/support/run-fixture.ts';
import { SyncerDriver } from '../../../tests/support/syncer-driver.ts';
import { auditCheckMs } from '../../journal/audits.ts';
import type { Audit } from '../../journal/state.ts';

/** State roots every 4 steps, two audits a tempo; the learners given work until each hotkey has an audit open. */
function audited(learners: readonly number[] = [0]): SyncerDriver {
  const { sync, audit } = testManifest();
  const driver = new SyncerDriver({
    sync: { ...sync, stateRootEverySteps: 4, leaseSequences: 48 },
    audit: { ...audit, perTempo: 2, window: 8 },
  });
  driver.start();
  const miners = learners.map((i) => driver.run.miners[i]!);
  driver.join(...miners);
  for (let i = 0; i < 12 && driver.run.state.openAudits.size < miners.length; i++) work(driver, ...miners);
  expect(driver.run.state.openAudits.size).toBe(miners.length);
  return driver;
}

/** Two more steps of each, merged. */
function work(driver: SyncerDriver, ...miners: readonly Member[]): void {
  driver.beat('validator', ...driver.run.validators);
  driver.beat('miner', ...miners);
  driver.wait(10);
  for (const miner of miners) driver.claim(miner);
  driver.publish();
}

const audits = ({ run }: SyncerDriver): Audit[] => [...run.state.audits.values()];

describe('audits', () => {
  it('are challenged as soon as there is a segment to draw, one of a hotkey at a time', () => {
    const driver = audited([0, 2]);
    expect(driver.refused).toEqual([]);
    const challenged = audits(driver).map(({ body, status }) => [body.hotkey, body.slot, status].join());
    const expected = [0, 2].map((i) => [driver.run.miners[i]!.hotkey.hotkey, 0, 'open'].join());
    expect(challenged.sort()).toEqual(expected.sort());
    for (const { lagBlocks } of audits(driver)) expect(lagBlocks).toBeLessThan(4);
  });

  it('are challenged of a learner that is silent too, and closed when no answer comes', () => {
    const driver = audited();
    const [audit] = audits(driver) as [Audit];
    driver.wait(4_000);
    expect(audit.status).toBe('open');
    driver.wait(4_000);
    expect(audit).toMatchObject({ status: 'failed', code: 'UNANSWERED' });
    driver.beat('validator', ...driver.run.validators);
    driver.blocks(5);
    expect(audits(driver)).toHaveLength(1);
    expect(driver.refused).toEqual([]);
  });

  it('that were answered and not judged are closed, and drawn again', () => {
    const driver = audited();
    const [audit] = audits(driver) as [Audit];
    expect(driver.run.answer(audit)?.outcome).toBe('accept');
    driver.tell();
    const [miner] = driver.run.miners as [Member];
    for (let i = 0; i < 2; i++) work(driver, miner);
    driver.wait(auditCheckMs(driver.run.state));
    expect(audit.status).toBe('unchecked');
    driver.beat('validator', ...driver.run.validators);
    driver.wait(1);
    expect(audits(driver).map(({ body }) => body.slot)).toEqual([0, 0]);
  });

  it('the second one waits for its slot', () => {
    const driver = audited();
    const [audit] = audits(driver) as [Audit];
    driver.run.answer(audit);
    driver.tell();
    while (audit.status === 'answered') {
      driver.run.redo(audit, 'pass');
      driver.tell();
    }
    const [miner] = driver.run.miners as [Member];
    for (let i = 0; i < 6 && audits(driver).length < 2; i++) work(driver, miner);
    const { slot, tempo, block } = audits(driver)[1]!.body;
    const isSameTempo = tempo === audit.body.tempo;
    expect(slot).toBe(isSameTempo ? 1 : 0);
    // After a third of the tempo's ten blocks.
    if (isSameTempo) expect(block).toBeGreaterThanOrEqual(driver.run.state.tempo.block + 3);
    expect(driver.refused).toEqual([]);
  });

  it('after a restart have their whole term again', () => {
    const driver = audited();
    const [audit] = audits(driver) as [Audit];
    driver.run.nowMs += 60_000;
    driver.restart();
    driver.wait(1);
    expect(audit.status).toBe('open');
    driver.wait(5_000);
    expect(audit.status).toBe('failed');
  });

  it('are none once the run ends, or where nobody could judge', () => {
    const driver = audited();
    const before = audits(driver).length;
    driver.wait(20_000); // validators have gone silent, the open audit fails
    driver.run.state.learners.get(driver.run.miners[0]!.id)!.isSilent = false;
    driver.blocks(3);
    expect(audits(driver)).toHaveLength(before);
    driver.dispatch({ kind: 'stop' });
    driver.beat('validator', ...driver.run.validators);
    driver.blocks(3);
    expect(audits(driver)).toHaveLength(before);
  });
});

describe('disputes', () => {
  it('are closed when the jury has had its time, also over a restart', () => {
    const driver = new SyncerDriver();
    driver.start();
    const [miner] = driver.run.miners;
    driver.join(miner!);
    driver.wait(1);
    const claim = driver.commit(miner!);
    driver.reveal(claim);
    driver.blocks(2);
    driver.run.verdict(claim, 0);
    driver.tell();
    driver.run.verdict(claim, 2);
    driver.tell();
    expect(claim.dispute).toMatchObject({ closedAtMs: null });
    driver.run.nowMs += 39_000;
    driver.restart();
    driver.wait(2_000);
    expect(claim.dispute!.closedAtMs).toBeNull();
    driver.wait(40_000);
    expect(claim).toMatchObject({ status: 'refused', code: 'DISAGREED' });
    expect(driver.refused).toEqual([]);
  });
});
