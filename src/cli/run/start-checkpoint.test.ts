/** @file A run from a checkpoint of others: fused or one tensor an expert, float32 or bfloat16; what does not fit is refused by name. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { tinyCheckpointConfig, tinyCorpus } from '../../../tests/support/tiny-corpus.ts';
import { writeHuggingFaceFolder } from '../../export/hugging-face.ts';
import { decodeFragment } from '../../merge/codecs/fragment-file.ts';
import { packFragment } from '../../merge/fragment-values.ts';
import { expertTensors, unstackExpert } from '../../model/expert-layout.ts';
import { buildContract } from '../../model/quasar-long/contract.ts';
import { floatsOf, initParams, type Params } from '../../model/quasar-long/init.ts';
import { hotkeyFromSeed, sessionKeyFromSeed } from '../../protocol/keys.ts';
import type { EventBody } from '../../protocol/messages.ts';
import { initRun } from '../../roles/orchestrator/run-init.ts';
import { runModelOf, runSeedOf } from '../../roles/run-model.ts';
import { runSettings } from '../../roles/run-presets.ts';
import { MemoryStore } from '../../store/memory.ts';
import { hashArtifact } from '../../store/node-hash.ts';
import { encodeSafetensors, readSafetensors, type TensorBytes } from '../../tensor/safetensors.ts';
import type { Io } from '../io.ts';
import { openStart } from './start-checkpoint.ts';

const { catalog, readFile: readCatalogFile } = tinyCorpus();
const config = tinyCheckpointConfig();
const params = initParams(config, 'somebody else');
const tokenizer = new Map(
  [catalog.tokenizer, catalog.tokenizerConfig].map((entry) => [entry.file, readCatalogFile(entry)]),
);
const card = { name: 'foreign', licence: 'mit', summary: '', numbers: [], sources: [], notes: [] };
const seed = runSeedOf('own');
// Nothing trains it, and the checkpoint's is its own.
const frozen = { tensors: ['*.f_proj.weight'], dtype: 'f32' as const };
const settings = { ...runSettings.tiny, recipe: { ...runSettings.tiny.recipe, frozen } };

let parent: string;
let folder: string;
beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'accrete-start-'));
  folder = join(parent, 'foreign');
});
afterEach(() => rm(parent, { recursive: true, force: true }));

const write = (dtype: 'F32' | 'BF16' = 'F32', files = tokenizer): Promise<unknown> =>
  writeHuggingFaceFolder(folder, { config, params, files, card, dtype });
const open = (from = folder, { recipe } = settings) =>
  openStart(from, { catalog, seed, recipe }, { cwd: parent } as Io);

/** The file's tensors changed. */
async function rewrite(change: (tensors: Map<string, TensorBytes>) => void): Promise<void> {
  const path = join(folder, 'model.safetensors');
  const { tensors, metadata } = readSafetensors(await readFile(path));
  const copy = new Map(tensors);
  change(copy);
  await writeFile(path, encodeSafetensors(copy, metadata));
}

/** Every routed expert as tensors of its own, [out, in]. */
function splitExperts(tensors: Map<string, TensorBytes>): void {
  for (const { name, isRouted } of buildContract(config)) {
    if (!isRouted) continue;
    tensors.delete(name);
    for (const expert of expertTensors(config, name)) {
      const values = unstackExpert(floatsOf(params, name), expert);
      tensors.set(expert.name, { dtype: 'F32', shape: [...expert.shape], bytes: new Uint8Array(values.buffer) });
    }
  }
}

/** The start fragments of a run from the folder. */
async function startOf(): Promise<{ readonly run: EventBody<'run'>; readonly fragments: readonly Float32Array[] }> {
  const checkpoint = await open();
  const store = new MemoryStore();
  const [owner, syncer] = [hotkeyFromSeed(new Uint8Array(32), 'ed25519'), sessionKeyFromSeed(new Uint8Array(32))];
  const [message] = await initRun({
    ...{ name: 'foreign', preset: 'tiny', seed: 'own', createdAtMs: 1, learners: 1, owner, syncer, catalog, store },
    ...{ ledger: { chainId: 'test', netuid: 1 }, artifactOf: hashArtifact, readCatalogFile, checkpoint, settings },
  });
  await checkpoint.close();
  const run = message.body as EventBody<'run'>;
  const { plan } = runModelOf(run.manifest);
  const decoded = run.start.map(
    async (artifact, id) => decodeFragment('f32', plan.fragments[id]!, await store.get(artifact)).params,
  );
  return { run, fragments: await Promise.all(decoded) };
}

const expected = (run: EventBody<'run'>, of: Params = params): Float32Array[] =>
  runModelOf(run.manifest).plan.fragments.map(
    (fragment) => packFragment(fragment, (name) => floatsOf(of, name)).params,
  );

describe('a run from a checkpoint of others', () => {
  it('begins with its parameters, whether experts are fused or one by one, and names its files', async () => {
    await write();
    const fused = await startOf();
    expect(fused.fragments).toEqual(expected(fused.run));
    const { start } = fused.run.manifest;
    expect(start!.files.map(({ name }) => name)).toEqual(['config.json', 'model.safetensors']);
    expect(start!.source).not.toContain(parent);
    await rewrite(splitExperts);
    expect((await startOf()).fragments).toEqual(fused.fragments);
  });

  it('takes bfloat16', async () => {
    await write('BF16');
    const { run, fragments } = await startOf();
    for (const [i, values] of expected(run).entries())
      for (const [at, value] of values.entries()) {
        const error = Math.abs(fragments[i]![at]! - value);
        if (error > Math.abs(value) / 128) expect(error, `${i} ${at}`).toBe(0);
      }
  });

  it('refuses tensors that are missing, of another shape or not finite, by their names', async () => {
    const norm = 'model.norm.weight';
    await write();
    await rewrite((tensors) => void tensors.delete(norm));
    await expect(open()).rejects.toThrow(/model\.norm\.weight is missing; the config asks for \[32\]/);
    await rewrite((tensors) => void tensors.set(norm, { dtype: 'F32', shape: [31], bytes: new Uint8Array(124) }));
    await expect(startOf()).rejects.toThrow(/model\.norm\.weight: expected shape \[32\], got \[31\]/);
    const nan = new Uint8Array(new Float32Array(32).fill(Number.NaN).buffer);
    await rewrite((tensors) => void tensors.set(norm, { dtype: 'F32', shape: [32], bytes: nan }));
    await expect(startOf()).rejects.toThrow(/model\.norm\.weight: number 0 of 32 is NaN/);
  });

  it('keeps what nothing trains only if it is frozen, and says so', async () => {
    await write();
    await expect(open(folder, runSettings.tiny as typeof settings)).rejects.toThrow(
      /freeze it, .* --freeze '\*\.f_proj\.weight'/,
    );
    expect((await startOf()).run.frozen).toBeDefined();
  });

  it('refuses another tokenizer, no checkpoint, and none at all', async () => {
    const other = new Map(tokenizer).set('tokenizer.json', new TextEncoder().encode('{"version":"2.0"}'));
    await write('F32', other);
    await expect(open()).rejects.toThrow(/tokenizer\.json .* is not the one that the run's text was made with/);
    await expect(open(parent)).rejects.toThrow(/there is no config\.json/);
    await expect(open('hf://nobody')).rejects.toThrow(/hf:\/\/nobody/);
  });
});
