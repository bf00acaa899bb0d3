/** @file The rules of the fold have a version: whoever changes what a journal folds to changes it too, or this test fails. */
import { describe, expect, it } from 'vitest';
import { DrivenRun } from '../../tests/support/run-driver.ts';
import { testManifest } from '../../tests/support/run-fixture.ts';
import { rulesVersion } from '../protocol/manifest.ts';
import { Rng } from '../util/rng.ts';
import { hashState } from './fold.ts';

function drive(validators: number): DrivenRun {
  const manifest = testManifest();
  const changes = {
    audit: { ...manifest.audit, perTempo: 3 },
    sync: { ...manifest.sync, stateRootEverySteps: 2 },
  };
  const run = new DrivenRun(changes, { validators });
  const rng = new Rng('rules');
  const draw = () => rng.uint32() % 1_000;
  for (let i = 0; i < 6_000; i++) run.do({ op: draw(), a: draw(), b: draw() });
  return run;
}

// With two validators juries tie, with five a failed audit has a committee that most of must decide.
describe.each([
  { validators: 2, hash: 'd5bae4519fc07e5cacc2c94249ab589a9a292143a3fb4db39010c77bb4a65170' },
  { validators: 3, hash: '99542c6d16a98c4340ea3a36570f7afcec7adc64564a37b55eb777231e8f7608' },
  { validators: 5, hash: '397f45865ddb69731b396a624a2c86b01df9731eeba8ee8296b7cdd11a2b4ab2' },
])('a run with $validators validators', ({ validators, hash }) => {
  it('folds the same commands to the same state as long as the version of the rules stays', () => {
    const { state } = drive(validators);
    const claims = [...state.claims.values()];
    const hotkeys = [...state.hotkeys.values()];
    const counts = {
      accepted: claims.filter(({ status }) => status === 'merged').length,
      refused: claims.filter(({ status }) => status === 'refused').length,
      disputes: claims.filter(({ dispute }) => dispute?.closedAtMs != null).length,
      audits: state.audits.size,
      forfeits: hotkeys.flatMap(({ forfeits }) => forfeits).length,
      releases: state.releases.length,
      tempos: state.tempo.index,
    };
    for (const [what, count] of Object.entries(counts)) expect(count, what).toBeGreaterThan(0);
    expect({ version: rulesVersion, state: hashState(state) }).toEqual({ version: 4, state: hash });
  });
});
