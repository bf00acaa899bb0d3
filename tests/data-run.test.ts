/**
 * @file A network on text of one's own, as its owner types it: `data add`, `data prepare`, `up --data`. It trains, pays, leaves a record
 * that verifies, and each learner has fetched the shards of its own leases and no others.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { openRecordedRun } from '../src/cli/api/recorded-run.ts';
import { systemClock } from '../src/cli/environment.ts';
import { textOf } from '../src/data/pipeline/test-support.ts';
import { manifestOf } from '../src/journal/queries.ts';
import { locatorOf, phaseTermsOf } from '../src/roles/run-data.ts';
import { eachInRanges } from '../src/util/ranges.ts';

const program = join(import.meta.dirname, '..', 'bin', 'accrete');
const dir = mkdtempSync(join(tmpdir(), 'accrete-data-run-'));
const children = new Set<ChildProcess>();
afterAll(() => {
  for (const child of children) child.kill('SIGTERM');
  rmSync(dir, { recursive: true, force: true });
});

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** `onOut` sees standard output as it comes. */
function accrete(args: readonly string[], onOut = (_chunk: string, _child: ChildProcess): void => {}): Promise<Ended> {
  const child = spawn(process.execPath, [program, ...args], { cwd: dir, stdio: ['ignore', 'pipe', 'pipe'] });
  children.add(child);
  const said = { out: '', err: '' };
  child.stdout!.setEncoding('utf8').on('data', (chunk: string) => {
    said.out += chunk;
    onOut(chunk, child);
  });
  child.stderr!.setEncoding('utf8').on('data', (chunk: string) => void (said.err += chunk));
  return new Promise((resolve) =>
    child.once('close', (code) => {
      children.delete(child);
      resolve({ code, ...said });
    }),
  );
}

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer();
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });

it('trains on a prepared catalog, pays and verifies', { timeout: 900_000 }, async () => {
  const rows = Array.from({ length: 600 }, (_, i) => JSON.stringify({ text: textOf(`own ${i}`, 300) }));
  writeFileSync(join(dir, 'own.jsonl'), `${rows.join('\n')}\n`);
  const up = ['up', '--preset', 'tiny', '--data', 'data', '--dir', 'run'];

  // What a newcomer forgets is told before any process starts, and binds no folder.
  expect(await accrete(up)).toMatchObject({
    code: 1,
    err: expect.stringContaining('run: ./bin/accrete data prepare --dir'),
  });
  expect(readdirSync(dir)).toEqual(['own.jsonl']);
  const add = ['data', 'add', 'own.jsonl', '--name', 'own', '--licence', 'MIT', '--dir', 'data', '--replace'];
  const prepare = ['data', 'prepare', '--dir', 'data', '--tokenizer', 'tiny', '--filters', 'none'];
  await accrete([...add, '--held-out-every', '0']);
  const unheld = await accrete([...prepare, '--shard-tokens', '1024']);
  expect(unheld).toMatchObject({ code: 0, err: expect.stringContaining('no text is held out') });
  expect(await accrete(up)).toMatchObject({
    code: 2,
    err: expect.stringContaining('--name own --replace --held-out-every 10'),
  });

  expect((await accrete([...add, '--held-out-every', '20'])).code).toBe(0);
  const prepared = await accrete([...prepare, '--shard-tokens', '1024']);
  expect(prepared).toMatchObject({ code: 0, out: expect.stringContaining('up --data data') });

  // Until somebody is paid: how many tokens that takes depends on the machine.
  const network = await accrete(
    [...up, '--minutes', '12', '--port', `${await freePort()}`, '--json'],
    (chunk, child) => {
      if (chunk.includes('"event":"paid"')) child.kill('SIGINT');
    },
  );
  const events = network.out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  const { heldOut, merges, miners } = events.find(({ event }) => event === 'summary');
  expect(merges, network.err).toBeGreaterThan(0);
  expect(heldOut.before, network.err).toBeGreaterThan(0);
  expect(miners.some(({ accepted }: { accepted: number }) => accepted > 0)).toBe(true);
  expect(events.some(({ event, rao }) => event === 'paid' && rao > 0)).toBe(true);
  expect(await accrete(['verify', 'run'])).toMatchObject({
    code: 0,
    out: expect.stringContaining('nothing in this record'),
  });

  const recorded = await openRecordedRun({ dir: join(dir, 'run'), clock: systemClock });
  await recorded.close();
  const { state } = recorded;
  const manifest = manifestOf(state);
  expect(new Set(manifest.data.shards.map(({ source }) => source))).toEqual(new Set(['own']));
  const locate = locatorOf(manifest, () => phaseTermsOf(state));
  const leased = new Map<string, Set<string>>();
  for (const { learner, phase, range } of state.leases.values()) {
    const roots = leased.get(learner) ?? new Set();
    for (const position of eachInRanges([range])) roots.add(locate(phase, position).shard.artifact.root);
    leased.set(learner, roots);
  }
  const names = readdirSync(join(dir, 'run')).filter((name) => /^miner-\d+$/.test(name));
  expect(names.length).toBeGreaterThan(0);
  for (const name of names) {
    const kept = readdirSync(join(dir, 'run', name, 'shards')).map((file) => file.replace('.tokens', ''));
    const owners = [...leased].filter(([, roots]) => kept.every((root) => roots.has(root))).map(([learner]) => learner);
    expect(owners.length, `${name} keeps ${kept.length} shards`).toBeGreaterThan(0);
    expect(kept.length, name).toBeLessThan(manifest.data.shards.length);
  }
});
