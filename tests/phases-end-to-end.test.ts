/**
 * @file The template `demo`, shortened, as its owner types it: a network of real processes goes through all phases, is amended on its
 * way, says so, and leaves a record that verifies.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import type { RunFile } from '../src/roles/run-file.ts';

const program = join(import.meta.dirname, '..', 'bin', 'accrete');
const children = new Set<ChildProcess>();
const dir = mkdtempSync(join(tmpdir(), 'accrete-phases-'));
afterAll(() => {
  for (const child of children) child.kill('SIGTERM');
  rmSync(dir, { recursive: true, force: true });
});

interface Ended {
  readonly code: number | null;
  readonly out: readonly string[];
}

/** `onLine` sees each line of standard output as it comes. */
function accrete(args: readonly string[], onLine: (line: string) => void = () => {}): Promise<Ended> {
  const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.add(child);
  const out: string[] = [];
  let rest = '';
  child.stdout!.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop()!;
    for (const line of lines) {
      out.push(line);
      onLine(line);
    }
  });
  return new Promise((resolve) =>
    child.once('close', (code) => {
      children.delete(child);
      resolve({ code, out });
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

/** The template with phases of so many tokens, in which the same happens. */
function shortened(path: string): RunFile {
  const file = JSON.parse(readFileSync(path, 'utf8')) as RunFile;
  const phases = file.phases.map((phase, i) => ({
    ...phase,
    targetTokens: 9_000,
    schedule: {
      ...{ ...phase.schedule, warmupTokens: 1_000, totalTokens: 9_000 },
      ...(phase.schedule.kind === 'wsd' ? { decayTokens: 2_000 } : {}),
    },
    ...(i === 0
      ? { batch: { startSequences: 2, rampTokens: 2_000 }, gates: [{ metric: 'held-out', atMost: '9' as never }] }
      : {}),
  }));
  return { ...file, phases, sync: { ...file.sync, leaseSequences: 32 } };
}

it('goes through its phases, is amended, and verifies', { timeout: 600_000 }, async () => {
  const [path, folder, port] = [join(dir, 'run.json'), join(dir, 'run'), await freePort()];
  const url = `http://127.0.0.1:${port}`;
  expect((await accrete(['run', 'init', '--template', 'demo', '--out', path, '--json'])).code).toBe(0);
  const file = shortened(path);
  writeFileSync(path, JSON.stringify(file));
  const amendedPath = join(dir, 'amended.json');
  writeFileSync(
    amendedPath,
    JSON.stringify({ ...file, phases: file.phases.with(2, { ...file.phases[2]!, targetTokens: 5_000 }) }),
  );
  let amending: Promise<Ended> | null = null;
  const amend = [
    'run',
    'amend',
    amendedPath,
    '--join',
    url,
    '--reason',
    'shorter',
    '--dir',
    join(folder, 'syncer'),
    '--json',
  ];
  const network = await accrete(['up', '--manifest', path, '--dir', folder, '--port', `${port}`, '--json'], (line) => {
    if (line.includes('"merge"')) amending ??= accrete(amend);
  });
  const events = network.out.map(
    (line) => JSON.parse(line) as { readonly event: string; readonly name?: string; reason?: string },
  );
  expect(events.filter(({ event }) => event === 'phase-changed').map(({ name }) => name)).toEqual([
    'stronger',
    'long-context',
  ]);
  expect(events.find(({ event }) => event === 'ending')?.reason).toBe('the tokens of the last phase are merged');
  expect((await amending!).code).toBe(0);
  expect((await accrete(['verify', folder])).code).toBe(0);
  const shown = JSON.parse((await accrete(['run', 'show', folder, '--json'])).out.join('')) as {
    readonly run: { readonly phases: readonly { readonly targetTokens: number }[] };
    readonly progress: {
      readonly phase: number;
      readonly amendments: readonly { readonly inForceSince: number | null }[];
    };
  };
  expect(shown.progress.phase).toBe(2);
  expect(shown.run.phases[2]!.targetTokens).toBe(5_000);
  expect(shown.progress.amendments[0]!.inForceSince).not.toBeNull();
});
