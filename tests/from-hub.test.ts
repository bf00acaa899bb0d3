/**
 * @file A run from a checkpoint on a hub, as its owner types it: `run init --from hf://…`, then `orchestrate`; against a server that
 * speaks the hub's protocol, which drops connections. What the run begins with is what the checkpoint holds.
 */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { main } from '../src/cli/main.ts';
import { pulledDir } from '../src/cli/paths.ts';
import { writeHuggingFaceFolder } from '../src/export/hugging-face.ts';
import { journalFileName } from '../src/journal/file.ts';
import { decodeFragment } from '../src/merge/codecs/fragment-file.ts';
import { packFragment } from '../src/merge/fragment-values.ts';
import { expertTensors, unstackExpert } from '../src/model/expert-layout.ts';
import { buildContract } from '../src/model/quasar-long/contract.ts';
import { floatsOf, initParams } from '../src/model/quasar-long/init.ts';
import type { JournalEntry } from '../src/protocol/messages.ts';
import { runModelOf } from '../src/roles/run-model.ts';
import { FsStore } from '../src/store/fs.ts';
import { bf16ToF32, f32ToBf16 } from '../src/tensor/half.ts';
import { encodeSafetensors, readSafetensors, type TensorBytes } from '../src/tensor/safetensors.ts';
import { HubServer, readToken } from './support/hub-server.ts';
import { freePort } from './support/nats-server.ts';
import { ofKind } from './support/tampering.ts';
import { testIo } from './support/test-io.ts';
import { tinyCheckpointConfig, tinyCorpus } from './support/tiny-corpus.ts';

const hub = new HubServer();
const { catalog, readFile } = tinyCorpus();
const config = tinyCheckpointConfig();
const params = initParams(config, 'somebody else');
const weights = 'model.safetensors';
let cwd: string;
let port = 0;

beforeAll(async () => {
  cwd = mkdtempSync(join(tmpdir(), 'accrete-from-'));
  await hub.open();
  port = await freePort();
  mkdirSync(join(cwd, 'data', 'prepared'), { recursive: true });
  const write = (name: string, bytes: Uint8Array | string) => writeFileSync(join(cwd, 'data', 'prepared', name), bytes);
  write('catalog.json', JSON.stringify({ ...catalog, preset: 'prepared' }));
  for (const entry of [catalog.tokenizer, catalog.tokenizerConfig, ...catalog.shards])
    write(entry.file, readFile(entry));
});
afterAll(async () => {
  await hub.close();
  rmSync(cwd, { recursive: true });
});
afterEach(() => {
  hub.faults = [];
  for (const name of pulled()) rmSync(join(pulledDir, name), { recursive: true });
});

/** What this test's hub was asked for, whole or not. */
const pulled = (): string[] =>
  existsSync(pulledDir) ? readdirSync(pulledDir).filter((name) => name.includes(new URL(hub.url).port)) : [];

/** A checkpoint of others in the repository: in files of so many bytes, or in one, whose tensors are as `change` leaves them. */
async function upload(
  repo: string,
  { change, maxShardBytes }: { change?: (tensors: Map<string, TensorBytes>) => void; maxShardBytes?: number } = {},
): Promise<string> {
  const folder = join(cwd, repo.replace('/', '-'));
  const files = new Map([catalog.tokenizer, catalog.tokenizerConfig].map((entry) => [entry.file, readFile(entry)]));
  const card = { name: 'foreign', licence: 'mit', summary: '', numbers: [], sources: [], notes: [] };
  const shards = maxShardBytes === undefined ? {} : { maxShardBytes };
  await writeHuggingFaceFolder(folder, { config, params, files, card, dtype: 'BF16', ...shards });
  if (change !== undefined) {
    const { tensors, metadata } = readSafetensors(readFileSync(join(folder, weights)));
    const changed = new Map(tensors);
    change(changed);
    writeFileSync(join(folder, weights), encodeSafetensors(changed, metadata));
  }
  return hub.add(repo, new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))])));
}

/** Every routed expert as tensors of its own, [out, in]. */
function splitExperts(tensors: Map<string, TensorBytes>): void {
  for (const { name, isRouted } of buildContract(config)) {
    if (!isRouted) continue;
    tensors.delete(name);
    for (const expert of expertTensors(config, name)) {
      const values = f32ToBf16(unstackExpert(floatsOf(params, name), expert));
      const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
      tensors.set(expert.name, { dtype: 'BF16', shape: [...expert.shape], bytes });
    }
  }
}

