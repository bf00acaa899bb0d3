/** @file Puts together what training on one machine needs: text, model, optimiser, inner loop, held-out evaluation. */

import { manifestShards } from '../../data/catalog.ts';
import { buildOrder, sequenceAt } from '../../data/order.ts';
import { type Corpus, loadCorpus } from '../../data/prepared.ts';
import { readSequence, sequenceCounts } from '../../data/shards.ts';
import { openEvaluator } from '../../evaluation/evaluator.ts';
import { heldOutLosses, heldOutSequences } from '../../evaluation/held-out.ts';
import type { QuasarLongConfig } from '../../model/quasar-long/config.ts';
import { fromDecimal } from '../../protocol/names.ts';
import { runConfig } from '../../roles/orchestrator/run-init.ts';
import { runSeedOf } from '../../roles/run-model.ts';
import { type RunSettings, runSettings } from '../../roles/run-presets.ts';
import { InnerLoop } from '../../training/inner-loop.ts';
import { allocateModel, initialise, type ModelState } from '../../training/model-state.ts';
import { AdamW, traitsFromContract } from '../../training/optimizer.ts';
import type { TrainLocalParts } from '../../training/train-local.ts';
import { corpusDir } from '../paths.ts';
import type { TrainOptions } from './options.ts';

export interface Trainer {
  readonly parts: Pick<TrainLocalParts, 'loop' | 'readSequence' | 'heldOut'>;
  readonly model: ModelState;
  readonly corpus: Corpus;
  readonly settings: RunSettings;
  /** Sequences of one inner step. */
  readonly batch: number;
  close(): Promise<void>;
}

/** The same seed gives the start, and the order of the text, that a network with this seed has. */
export async function openTrainer(options: TrainOptions): Promise<Trainer> {
  const settings = runSettings[options.preset];
  const corpus = loadCorpus(corpusDir, options.preset);
  const { model, loop, batch } = await openLoop(options, settings, runConfig(options.preset, corpus.catalog));
  const { threads } = options;
  const seqLen = settings.sequenceLength;
  const evaluator = await openEvaluator(model.config, { batch: settings.recipe.batchSequences, seqLen, threads });
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
      heldOut: () => heldOutLosses(evaluator, model.tensors, stages),
    },
    ...{ model, corpus, settings, batch },
    async close() {
      await loop.close();
      await evaluator.close();
    },
  };
}

async function openLoop(options: TrainOptions, settings: RunSettings, config: QuasarLongConfig) {
  const { recipe } = settings;
  const seed = runSeedOf(options.seed);
  const model = allocateModel(config, seed, { extraParamBuffers: 2 });
  initialise(model, seed);
  const optimizer = new AdamW(model.params, model.gradients, {
    beta1: fromDecimal(recipe.beta1),
    beta2: fromDecimal(recipe.beta2),
    epsilon: fromDecimal(recipe.epsilon),
    weightDecay: fromDecimal(recipe.weightDecay),
    clipNorm: fromDecimal(recipe.clipNorm),
    traitsOf: traitsFromContract(model.contract),
  });
  const batch = recipe.batchSequences * options.batchFactor;
  const loop = await InnerLoop.open(model, optimizer, {
    batch,
    seqLen: settings.sequenceLength,
    threads: options.threads,
    selectionBiasRate: fromDecimal(recipe.selectionBiasRate),
  });
  return { model, loop, batch };
}
