/**
 * @file The manifest of a run that nobody trains: a preset's settings with what a fleet's file changes, and one shard of
 * bytes that do not exist. Everything that the fold and the steps read is there.
 */

import { toConfigJson } from '../../model/quasar-long/config.ts';
import { countParameters } from '../../model/quasar-long/contract.ts';
import { type PresetName, presetConfig } from '../../model/quasar-long/presets.ts';
import { hashOfText } from '../../protocol/hash.ts';
import { type ArtifactRef, manifestSchema, type RunManifest, rulesVersion } from '../../protocol/manifest.ts';
import { type Hotkey, toDecimal } from '../../protocol/names.ts';
import { contractHashOf, runSeedOf } from '../../roles/run-model.ts';
import { type RunPresetName, type RunSettings, runSettings } from '../../roles/run-presets.ts';
import { contractOf } from '../../training/recipe.ts';
import { canonicalJson } from '../../util/canonical-json.ts';
import type { RunOverrides } from './fleet-file.ts';

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
  const base = settingsOf(preset);
  const config = presetConfig(preset);
  const seconds = (value: number | undefined, otherwiseMs: number): number =>
    value === undefined ? otherwiseMs : Math.round(1_000 * value);
  const { sequenceLength, targetTokens, schedule, ledger, sync, recipe, audit, evaluation, release, ...rest } = base;
  const [graceMin, graceMax] = o.graceSeconds ?? [sync.grace.minMs / 1_000, sync.grace.maxMs / 1_000];
  return manifestSchema.parse({
    ...rest,
    version: rulesVersion,
    name: 'simulated',
    ledger: {
      chainId: 'accrete-simulation',
      netuid: 1,
      tempoBlocks: o.tempoBlocks ?? ledger.tempoBlocks,
      blockMs: seconds(o.blockSeconds, ledger.blockMs),
    },
    owner: options.owner,
    createdAtMs: options.createdAtMs,
    seed: runSeedOf(options.seed),
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
    phases: [
      {
        name: 'base',
        targetTokens: o.targetTokens ?? targetTokens,
        sequenceLength: o.sequenceLength ?? sequenceLength,
        mixture: { simulated: 1 },
        schedule,
      },
    ],
    recipe: { ...recipe, batchSequences: o.batchSequences ?? recipe.batchSequences, joinWarmupSteps: 0 },
    fragments: { count: o.fragments ?? rest.fragments.count },
    sync: {
      ...sync,
      innerStepsPerOuterStep: o.innerSteps ?? sync.innerStepsPerOuterStep,
      quorum: o.quorum ?? Math.floor(learners / 2) + 1,
      grace: { ...sync.grace, minMs: seconds(graceMin, 0), maxMs: seconds(graceMax, 0) },
      deadlineMs: seconds(o.deadlineSeconds, sync.deadlineMs),
      maxStaleness: o.maxStaleness ?? sync.maxStaleness,
      ...(o.revealSeconds === undefined ? {} : { revealMs: seconds(o.revealSeconds, 0) }),
      ...(o.verdictSeconds === undefined ? {} : { verdictMs: seconds(o.verdictSeconds, 0) }),
      leaseSequences: o.leaseSequences ?? sync.leaseSequences,
      leaseMs: seconds(o.leaseSeconds, sync.leaseMs),
      stateRootEverySteps: o.stateRootEverySteps ?? sync.stateRootEverySteps,
    },
    codec: o.codec ?? rest.codec,
    evaluation: {
      ...evaluation,
      gainShare: o.gainShare === undefined ? evaluation.gainShare : toDecimal(o.gainShare),
      committee: o.committee ?? evaluation.committee,
    },
    audit: {
      ...audit,
      perTempo: o.auditsPerTempo ?? audit.perTempo,
      window: o.auditWindow ?? audit.window,
      answerMs: seconds(o.auditAnswerSeconds, audit.answerMs),
    },
    release: { ...release, everyMerges: o.releaseEveryMerges ?? release.everyMerges },
  });
}

export const activeParametersOf = (preset: PresetName): number => countParameters(presetConfig(preset)).active;