function accrete(argv: readonly string[], environment: Record<string, string> = {}) {
  const { io, lines, errors } = testIo({ cwd });
  const [stop, force] = [new AbortController(), new AbortController()];
  const hubEnvironment = { HF_ENDPOINT: hub.url, HF_TOKEN: readToken, ...environment };
  const ended = main(argv, { ...io, stop: stop.signal, force: force.signal, environment: hubEnvironment });
  const told = () => ({ out: lines.join('\n'), err: errors.join('\n') });
  return { ended, told, stop, force };
}

/** The run file of a checkpoint: what nothing trains is frozen, as the program asks for. */
async function writeRun(name: string, from: string): Promise<string> {
  const { ended, told } = accrete([
    'run',
    'init',
    '--template',
    'demo',
    '--from',
    from,
    '--name',
    name,
    '--out',
    `${name}.json`,
  ]);
  expect(await ended, told().err).toBe(0);
  const path = join(cwd, `${name}.json`);
  const file = JSON.parse(readFileSync(path, 'utf8'));
  expect(file.from).toBe(from);
  file.recipe.frozen = { tensors: ['*.f_proj.weight'], dtype: 'f32' };
  writeFileSync(path, JSON.stringify(file));
  return path;
}

const orchestrate = (name: string, environment: Record<string, string> = {}) =>
  accrete(
    ['orchestrate', '--manifest', `${name}.json`, '--data', 'data', '--dir', name, '--port', String(port)],
    environment,
  );

/** Until it serves, and stopped then; or until it has failed. */
async function begin(name: string, environment: Record<string, string> = {}) {
  const running = orchestrate(name, environment);
  let hasEnded = false;
  const ended = running.ended.finally(() => {
    hasEnded = true;
  });
  while (!hasEnded && !running.told().out.includes('ready at')) await new Promise((resolve) => setTimeout(resolve, 20));
  running.stop.abort(new Error('stopped by the test'));
  running.force.abort(new Error('without a last release'));
  return { exitCode: await ended, ...running.told() };
}

/** The run event of a folder, and the parameters that it begins with. */
async function startOf(name: string) {
  const text = readFileSync(join(cwd, name, journalFileName), 'utf8');
  const { body } = ofKind([JSON.parse(text.slice(0, text.indexOf('\n'))) as JournalEntry], 'run');
  const store = await FsStore.open(join(cwd, name, 'store'));
  const { plan } = runModelOf(body.manifest);
  const fragments = body.start.map(
    async (artifact, id) => decodeFragment('f32', plan.fragments[id]!, await store.get(artifact)).params,
  );
  return { manifest: body.manifest, plan, fragments: await Promise.all(fragments) };
}

/** Fused or one by one, in bfloat16 everywhere: what the run must begin with. */
function expectBf16({ plan, fragments }: Awaited<ReturnType<typeof startOf>>): void {
  for (const [i, fragment] of plan.fragments.entries()) {
    const whole = packFragment(fragment, (name) => floatsOf(params, name)).params;
    const near = bf16ToF32(f32ToBf16(whole));
    const wrong = fragments[i]!.findIndex((value, at) => value !== near[at] && value !== whole[at]);
    expect(wrong, `fragment ${i}`).toBe(-1);
  }
}

it('begins with a checkpoint in bfloat16: fused in several files, or expert by expert; at a revision that is fixed', {
  timeout: 600_000,
}, async () => {
  const fused = await upload('some/fused', { maxShardBytes: 100_000 });
  await writeRun('fused', 'hf://some/fused');
  const first = await begin('fused');
  expect(first.exitCode, first.err).toBe(0);
  expect(first.err).toMatch(/fetching some\/fused at [0-9a-f]{12} to .*\.accrete\/pulled/);
  const start = await startOf('fused');
  expectBf16(start);
  expect(start.manifest.start!.source).toBe(`hf://some/fused@${fused.slice(0, 12)}`);
  const names = start.manifest.start!.files.map(({ name }) => name);
  expect(names.filter((name) => name.endsWith('.safetensors')).length).toBeGreaterThan(1);
  expect(names).toContain('config.json');
  const single = await upload('some/single', { change: splitExperts });
  // Somebody changes the branch: the run asks for the commit.
  hub.change('some/single', 'config.json', '{}');
  await writeRun('single', `hf://some/single@${single}`);
  const second = await begin('single');
  expect(second.exitCode, second.err).toBe(0);
  expect((await startOf('single')).fragments).toEqual(start.fragments);
  // A run that goes on asks the hub for nothing.
  hub.requests.splice(0);
  expect(await begin('single')).toMatchObject({ exitCode: 0 });
  expect(hub.requests).toEqual([]);
});

