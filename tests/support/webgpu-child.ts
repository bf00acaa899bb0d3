/**
 * @file Run as a process of its own by `tests/webgpu.test.ts`, for a driver that fails may end its process: computes
 * with the tensor engine on WebGPU and prints, a JSON object a line, what begins and how far each result is off.
 *
 *   node --import tsx tests/support/webgpu-child.ts primitives | decoding | training
 */
import { join } from 'node:path';
import { packSequence } from '../../src/data/shards.ts';
import type { Device } from '../../src/engine/device.ts';
import { checkDevice } from '../../src/engine/test-support.ts';
import { portableCases } from '../../src/engine/test-support-primitives.ts';
import { loadCheckpoint } from '../../src/model/checkpoint.ts';
import { endOfTextOf } from '../../src/model/quasar-long/config.ts';
import { openDecoder } from '../../src/model/quasar-long/generate.ts';
import { presetConfig } from '../../src/model/quasar-long/presets.ts';
import type { Recipe } from '../../src/protocol/manifest.ts';
import { toDecimal } from '../../src/protocol/names.ts';
import { runSettings } from '../../src/roles/run-presets.ts';
import { InnerLoop } from '../../src/training/inner-loop.ts';
import { initialise } from '../../src/training/model-state.ts';
import { allocateForRecipe, createOptimizer, loopOptions } from '../../src/training/recipe.ts';

export interface Result {
  readonly name: string;
  /** Greatest error of all compared numbers; null: not a number. */
  readonly error: number | null;
  /** Where that was. */
  readonly worst: string;
}

export type ChildLine = { readonly begins: string } | Result;

const print = (line: ChildLine): void => console.log(JSON.stringify(line));

async function report(name: string, compute: () => Promise<Omit<Result, 'name'>>): Promise<void> {
  print({ begins: name });
  try {
    print({ name, ...(await compute()) });
  } catch (error) {
    print({ name, error: null, worst: String(error) });
  }
}

function greatest(pairs: readonly (readonly [where: string, a: number, b: number])[]): Omit<Result, 'name'> {
  let [error, worst] = [0, ''];
  for (const [where, a, b] of pairs) if (!(Math.abs(a - b) <= error)) [error, worst] = [Math.abs(a - b), where];
  return { error, worst };
}

/** Each primitive and its gradients against the reference engine. */
async function primitives(): Promise<void> {
  for (const [primitive, cases] of portableCases)
    for (const [title, spec] of Object.entries(cases)) {
      const name = `${primitive} ${title}`;
      await report(name, async () => {
        const { runtimeError: error, worst } = await checkDevice(name, spec, 'webgpu');
        return { error, worst };
      });
    }
}

/** Logits of cached decoding, of a block and then of tokens alone, against the CPU's. */
async function decoding(): Promise<void> {
  const vectors = join(import.meta.dirname, '..', 'vectors', 'quasar_long');
  const ids = Array.from({ length: 10 }, (_, i) => (i * 7) % 50);
  for (const name of ['bailing_pure', 'local_window']) {
    const { config, params } = await loadCheckpoint(join(vectors, name));
    const logitsOn = async (device: Device): Promise<Float32Array> => {
      const decoder = await openDecoder(config, params, { device });
      try {
        return await decoder.feed(ids);
      } finally {
        await decoder.release();
      }
    };
    await report(name, async () => {
      const [cpu, webgpu] = [await logitsOn('cpu'), await logitsOn('webgpu')];
      return greatest(Array.from(cpu, (value, i) => [`token ${Math.floor(i / config.vocab_size)}`, value, webgpu[i]!]));
    });
  }
}

/** Losses and gradient norms of a few steps, Muon's products included, against the CPU's. */
async function training(): Promise<void> {
  const config = presetConfig('tiny');
  const endOfText = endOfTextOf(config);
  const [batch, seqLen, steps] = [2, 16, 3];
  const sequenceOf = (row: number) =>
    packSequence(
      Array.from({ length: seqLen }, (_, i) => (i % 11 === 7 ? endOfText : 1 + ((3 * i + 5 * row) % 200))),
      endOfText,
    );
  const recipe = {
    ...runSettings.tiny.recipe,
    ...{ batchSequences: batch, optimizer: 'muon', momentum: toDecimal(0.95), newtonSchulzSteps: 5 },
  } as Recipe;
  const trainOn = async (device: Device): Promise<readonly (readonly [where: string, value: number])[]> => {
    const model = allocateForRecipe(config, 'webgpu', recipe);
    initialise(model, 'webgpu');
    const optimizer = createOptimizer(model, recipe, 1, device);
    const loop = await InnerLoop.open(model, optimizer, loopOptions(recipe, seqLen, 1, device));
    const seen: [string, number][] = [];
    for (let step = 0; step < steps; step++) {
      const rows = Array.from({ length: batch }, (_, row) => sequenceOf(batch * step + row));
      const { loss, gradNorm } = await loop.step(rows, 0.003);
      seen.push([`loss of step ${step}`, loss], [`gradient norm of step ${step}`, gradNorm]);
    }
    await loop.close();
    await optimizer.close();
    return seen;
  };
  await report('three steps', async () => {
    const [cpu, webgpu] = [await trainOn('cpu'), await trainOn('webgpu')];
    return greatest(cpu.map(([where, value], i) => [where, value, webgpu[i]![1]]));
  });
}

await { primitives, decoding, training }[process.argv[2] as 'primitives' | 'decoding' | 'training']();
