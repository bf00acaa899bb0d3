/**
 * @file The manifest of a run that nobody trains: a preset's settings with what a fleet's file changes, and one shard of
 * bytes that do not exist. Everything that the fold and the steps read is there.
 */

import { toConfigJson } from '../../model/quasar-long/config.ts';
import { countParameters } from '../../model/quasar-long/contract.ts';
import { type PresetName, presetConfig } from '../../model/quasar-long/presets.ts';
import { hashOfText } from '../../protocol/hash.ts';
import { type ArtifactRef, manifestSchema, type RunManifest, rulesVersion } from '../../protocol/manifest.ts';
import type { Hotkey } from '../../protocol/names.ts';
import { contractHashOf, runSeedOf } from '../../roles/run-model.ts';
import { type RunPresetName, type RunSettings, runSettings } from '../../roles/run-presets.ts';
import { contractOf } from '../../training/recipe.ts';
import { canonicalJson } from '../../util/canonical-json.ts';
import type { RunOverrides } from './fleet-file.ts';
import { withOverrides } from './run-overrides.ts';

const noBytes = (label: string): ArtifactRef => ({ root: hashOfText(`simulated ${label}`), sizeBytes: 1 });

export interface SyntheticRun {
  readonly preset: PresetName;
  readonly overrides: RunOverrides;
  readonly owner: Hotkey;
  readonly seed: string;
  readonly createdAtMs: number;
  /** The quorum is a majority of them where the fleet's file says nothing else. */
  readonly learners: number;
}

/** The real one has settings of its own that no preset holds: 24 fragments, blocks of 12 s, tempos of 72 minutes. */
const settingsOf = (preset: PresetName): RunSettings =>
  runSettings[preset === 'quasar-preview' ? 'small' : (preset as RunPresetName)];

export function syntheticManifest(options: SyntheticRun): RunManifest {
  const { preset, overrides: o, learners } = options;
  const settings = withOverrides(settingsOf(preset), o);
  const { sequenceLength, targetTokens, schedule, ledger, sync, recipe, ...rest } = settings;
  return manifestSchema.parse({
    ...rest,
    ...unheldParts(preset, recipe),
    version: rulesVersion,
    name: 'simulated',
    ledger: {
      chainId: 'accrete-simulation',
      netuid: 1,
      tempoBlocks: ledger.tempoBlocks,
      blockMs: ledger.blockMs,
    },
    owner: options.owner,
    createdAtMs: options.createdAtMs,
    seed: runSeedOf(options.seed),
    phases: [
      {
        name: 'base',
        targetTokens,
        sequenceLength,
        mixture: { simulated: 1 },
        schedule,
      },
    ],
    recipe: { ...recipe, joinWarmupSteps: 0 },
    sync: { ...sync, quorum: o.quorum ?? Math.floor(learners / 2) + 1 },
  });
}

/** What a manifest names of a model and its text, without any bytes of either. */
export function unheldParts(
  preset: PresetName,
  recipe: RunManifest['recipe'],
): Pick<RunManifest, 'model' | 'tokenizer' | 'data'> {
  const config = presetConfig(preset);
  return {
    model: {
      preset,
      config: canonicalJson(toConfigJson(config)),
      contractHash: contractHashOf(contractOf(config, recipe)),
    },
    tokenizer: {
      artifact: noBytes('tokenizer'),
      configArtifact: noBytes('tokenizer config'),
      vocabSize: config.vocab_size,
    },
    data: {
      shards: [
        { source: 'simulated', artifact: noBytes('shard'), tokens: 1, licence: 'none: no bytes', stage: 'train' },
      ],
    },
  };
}

export const activeParametersOf = (preset: PresetName): number => countParameters(presetConfig(preset)).active;
