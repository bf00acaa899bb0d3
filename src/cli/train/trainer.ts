/** @file Puts together what training on one machine needs: text, model, optimiser, inner loop, held-out evaluation. */

import { manifestShards } from '../../data/catalog.ts';
import { buildOrder, sequenceAt } from '../../data/order.ts';
import { type Corpus, loadCorpus } from '../../data/prepared.ts';
import { readSequence, sequenceCounts } from '../../data/shards.ts';
import { openEvaluator } from '../../evaluation/evaluator.ts';
import { heldOutCount, heldOutLosses, heldOutSequences } from '../../evaluation/held-out.ts';
import type { QuasarLongConfig } from '../../model/quasar-long/config.ts';
import { runConfig } from '../../roles/orchestrator/run-init.ts';
import { runSeedOf } from '../../roles/run-model.ts';
import { type RunSettings, runSettings } from '../../roles/run-presets.ts';
import { InnerLoop } from '../../training/inner-loop.ts';
import { initialise, type ModelState, wholeParams } from '../../training/model-state.ts';
import type { InnerOptimizer } from '../../training/optimizer.ts';
import { allocateForRecipe, createOptimizer, loopOptions } from '../../training/recipe.ts';
import type { TrainLocalParts } from '../../training/train-local.ts';
import { corpusPresetOf } from '../corpus.ts';
import { corpusDir } from '../paths.ts';
import { applyRecipe, asFreezeFault } from '../recipe-options.ts';
import type { TrainOptions } from './options.ts';

export interface Trainer {
  readonly parts: Pick<TrainLocalParts, 'loop' | 'readSequence' | 'heldOut'>;
  readonly model: ModelState;
  readonly optimizer: InnerOptimizer;
  readonly corpus: Corpus;
  readonly settings: RunSettings;
  /** Sequences of one inner step. */
  readonly batch: number;
  close(): Promise<void>;
}

/** The same seed gives the start, and the order of the text, that a network with this seed has. */
export async function openTrainer(options: TrainOptions): Promise<Trainer> {
  const settings = settingsOf(options);
  const corpus = loadCorpus(corpusDir, corpusPresetOf(options.preset));
  const { model, optimizer, loop, batch } = await openLoop(
    options,
    settings,
    runConfig(options.preset, corpus.catalog),
  );
  const { threads, device } = options;
  const seqLen = settings.sequenceLength;
  const evaluator = await openEvaluator(model.config, { batch: microBatchOf(options), seqLen, threads, device });
  const shards = manifestShards(corpus.catalog);
  const { loaded, catalog } = corpus;
  const { mixture, endOfText } = catalog;
  const order = buildOrder({
    seed: runSeedOf(options.seed),
    mixture,
    sequences: sequenceCounts(shards, 'train', seqLen),
  });
  const stages = heldOutSequences({
    ...{ shards, loaded, seqLen, endOfText, mixture },
    sequences: settings.evaluation.heldOutSequences,
  });
  return {
    parts: {
      loop,
      readSequence(position) {
        const { source, sequenceIndex } = sequenceAt(order, position);
        return readSequence(shards, loaded, { stage: 'train', source, sequenceIndex, length: seqLen, endOfText });
      },
      heldOut: () => heldOutLosses(evaluator, wholeParams(model), stages),
    },
    ...{ model, optimizer, corpus, settings, batch },
    async close() {
      await loop.close();
      await optimizer.close();
      await evaluator.close();
    },
  };
}

const microBatchOf = ({ preset, batch }: TrainOptions): number => batch ?? runSettings[preset].recipe.batchSequences;

/** The preset's settings with what the options change of them. */
function settingsOf(options: TrainOptions): RunSettings {
  const base = runSettings[options.preset];
  const recipe = { ...base.recipe, batchSequences: microBatchOf(options) * options.batchFactor };
  const settings = applyRecipe({ ...base, recipe }, options.recipe);
  const sequenceLength = options.sequenceLength ?? settings.sequenceLength;
  const { heldOutSequences: sequences } = settings.evaluation;
  const heldOutSequences = heldOutCount({ sequences, seqLen: settings.sequenceLength }, sequenceLength);
  return { ...settings, sequenceLength, evaluation: { ...settings.evaluation, heldOutSequences } };
}

async function openLoop(options: TrainOptions, settings: RunSettings, config: QuasarLongConfig) {
  const { recipe } = settings;
  const seed = runSeedOf(options.seed);
  const model = allocate(config, seed, recipe);
  initialise(model, seed);
  const optimizer = createOptimizer(model, recipe, options.threads, options.device);
  const loop = await InnerLoop.open(model, optimizer, {
    ...loopOptions(recipe, settings.sequenceLength, options.threads, options.device),
    recomputeLayers: options.recomputeLayers,
  });
  return { model, optimizer, loop, batch: recipe.batchSequences };
}

function allocate(...args: Parameters<typeof allocateForRecipe>): ModelState {
  try {
    return allocateForRecipe(...args);
  } catch (error) {
    throw asFreezeFault(error);
  }
}
