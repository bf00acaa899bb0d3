/** @file A fleet's file changes what it names in the run's settings, for a trained run and for a simulated one alike, and nothing else. */
import { expect, it } from 'vitest';
import { runSettings } from '../../roles/run-presets.ts';
import { hotkeyOf } from './fleet-keys.ts';
import { syntheticManifest } from './run-manifest.ts';
import { withOverrides } from './run-overrides.ts';

const overrides = { revealSeconds: 90, verdictSeconds: 1_200, innerSteps: 7, gainShare: 0.125, auditWindow: 5 };

it('changes what the file names', () => {
  const { sync, evaluation, audit } = withOverrides(runSettings.tiny, overrides);
  expect(sync).toEqual({ ...runSettings.tiny.sync, revealMs: 90_000, verdictMs: 1_200_000, innerStepsPerOuterStep: 7 });
  expect(evaluation).toEqual({ ...runSettings.tiny.evaluation, gainShare: '0.125' });
  expect(audit).toEqual({ ...runSettings.tiny.audit, window: 5 });
});

it('changes nothing where the file names nothing', () => {
  expect(withOverrides(runSettings.nano, {})).toEqual(runSettings.nano);
});

it('is what a simulated run has too, whose quorum is a majority of its learners', () => {
  const run = {
    preset: 'tiny',
    owner: hotkeyOf('owner', 'stub').hotkey,
    seed: '1',
    createdAtMs: 1,
    learners: 9,
  } as const;
  const { sync, audit } = syntheticManifest({ ...run, overrides });
  expect(sync).toEqual({ ...withOverrides(runSettings.tiny, overrides).sync, quorum: 5 });
  expect(audit.window).toBe(5);
  expect(syntheticManifest({ ...run, overrides: { quorum: 3 } }).sync.quorum).toBe(3);
});
