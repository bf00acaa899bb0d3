/** @file The rules of the fold have a version: whoever changes what a journal folds to changes it too, or this test fails. */
import { expect, it } from 'vitest';
import { DrivenRun } from '../../tests/support/run-driver.ts';
import { testManifest } from '../../tests/support/run-fixture.ts';
import { rulesVersion } from '../protocol/manifest.ts';
import { Rng } from '../util/rng.ts';
import { hashState } from './fold.ts';

it('folds the same commands to the same state as long as its version stays', () => {
  const manifest = testManifest();
  const run = new DrivenRun({
    audit: { ...manifest.audit, perTempo: 3 },
    sync: { ...manifest.sync, stateRootEverySteps: 2 },
  });
  const rng = new Rng('rules');
  const draw = () => rng.uint32() % 1_000;
  for (let i = 0; i < 6_000; i++) run.do({ op: draw(), a: draw(), b: draw() });
  // Each of the rules has had something to do.
  const { claims, audits, releases, tempo, hotkeys } = run.state;
  const forfeits = [...hotkeys.values()].flatMap((each) => each.forfeits);
  for (const count of [claims.size, audits.size, releases.length, tempo.index, forfeits.length])
    expect(count).toBeGreaterThan(0);
  expect({ version: rulesVersion, state: hashState(run.state) }).toEqual({
    version: 3,
    state: '4adc9cd2a90a683829e7a8fb6923365e6222d569f5ac9ef2bdcfa5cea8badd85',
  });
});
