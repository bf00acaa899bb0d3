/** @file The job of the training benchmark: one folder that both sides read, so that they train the same model on the same data. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseConfig, type QuasarLongConfig, toConfigJson } from '../src/model/quasar-long/config.ts';
import { buildContract } from '../src/model/quasar-long/contract.ts';
import { initParams } from '../src/model/quasar-long/init.ts';
import { encodeSafetensors, tensorBytes } from '../src/tensor/safetensors.ts';
import { Rng } from '../src/util/rng.ts';

export interface TrainingRecipe {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  readonly clipNorm: number;
  readonly selectionBiasRate: number;
}

export interface TrainingJob {
  readonly config: QuasarLongConfig;
  readonly batch: number;
  readonly time: number;
  /** Batches in the folder. */
  readonly steps: number;
  readonly threads: number;
  readonly recipe: TrainingRecipe;
}

/** What both sides answer for a block of steps. */
export interface BlockResult {
  readonly losses: readonly number[];
  readonly gradNorms: readonly number[];
  readonly ms: readonly number[];
  readonly cpuMs: number;
  readonly peakRssBytes: number;
}

/** Where each document of a row starts is drawn: on average one every 100 tokens. */
const documentTokens = 100;

/** Writes config, weights (seeded) and token batches; the layout is told in `torch/train.py`. */
export function writeJob(folder: string, job: TrainingJob): void {
  mkdirSync(folder, { recursive: true });
  const contract = buildContract(job.config);
  const params = initParams(job.config, 'bench');
  const { steps, batch, time, threads, recipe } = job;
  const trained = contract.filter(({ kind }) => kind === 'param').map(({ name, decay }) => ({ name, decay }));
  const biases = contract.filter(({ kind }) => kind === 'selection-bias').map(({ name }) => name);
  const text = { config: toConfigJson(job.config), steps, batch, time, threads, recipe, trained, biases };
  writeFileSync(join(folder, 'job.json'), JSON.stringify(text));
  const tensors = new Map(contract.map(({ name, shape }) => [name, tensorBytes(params.get(name)!, shape)]));
  writeFileSync(join(folder, 'model.safetensors'), encodeSafetensors(tensors));
  const batches = drawBatches(job);
  writeFileSync(join(folder, 'batches.bin'), new Uint8Array(batches.buffer));
}

export function readJob(folder: string): { readonly job: TrainingJob; readonly batches: BigInt64Array } {
  const text = JSON.parse(readFileSync(join(folder, 'job.json'), 'utf8'));
  const bytes = readFileSync(join(folder, 'batches.bin'));
  return {
    job: { ...text, config: parseConfig(text.config) },
    batches: new BigInt64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength)),
  };
}

/** For each step ids, positions and labels of batch × time. Ids are drawn by Zipf's law, so that experts load unevenly as in text. */
function drawBatches({ config, steps, batch, time }: TrainingJob): BigInt64Array {
  const rng = new Rng('bench batches');
  const out = new BigInt64Array(steps * 3 * batch * time);
  const block = batch * time;
  for (let step = 0; step < steps; step++) {
    for (let i = 0; i < block; i++) {
      const at = 3 * step * block + i;
      const isStart = i % time === 0 || rng.uniform() < 1 / documentTokens;
      // Id 0 is the padding token.
      const id = BigInt(Math.max(1, Math.floor(config.vocab_size ** rng.uniform()) - 1));
      out[at] = id;
      out[at + block] = isStart ? 0n : out[at + block - 1]! + 1n;
      out[at + 2 * block] = isStart ? -100n : id;
    }
  }
  return out;
}
