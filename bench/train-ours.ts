/** @file Our side of the training benchmark: a process that trains on request. The job and the lines are those of `torch/train.py`. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Sequence } from '../src/data/shards.ts';
import { asFloat32, readSafetensors } from '../src/tensor/safetensors.ts';
import { InnerLoop } from '../src/training/inner-loop.ts';
import { allocateModel, loadParams } from '../src/training/model-state.ts';
import { AdamW, traitsFromContract } from '../src/training/optimizer.ts';
import { type BlockResult, readJob } from './train-job.ts';

async function main(folder: string): Promise<void> {
  const { job, batches } = readJob(folder);
  const { config, batch, time, threads, recipe } = job;
  const model = allocateModel(config, 'bench', { extraParamBuffers: 2 });
  const { tensors } = readSafetensors(new Uint8Array(readFileSync(join(folder, 'model.safetensors'))));
  loadParams(model, new Map([...tensors].map(([name, tensor]) => [name, asFloat32(tensor)])));
  const optimizer = new AdamW(model.params, model.gradients, {
    ...recipe,
    traitsOf: traitsFromContract(model.contract),
  });
  const loop = await InnerLoop.open(model, optimizer, {
    ...{ batch, seqLen: time, threads },
    selectionBiasRate: recipe.selectionBiasRate,
  });
  const sequencesOf = (step: number): Sequence[] =>
    Array.from({ length: batch }, (_, row) => {
      const part = (which: number) => {
        const at = ((3 * step + which) * batch + row) * time;
        return batches.subarray(at, at + time);
      };
      return { inputIds: part(0), positionIds: part(1), labels: part(2) };
    });
  console.log(JSON.stringify({ ready: true }));
  for await (const line of createInterface({ input: process.stdin })) {
    const { from, count } = JSON.parse(line) as { from: number; count: number };
    const losses: number[] = [];
    const gradNorms: number[] = [];
    const ms: number[] = [];
    const before = process.cpuUsage();
    for (let step = from; step < from + count; step++) {
      const startedAt = performance.now();
      const result = await loop.step(sequencesOf(step), recipe.learningRate);
      ms.push(performance.now() - startedAt);
      losses.push(result.loss);
      gradNorms.push(result.gradNorm);
    }
    const { user, system } = process.cpuUsage(before);
    const peakRssBytes = process.resourceUsage().maxRSS * 1024;
    const answer: BlockResult = { losses, gradNorms, ms, cpuMs: (user + system) / 1000, peakRssBytes };
    console.log(JSON.stringify(answer));
  }
  await loop.close();
}

await main(process.argv[2]!);
