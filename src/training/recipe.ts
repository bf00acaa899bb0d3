/** @file What a run's recipe asks of training: the model's buffers, its inner optimiser and the options of the inner loop. */
import type { Device } from '../engine/device.ts';
import type { QuasarLongConfig } from '../model/quasar-long/config.ts';
import { buildContract } from '../model/quasar-long/contract.ts';
import type { Recipe } from '../protocol/manifest.ts';
import { fromDecimal } from '../protocol/names.ts';
import { flatLayout } from '../tensor/flat-params.ts';
import type { InnerLoopOptions } from './inner-loop.ts';
import { allocateModel, type ModelState } from './model-state.ts';
import { Muon, matricesFromContract } from './muon.ts';
import { AdamW, type InnerOptimizer, traitsFromContract } from './optimizer.ts';

/** A model with room for the recipe's optimiser and, if it reads micro-batches, for their sum. */
export function allocateForRecipe(config: QuasarLongConfig, seed: string, recipe: Recipe): ModelState {
  const entries = flatLayout(buildContract(config));
  const length = entries.reduce((sum, entry) => sum + entry.length, 0);
  const extraBytes = recipe.optimizer === 'muon' ? Muon.footprint({ entries, length }) : AdamW.footprint({ length });
  return allocateModel(config, seed, { extraParamBuffers: 0, extraBytes, accumulates: (recipe.microBatches ?? 1) > 1 });
}

/** `model`: from `allocateForRecipe`; one optimiser fits. `threads`, `device`: of Muon's products. */
export function createOptimizer(
  model: ModelState,
  recipe: Recipe,
  threads: number,
  device: Device = 'cpu',
): InnerOptimizer {
  const common = {
    beta1: fromDecimal(recipe.beta1),
    beta2: fromDecimal(recipe.beta2),
    epsilon: fromDecimal(recipe.epsilon),
    weightDecay: fromDecimal(recipe.weightDecay),
    clipNorm: fromDecimal(recipe.clipNorm),
    traitsOf: traitsFromContract(model.contract, model.config.engram_lr_multiplier),
  };
  if (recipe.optimizer === 'adamw') return new AdamW(model.params, model.gradients, common);
  return new Muon(model.params, model.gradients, {
    ...common,
    momentum: fromDecimal(recipe.momentum),
    newtonSchulzSteps: recipe.newtonSchulzSteps,
    threads,
    device,
    matricesOf: matricesFromContract(model.contract),
  });
}

export function loopOptions(recipe: Recipe, seqLen: number, threads: number, device: Device = 'cpu'): InnerLoopOptions {
  const microBatches = recipe.microBatches ?? 1;
  return {
    batch: recipe.batchSequences / microBatches,
    microBatches,
    seqLen,
    threads,
    device,
    selectionBiasRate: fromDecimal(recipe.selectionBiasRate),
    ...(recipe.zLoss === undefined ? {} : { zLoss: fromDecimal(recipe.zLoss) }),
  };
}
