/** @file A tiny run on seeded numbers for tests of learners: real model, short sequences, a state root every 4 steps. */

import { testHotkey } from '../../../tests/support/run-fixture.ts';
import { tinyCorpus } from '../../../tests/support/tiny-corpus.ts';
import { decodeShard } from '../../data/shards.ts';
import { type Recipe, type RunManifest, recipeSchema } from '../../protocol/manifest.ts';
import { toDecimal } from '../../protocol/names.ts';
import { buildManifest } from '../orchestrator/run-init.ts';
import { runSettings } from '../run-presets.ts';
import { TestRun } from './test-support.ts';

const { catalog, readFile } = tinyCorpus();

export const adamw: Recipe = { ...runSettings.tiny.recipe, joinWarmupSteps: 6 };
export const muon: Recipe = recipeSchema.parse({
  ...adamw,
  optimizer: 'muon',
  momentum: '0.95',
  newtonSchulzSteps: 5,
  microBatches: 2,
});

type Choices = Partial<Pick<RunManifest, 'recipe' | 'codec'> & Pick<RunManifest['audit'], 'stateFormat'>>;

export function tinyRun({ recipe = adamw, codec = 'int8', stateFormat = 'exact' }: Choices): TestRun {
  const ledger = { chainId: 'test', netuid: 1 };
  const base = buildManifest({
    ...{ name: 'test', preset: 'tiny', seed: '1', createdAtMs: 0, learners: 2, ledger, catalog },
    owner: testHotkey('owner'),
  });
  const manifest: RunManifest = {
    ...base,
    ...{ recipe, codec, audit: { ...base.audit, stateFormat } },
    phases: base.phases.map((phase) => ({
      ...{ ...phase, sequenceLength: 16 },
      schedule: { ...phase.schedule, peakLearningRate: toDecimal(0.01), warmupTokens: 100 },
    })),
    sync: { ...base.sync, leaseSequences: 12, stateRootEverySteps: 4 },
  };
  const shards = catalog.shards.filter(({ stage }) => stage === 'train');
  const loaded = new Map(
    shards.map((shard) => [shard.artifact.root as string, decodeShard(readFile(shard), shard, catalog.vocabSize)]),
  );
  return new TestRun(manifest, loaded);
}
