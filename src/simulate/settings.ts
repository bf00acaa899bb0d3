/**
 * @file The settings of a simulated run: those of preset tiny, with steps of a quarter of the size and shorter gain tests, so that a
 * run of some tempos takes about a minute, and tempos that are long enough for audits of each to be answered and redone.
 */
import type { RunManifest } from '../protocol/manifest.ts';
import type { Decimal } from '../protocol/names.ts';
import { type RunSettings, runSettings } from '../roles/run-presets.ts';

export type MergeRule = RunManifest['merge']['rule'];
export const mergeRules = [
  'mean',
  'rda',
  'trimmed-mean',
  'median',
  'centred-clip',
] as const satisfies readonly MergeRule[];

/** What `trimmed-mean` cuts off on either side. */
const trim = '0.2' as Decimal;

export function withMergeRule(settings: RunSettings, rule: MergeRule): RunSettings {
  const { trim: _, ...merge } = settings.merge;
  return { ...settings, merge: { ...merge, rule, ...(rule === 'trimmed-mean' ? { trim } : {}) } };
}

export const simulationSettings: RunSettings = {
  ...runSettings.tiny,
  // Epochs at the ends of whole tempos, so that so many tempos are paid by their end.
  ledger: { tempoBlocks: runSettings.tiny.ledger.tempoBlocks, blockMs: runSettings.tiny.ledger.blockMs },
  sequenceLength: 32,
  // Of tiny's 8,000: a run this short would be half over.
  schedule: { ...runSettings.tiny.schedule, warmupTokens: 500 },
  recipe: { ...runSettings.tiny.recipe, batchSequences: 2, joinWarmupSteps: 5 },
  sync: { ...runSettings.tiny.sync, leaseSequences: 64 },
  evaluation: { ...runSettings.tiny.evaluation, gainFirstClaims: 4, gainSequences: 4, heldOutSequences: 4 },
};

/** Longer tempos, in which slow miners do whole segments that are audited, as in a real one of 72 minutes. */
export const withLongTempos = (settings: RunSettings, factor = 2): RunSettings => ({
  ...settings,
  sync: { ...settings.sync, stateRootEverySteps: 4 },
  ledger: { ...settings.ledger, tempoBlocks: factor * settings.ledger.tempoBlocks },
});