it('refuses by name what does not fit, before anything is journaled', async () => {
  const norm = 'model.norm.weight';
  const cases: [name: string, change: (tensors: Map<string, TensorBytes>) => void, sentence: RegExp][] = [
    ['missing', (tensors) => void tensors.delete(norm), /model\.norm\.weight is missing; the config asks for \[32\]/],
    [
      'shape',
      (tensors) => void tensors.set(norm, { dtype: 'BF16', shape: [31], bytes: new Uint8Array(62) }),
      /model\.norm\.weight: expected shape \[32\], got \[31\]/,
    ],
    [
      'value',
      (tensors) => void tensors.set(norm, { dtype: 'BF16', shape: [32], bytes: new Uint8Array(64).fill(0xff) }),
      /model\.norm\.weight: number 0 of 32 is NaN/,
    ],
    [
      'more',
      (tensors) => void tensors.set('lm_head.bias', { dtype: 'BF16', shape: [1], bytes: new Uint8Array(2) }),
      /lm_head\.bias/,
    ],
  ];
  for (const [name, change, sentence] of cases) {
    await upload(`some/${name}`, { change });
    await writeRun(name, `hf://some/${name}`);
    const { exitCode, err } = await begin(name);
    expect(exitCode, name).toBe(1);
    expect(err, name).toMatch(sentence);
    const journal = join(cwd, name, journalFileName);
    expect(existsSync(journal) ? readFileSync(journal, 'utf8') : '', name).toBe('');
  }
});

it('says what is wrong with the place itself', async () => {
  await upload('some/known');
  const told = async (from: string, environment: Record<string, string> = {}) => {
    const name = `place-${from.replace(/\W+/g, '-')}`;
    await writeRun(name, from);
    return await begin(name, environment);
  };
  expect(await told('hf://some/known@v9')).toMatchObject({ exitCode: 1, err: expect.stringMatching(/no revision v9/) });
  expect((await told('hf://some/unknown')).err).toMatch(/no such repository/);
  expect((await told('hf://some/known@main', { HF_TOKEN: '' })).err).toMatch(/set HF_TOKEN/);
  for (const from of ['hf://nobody', 'hf://some/known/model.safetensors', 'hf://some/known@']) {
    const { ended, told: said } = accrete(['run', 'init', '--template', 'demo', '--from', from, '--out', 'never.json']);
    expect(await ended, from).toBe(2);
    expect(said().err, from).toMatch(/hf:\/\/owner\/name\[@revision\]/);
    expect(existsSync(join(cwd, 'never.json'))).toBe(false);
  }
});

/** Whether the first 100,000 bytes of the weights lie on the disk. */
function isTaken(): boolean {
  const partial = pulled().find((name) => name.endsWith('.partial'));
  const path = join(pulledDir, partial ?? '', 'files', weights);
  return partial !== undefined && existsSync(path) && statSync(path).size >= 100_000;
}

it('goes on where a dropped connection ended, and where a stopped process did', { timeout: 600_000 }, async () => {
  await upload('some/dropped');
  await writeRun('dropped', 'hf://some/dropped');
  hub.ranges.splice(0);
  hub.faults = [{ at: /^GET \/cdn\//, cut: { afterBytes: 100_000, isTaken } }];
  const dropped = await begin('dropped');
  expect(dropped.exitCode, dropped.err).toBe(0);
  expectBf16(await startOf('dropped'));
  expect(hub.ranges).toHaveLength(2);
  expect(hub.ranges[1]).toMatch(/^bytes=100000-/);

  await upload('some/stopped');
  await writeRun('stopped', 'hf://some/stopped');
  hub.ranges.splice(0);
  const stopped = orchestrate('stopped');
  hub.faults = [
    { at: /^GET \/cdn\//, cut: { afterBytes: 100_000, isTaken } },
    { at: /^GET \/cdn\//, before: () => stopped.stop.abort(new Error('Ctrl-C')), status: 503 },
  ];
  expect(await stopped.ended).toBe(0);
  expect(stopped.told().err).toMatch(/stopped before the run began; the same command goes on/);
  expect(stopped.told().out).not.toContain('ready');
  hub.faults = [];
  hub.ranges.splice(0);
  const again = await begin('stopped');
  expect(again.exitCode, again.err).toBe(0);
  expect(hub.ranges).toEqual([expect.stringMatching(/^bytes=100000-/)]);
  expectBf16(await startOf('stopped'));
});
