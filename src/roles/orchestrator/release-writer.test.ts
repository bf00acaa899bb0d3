/** @file A release's folder is a checkpoint that loads, made of the fragments that the journal names; written once. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openRunning, type RunningNetwork } from '../../../tests/support/local-network.ts';
import type { RunState } from '../../journal/state.ts';
import { decodeFragment } from '../../merge/codecs/fragment-file.ts';
import { unpackFragment } from '../../merge/fragment-values.ts';
import { loadCheckpoint } from '../../model/checkpoint.ts';
import { floatsOf, initParams } from '../../model/quasar-long/init.ts';
import { publishedParams } from '../../model/quasar-long/published.ts';
import type { ArtifactRef, Frozen } from '../../protocol/manifest.ts';
import type { Decimal } from '../../protocol/names.ts';
import { hashArtifact } from '../../store/node-hash.ts';
import { runModelOf } from '../run-model.ts';
import { runSettings } from '../run-presets.ts';
import { describeFiles, releaseCard, writeRelease } from './release-writer.ts';

let running: RunningNetwork;
let run: RunState;
let dir = '';

beforeAll(async () => {
  running = await openRunning();
  const { network, a, b, validators, round } = running;
  for (let i = 0; i < 4; i++) {
    await round();
    await network.pass(1_000, a, b, ...validators);
  }
  const losses = { 'held-out': '4.25' as Decimal };
  await validators[0]!.client.submit('evaluation', { release: 1, losses, sequences: 16 });
  run = (await network.connect(null)).state;
  dir = await mkdtemp(join(tmpdir(), 'accrete-release-'));
});
afterAll(async () => {
  await running.network.close();
  await rm(dir, { recursive: true, force: true });
});

const headsOf = (state: RunState): ArtifactRef[] => state.fragments.map(({ artifact }) => artifact);
const write = (release: number, heads: readonly ArtifactRef[]): Promise<string> =>
  writeRelease(run, release, { dir, store: running.network.store, heads });

it('loads as a checkpoint that holds the published fragments', async () => {
  expect(run.releases).toHaveLength(2);
  const folder = await write(1, headsOf(run));
  expect(folder).toBe(join(dir, 'release-1'));
  const { config, params } = await loadCheckpoint(folder);
  const { manifest } = run.run!;
  const model = runModelOf(manifest);
  expect(config).toEqual(model.config);
  const expected = initParams(config, manifest.seed);
  for (const fragment of model.plan.fragments) {
    const bytes = await running.network.store.get(run.fragments[fragment.id]!.artifact);
    unpackFragment(fragment, decodeFragment('f32', fragment, bytes), (name) => floatsOf(expected, name));
  }
  for (const { name } of model.contract) expect(params.get(name), name).toEqual(expected.get(name));
  expect((await readdir(folder)).sort()).toEqual([
    'README.md',
    'config.json',
    'generation_config.json',
    'model.safetensors',
    'tokenizer.json',
    'tokenizer_config.json',
  ]);
  const card = await readFile(join(folder, 'README.md'), 'utf8');
  for (const said of [run.run!.id, run.releases[1]!.body.treeHead, '4.2500 nats a token', 'numbers'])
    expect(card).toContain(said);
});

it('is described by its files, each named by its bytes', async () => {
  const folder = await write(1, headsOf(run));
  const files = await describeFiles(folder);
  expect(files.map(({ name }) => name)).toEqual([...(await readdir(folder))].sort());
  for (const { name, artifact } of files)
    expect(artifact, name).toEqual(hashArtifact(new Uint8Array(await readFile(join(folder, name)))));
  const large = join(dir, 'large');
  await mkdir(large);
  for (const [name, size] of [
    ['empty', 0],
    ['piece', 4 * 2 ** 20],
    ['more', 4 * 2 ** 20 + 1],
  ] as const)
    await writeFile(join(large, name), new Uint8Array(size).fill(7));
  await writeFile(join(large, '.hidden'), 'x');
  const described = await describeFiles(large);
  expect(described.map(({ name }) => name)).toEqual(['empty', 'more', 'piece']);
  for (const { name, artifact } of described)
    expect(artifact, name).toEqual(hashArtifact(new Uint8Array(await readFile(join(large, name)))));
});

it('the start checkpoint is a release too', async () => {
  const folder = await write(0, run.run!.start);
  const { config, params } = await loadCheckpoint(folder);
  for (const [name, values] of initParams(config, run.run!.manifest.seed))
    expect(params.get(name), name).toEqual(values);
});

it('is left as it is when it is there', async () => {
  const folder = await write(1, headsOf(run));
  await writeFile(join(folder, 'note'), 'kept');
  expect(await write(1, headsOf(run))).toBe(folder);
  expect(await readFile(join(folder, 'note'), 'utf8')).toBe('kept');
});

it('leaves no folder behind when a fragment is missing', async () => {
  const heads = headsOf(run).with(2, { root: '0'.repeat(64) as never, sizeBytes: 9 });
  await rm(join(dir, 'release-1'), { recursive: true, force: true });
  await expect(write(1, heads)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  expect((await readdir(dir)).filter((name) => name.includes('release-1'))).toEqual([]);
});

it('is bfloat16 where the manifest says so, its frozen tensors those of the start checkpoint', async () => {
  const { recipe, release } = runSettings.tiny;
  const frozen: Frozen = { tensors: ['*.A_log', '*.dt_bias', '*.f_proj.weight', 'lm_head.weight'], dtype: 'bf16' };
  const settings = {
    ...runSettings.tiny,
    recipe: { ...recipe, frozen },
    release: { ...release, dtype: 'bf16' as const },
  };
  const other = await openRunning({}, { run: { settings } });
  try {
    const { network, a, b, validators, round } = other;
    for (let i = 0; i < 4; i++) {
      await round();
      await network.pass(1_000, a, b, ...validators);
    }
    const { state } = await network.connect(null);
    expect(state.releases).toHaveLength(2);
    const parent = await mkdtemp(join(dir, 'narrow-'));
    const folder = await writeRelease(state, 1, { dir: parent, store: network.store, heads: headsOf(state) });
    const { config, params } = await loadCheckpoint(folder);
    const { manifest } = state.run!;
    const { contract, plan } = runModelOf(manifest);
    const expected = initParams(config, manifest.seed);
    for (const fragment of plan.fragments) {
      const bytes = await network.store.get(state.fragments[fragment.id]!.artifact);
      unpackFragment(fragment, decodeFragment('f32', fragment, bytes), (name) => floatsOf(expected, name));
    }
    const published = publishedParams(contract, expected, 'bf16');
    for (const { name } of contract) expect(params.get(name), name).toEqual(published.get(name));
    const initial = publishedParams(contract, initParams(config, manifest.seed), 'bf16');
    expect(params.get('lm_head.weight')).toEqual(initial.get('lm_head.weight'));
    expect(await readFile(join(folder, 'README.md'), 'utf8')).toContain('bfloat16, rounded from float32');
    expect(JSON.parse(await readFile(join(folder, 'config.json'), 'utf8')).torch_dtype).toBe('bfloat16');
    // What is lost of the start checkpoint is not made up.
    await network.store.remove(state.run!.frozen!.root);
    await expect(
      writeRelease(state, 0, { dir: parent, store: network.store, heads: state.run!.start }),
    ).rejects.toMatchObject({ code: 'NOT_FOUND' });
  } finally {
    await other.network.close();
  }
});

it('has one card whatever order the losses of its evaluation came in', () => {
  const [evaluation] = run.evaluations.filter(({ release }) => release === 1);
  const cardOf = (losses: Record<string, Decimal>) =>
    releaseCard({ ...run, evaluations: [{ ...evaluation!, losses }] }, 1);
  const [stage, source, other] = ['4.25', '4.5', '5'] as Decimal[];
  const card = cardOf({ 'held-out': stage!, 'held-out/sotu': source!, 'held-out-other': other! });
  expect(card).toEqual(cardOf({ 'held-out': stage!, 'held-out-other': other!, 'held-out/sotu': source! }));
  expect(card.numbers.filter(([name]) => name.startsWith('Loss'))).toHaveLength(3);
});
