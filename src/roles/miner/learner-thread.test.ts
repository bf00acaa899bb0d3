/** @file A learner in its thread, on a tiny run: it trains, claims, takes in, and says what went wrong. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeShard } from '../../data/shards.ts';
import { decodeFragment, encodeFragment } from '../../merge/codecs/fragment-file.ts';
import { planFragments } from '../../merge/fragment-plan.ts';
import { emptyFragment, packFragment } from '../../merge/fragment-values.ts';
import { toConfigJson } from '../../model/quasar-long/config.ts';
import { buildContract } from '../../model/quasar-long/contract.ts';
import { floatsOf, initParams } from '../../model/quasar-long/init.ts';
import { presetConfig } from '../../model/quasar-long/presets.ts';
import { type Frozen, type RunManifest, rulesVersion } from '../../protocol/manifest.ts';
import { type Hash, type Hotkey, toDecimal } from '../../protocol/names.ts';
import { FrozenTensors } from '../../training/frozen-tensors.ts';
import { contractOf } from '../../training/recipe.ts';
import { canonicalJson } from '../../util/canonical-json.ts';
import { Rng } from '../../util/rng.ts';
import { readState } from '../learner/learner-state.ts';
import { readKeptState } from '../learner/state-folder.ts';
import { stateSizeBytes } from '../learner/state-format.ts';
import { contractHashOf } from '../run-model.ts';
import { runSettings } from '../run-presets.ts';
import type { TrainPlan } from './events.ts';
import { type LearnerThread, startLearnerThread } from './learner-thread.ts';

const config = presetConfig('tiny');
const seed = '07'.repeat(32) as Hash;
const root = '0a'.repeat(32) as Hash;
const artifact = { root, sizeBytes: 8192 };

function tinyManifest(frozen?: Frozen): RunManifest {
  const { sequenceLength: _length, phases: _, targetTokens, schedule, ledger, ...settings } = runSettings.tiny;
  const recipe = { ...settings.recipe, ...(frozen === undefined ? {} : { frozen }) };
  const contract = contractOf(config, recipe);
  return {
    ...{ version: rulesVersion, name: 'test', owner: '5'.padEnd(48, 'x') as Hotkey, createdAtMs: 0, seed },
    ledger: { ...ledger, chainId: 'test', netuid: 1 },
    model: { preset: 'tiny', config: canonicalJson(toConfigJson(config)), contractHash: contractHashOf(contract) },
    tokenizer: { artifact, configArtifact: artifact, vocabSize: config.vocab_size },
    data: { shards: [{ source: 'text', artifact, tokens: 4096, licence: 'CC0-1.0', stage: 'train' }] },
    phases: [
      {
        ...{ name: 'base', targetTokens, sequenceLength: 32, mixture: { text: 1 } },
        schedule: { ...schedule, peakLearningRate: toDecimal(0.01), warmupTokens: 0 },
      },
    ],
    ...settings,
    recipe,
  };
}

const plan = planFragments(buildContract(config), runSettings.tiny.fragments.count);
const initial = initParams(config, seed);
const start = plan.fragments.map(
  (fragment) =>
    encodeFragment(
      'f32',
      fragment,
      packFragment(fragment, (name) => floatsOf(initial, name)),
    ).bytes,
);
const trainPlan = (step: number): TrainPlan => ({
  ...{
    step,
    phase: 0,
    leases: [0],
    start: null,
    takenIn: [],
    claimed: [],
    scheduleTokens: 1000,
    warmup: 1,
    withStateRoot: step === 1,
  },
  sequences: [[4 * step, 4 * step + 4]],
});

let dir: string;
const threads: LearnerThread[] = [];
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'accrete-learner-'));
  const rng = new Rng(1);
  const ids = Array.from({ length: 4096 }, (_, i) => (i % 97 === 96 ? 0 : 1 + (i % 7) + rng.below(2)));
  await writeFile(join(dir, `${root}.tokens`), encodeShard(ids, config.vocab_size));
});
afterAll(async () => {
  for (const thread of threads) await thread.close();
  await rm(dir, { recursive: true });
});

interface ThreadParts {
  readonly freezes?: Frozen;
  readonly frozen?: Uint8Array | null;
  readonly statesDir?: string;
}

function startThread(
  files: readonly Uint8Array[] = start,
  { freezes, frozen = null, statesDir = join(dir, `states-${threads.length}`) }: ThreadParts = {},
): LearnerThread {
  const states = { dir: statesDir, run: root, keep: 2, committedSteps: 0 };
  const manifest = tinyManifest(freezes);
  const thread = startLearnerThread({
    manifest,
    threads: 1,
    start: files.map((bytes) => ({ version: 0, bytes })),
    frozen,
    shardDir: dir,
    states,
  });
  threads.push(thread);
  return thread;
}

describe('startLearnerThread', () => {
  it('trains, roots its state, claims what it learned, and is the same twice', async () => {
    const run = async () => {
      const thread = startThread();
      await thread.prepare(0, { phases: tinyManifest().phases, cursors: [] });
      const reports = [];
      for (let step = 0; step < 6; step++) reports.push(await thread.step(trainPlan(step)));
      return { reports, claim: await thread.claim(2) };
    };
    const [one, two] = [await run(), await run()];
    expect(two).toEqual(one);
    expect(one.reports.map(({ stateRoot }) => stateRoot !== null)).toEqual([false, true, false, false, false, false]);
    expect(one.reports.at(-1)!.loss).toBeLessThan(one.reports[0]!.loss - 0.5);
    const { params } = decodeFragment('int8', plan.fragments[2]!, one.claim);
    expect(params.some((value) => value !== 0)).toBe(true);
  });

  it('keeps the states that it rooted as files, and trains on where it cannot', async () => {
    const kept = join(dir, 'kept');
    const thread = startThread(start, { statesDir: kept });
    await thread.step(trainPlan(0));
    const { stateRoot } = await thread.step(trainPlan(1));
    await thread.close();
    const state = await readKeptState(kept, stateRoot!);
    expect(state?.byteLength).toBe(stateSizeBytes(plan, tinyManifest()));
    expect(readState(plan, state!).counters).toEqual({ innerSteps: 2, optimizerSteps: 2, skippedInARow: 0 });
    const lost = startThread(start, { statesDir: kept });
    await lost.prepare(0, { phases: tinyManifest().phases, cursors: [] });
    await rm(kept, { recursive: true });
    await writeFile(kept, 'a file in its place');
    let fault: string | null = null;
    // The file system answers beside the training: sooner or later.
    for (let step = 0; step < 100 && fault === null; step++) fault = (await lost.step(trainPlan(step))).stateFault;
    expect(fault).toMatch(/state after 2 steps not kept/);
  });

  it('does its calls in the order in which they were made', async () => {
    const thread = startThread();
    const zero = encodeFragment('f32', plan.fragments[0]!, emptyFragment(plan.fragments[0]!)).bytes;
    const calls = [
      thread.step(trainPlan(0)),
      thread.claim(0),
      thread.takeIn(0, { version: 1, bytes: zero }),
      thread.claim(0),
    ] as const;
    const [, first, , second] = await Promise.all(calls);
    const norm = (bytes: Uint8Array) =>
      decodeFragment('int8', plan.fragments[0]!, bytes).params.reduce((sum, value) => sum + Math.abs(value), 0);
    // Nothing was learned between the two claims; what is left is the first one's residue.
    expect(norm(second)).toBeLessThan(norm(first) / 20);
  });

  it('computes with frozen tensors as the start checkpoint has them, and claims none', async () => {
    const freezes: Frozen = { tensors: ['model.word_embeddings.weight', 'lm_head.weight'], dtype: 'bf16' };
    const contract = contractOf(config, { frozen: freezes });
    const frozen = new FrozenTensors(contract, 'bf16');
    for (const name of frozen.stored.keys()) frozen.set(name, floatsOf(initial, name));
    const { fragments } = planFragments(contract, runSettings.tiny.fragments.count);
    const access = (name: string) => floatsOf(initial, name);
    const files = fragments.map((each) => encodeFragment('f32', each, packFragment(each, access)).bytes);
    const thread = startThread(files, { freezes, frozen: frozen.encode() });
    const losses: number[] = [];
    for (let step = 0; step < 6; step++) losses.push((await thread.step(trainPlan(step))).loss);
    expect(losses.at(-1)!).toBeLessThan(losses[0]!);
    const { params } = decodeFragment('int8', fragments[1]!, await thread.claim(1));
    expect(params.some((value) => value !== 0)).toBe(true);
    // Other values of what is frozen give another loss: they are what is computed with.
    for (const name of frozen.stored.keys())
      frozen.set(
        name,
        floatsOf(initial, name).map((value) => -2 * value),
      );
    const other = await startThread(files, { freezes, frozen: frozen.encode() }).step(trainPlan(0));
    expect(other.loss).not.toBe(losses[0]);
    await expect(
      startThread(files, { freezes, frozen: new Uint8Array(9) }).prepare(0, {
        phases: tinyManifest().phases,
        cursors: [],
      }),
    ).rejects.toThrow(/BAD_CHECKPOINT/);
    await expect(
      startThread(files, { freezes }).prepare(0, { phases: tinyManifest().phases, cursors: [] }),
    ).rejects.toThrow(/frozen tensors come with/);
  });

  it('reports failures with their code, and those of opening at every call', async () => {
    const thread = startThread();
    await expect(thread.takeIn(0, { version: 1, bytes: start[1]! })).rejects.toMatchObject({ code: 'LEARNER_FAILED' });
    await expect(thread.step(trainPlan(0))).resolves.toMatchObject({ isSkipped: false });
    const broken = startThread([new Uint8Array(10), ...start.slice(1)]);
    await expect(broken.prepare(0, { phases: tinyManifest().phases, cursors: [] })).rejects.toThrow(/BAD_CONTAINER/);
    await expect(broken.step(trainPlan(0))).rejects.toThrow(/BAD_CONTAINER/);
  });
});
