/**
 * @file A whole network of real processes: trains, loses a miner and then the syncer to SIGKILL, goes on, counts nothing
 * twice, and leaves a journal whose fold is the state that the live orchestrator had.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { nativeEquation } from '../src/cli/native-ed25519.ts';
import { fetchStatus } from '../src/http/client.ts';
import { admit, applyEvent, hashState } from '../src/journal/fold.ts';
import { emptyState, type RunState } from '../src/journal/state.ts';
import type { EventBody, JournalEntry } from '../src/protocol/messages.ts';
import { openEntry } from '../src/protocol/signing.ts';
import { bindingOf } from '../src/roles/client.ts';

const program = join(import.meta.dirname, '..', 'bin', 'accrete');
const children = new Set<ChildProcess>();
const folders: string[] = [];

function temporary(): string {
  const dir = mkdtempSync(join(tmpdir(), 'accrete-e2e-'));
  folders.push(dir);
  return dir;
}

interface Running {
  readonly process: ChildProcess;
  readonly out: string[];
  readonly err: string[];
  readonly ended: Promise<number | null>;
}

function accrete(...args: readonly string[]): Running {
  const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  children.add(child);
  const collect = (stream: NodeJS.ReadableStream): string[] => {
    const lines: string[] = [];
    let rest = '';
    stream.setEncoding('utf8');
    stream.on('data', (chunk: string) => {
      const parts = (rest + chunk).split('\n');
      rest = parts.pop()!;
      lines.push(...parts);
    });
    return lines;
  };
  const ended = new Promise<number | null>((resolve) => child.once('close', (code) => resolve(code)));
  void ended.then(() => children.delete(child));
  return { process: child, out: collect(child.stdout!), err: collect(child.stderr!), ended };
}

/** Polls until `look` gives something; says what was waited for when it does not. */
async function until<T>(
  what: string,
  look: () => T | undefined | false | null | Promise<T | undefined | false | null>,
  limitMs = 60_000,
): Promise<T> {
  const end = Date.now() + limitMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false && found !== null) return found;
    if (Date.now() > end) throw new Error(`waited ${limitMs} ms for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

type Event = { readonly event: string } & Readonly<Record<string, unknown>>;
const eventsOf = (running: Running): Event[] => running.out.map((line) => JSON.parse(line) as Event);

/** What an outsider does with a journal: every hash, signature and rule is checked. */
function foldAll(entries: readonly JournalEntry[], atSize: (state: RunState) => void): RunState {
  const state = emptyState();
  for (const raw of entries) {
    const binding = bindingOf(state);
    const opened = openEntry(raw, state.headHash, binding === null ? null : { ...binding, equation: nativeEquation });
    if (!opened.ok) throw new Error(`entry ${raw.seq}: ${opened.sentence}`);
    const admission = admit(state, opened);
    if (admission.outcome !== 'accept') throw new Error(`entry ${raw.seq}: ${JSON.stringify(admission)}`);
    applyEvent(state, opened);
    atSize(state);
  }
  return state;
}

afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
  for (const dir of folders) rmSync(dir, { recursive: true, force: true });
});

describe('a network of processes', () => {
  it('survives the death of a miner and of the syncer, and counts nothing twice', { timeout: 180_000 }, async () => {
    const dir = temporary();
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const run = accrete('up', '--preset', 'tiny', '--dir', dir, '--port', `${port}`, '--minutes', '5', '--json');
    const starts = (name: string) => eventsOf(run).filter((e) => e.event === 'process-started' && e.name === name);
    const merges = () => eventsOf(run).filter((e) => e.event === 'merge');
    const mergesFrom = async (count: number, what: string) => {
      const before = merges().length;
      await until(what, () => merges().length >= before + count);
    };

    await until('a first release', () => eventsOf(run).some((e) => e.event === 'evaluation'), 90_000);
    const joined = accrete('mine', '--join', url, '--dir', temporary(), '--name', 'from-elsewhere', '--threads', '1');
    await until('a miner from another terminal to do inner steps', async () => {
      const { learners } = await fetchStatus(url);
      return learners.some(({ name, innerSteps }) => name === 'from-elsewhere' && innerSteps > 0);
    });
    joined.process.kill('SIGTERM');
    expect(await joined.ended).toBe(0);
    expect(joined.out.join('\n')).toContain('inner steps');

    process.kill(Number(starts('miner-1')[0]!.pid), 'SIGKILL');
    await until('the miner to be started again', () => starts('miner-1').length === 2);
    await mergesFrom(4, 'merges after the miner died');

    process.kill(Number(starts('syncer')[0]!.pid), 'SIGKILL');
    const killedAt = Date.now();
    await until('the syncer to be started again', () => starts('syncer').length === 2);
    await mergesFrom(4, 'merges after the syncer died');
    expect(Date.now() - killedAt).toBeLessThan(30_000);

    const live = (await (await fetch(`${url}/state-hash`)).json()) as { size: number; hash: string };
    run.process.kill('SIGINT');
    const exitCode = await run.ended;
    const summary = eventsOf(run).find((e) => e.event === 'summary')!;
    expect(summary.problems).toEqual([]);
    expect(exitCode).toBe(0);
    expect(existsSync(join(String(summary.checkpoint), 'model.safetensors'))).toBe(true);

    const text = readFileSync(join(dir, 'journal.jsonl'), 'utf8');
    const entries = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as JournalEntry);
    let hashThen = '';
    const state = foldAll(entries, (folded) => {
      if (folded.size === live.size) hashThen = hashState(folded);
    });
    expect(hashThen).toBe(live.hash);
    checkCountedOnce(entries, state);
    expect(state.cellTokens / state.fragments.length).toBe(summary.tokens);
  });
});

/** From the events alone, without the fold's own books: every claim is merged at most once, every cell counted once. */
function checkCountedOnce(entries: readonly JournalEntry[], state: RunState): void {
  const merged = new Set<string>();
  const cells = new Set<string>();
  const outerSteps = new Set<number>();
  for (const { message } of entries) {
    if (message.kind !== 'merge') continue;
    const { claims, fragment, outerStep } = message.body as EventBody<'merge'>;
    expect(outerSteps.has(outerStep), `outer step ${outerStep} is merged once`).toBe(false);
    outerSteps.add(outerStep);
    for (const { claim } of claims) {
      expect(merged.has(claim), `claim ${claim} is merged once`).toBe(false);
      merged.add(claim);
      const { body } = state.claims.get(claim)!;
      for (const [from, to] of body.sequences) {
        for (let position = from; position < to; position++) {
          const cell = `${body.phase}/${position}/${fragment}`;
          expect(cells.has(cell), `cell ${cell} is counted once`).toBe(false);
          cells.add(cell);
        }
      }
    }
  }
  const { sequenceLength } = state.run!.manifest.phases[0]!;
  expect(state.cellTokens).toBe(cells.size * sequenceLength);
}

describe('mistakes of an operator', () => {
  let dir: string;
  let port: number;
  let orchestrator: Running;

  beforeAll(async () => {
    dir = temporary();
    port = await freePort();
    orchestrator = accrete('orchestrate', '--preset', 'tiny', '--dir', dir, '--port', `${port}`);
    await until('the orchestrator', () => orchestrator.out.some((line) => line.startsWith('ready')));
  });

  afterEach(async () => {
    const status = await fetchStatus(`http://127.0.0.1:${port}`);
    expect(status.run.preset).toBe('tiny'); // whatever was tried, the one that runs is not disturbed
  });

  it('a second process on one run folder is refused', async () => {
    const second = accrete('orchestrate', '--preset', 'tiny', '--dir', dir, '--port', `${await freePort()}`);
    expect(await second.ended).toBe(2);
    expect(second.err.join('\n')).toContain('is in use by another orchestrator');
  });

  it('a taken port is named', async () => {
    const other = accrete('orchestrate', '--preset', 'tiny', '--dir', temporary(), '--port', `${port}`);
    const up = accrete('up', '--preset', 'tiny', '--dir', temporary(), '--port', `${port}`);
    for (const running of [other, up]) {
      expect(await running.ended).toBe(2);
      expect(running.err.join('\n')).toContain(`port ${port} is taken`);
    }
  });

  it('an unreachable network is named', async () => {
    const nowhere = `http://127.0.0.1:${await freePort()}`;
    for (const role of ['mine', 'validate']) {
      const running = accrete(role, '--join', nowhere, '--dir', temporary());
      expect(await running.ended, role).toBe(1);
      expect(running.err.join('\n'), role).toContain(`no network answers at ${nowhere}`);
    }
    const status = accrete('status', '--url', nowhere);
    expect(await status.ended).toBe(1);
    expect(status.err.join('\n')).toContain(nowhere);
  });

  it('something else that answers there is named', async () => {
    const server: Server = createServer((socket) => socket.end('HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port: otherPort } = server.address() as { port: number };
    const running = accrete('mine', '--join', `http://127.0.0.1:${otherPort}`, '--dir', temporary());
    expect(await running.ended).toBe(1);
    expect(running.err.join('\n')).toContain('no network answers');
    server.close();
  });

  it('a folder of another run is refused', async () => {
    const other = temporary();
    const first = accrete(
      'orchestrate',
      '--preset',
      'tiny',
      '--seed',
      '1',
      '--dir',
      other,
      '--port',
      `${await freePort()}`,
    );
    await until('the other orchestrator', () => first.out.some((line) => line.startsWith('ready')));
    first.process.kill('SIGKILL');
    await first.ended;
    const second = accrete(
      'orchestrate',
      '--preset',
      'tiny',
      '--seed',
      '2',
      '--dir',
      other,
      '--port',
      `${await freePort()}`,
    );
    expect(await second.ended).toBe(2);
    expect(second.err.join('\n')).toContain('another preset or seed');
  });

  it('a changed journal is refused, a torn last line is cut off', async () => {
    const folder = temporary();
    const args = ['orchestrate', '--preset', 'tiny', '--dir', folder, '--port', `${await freePort()}`];
    const first = accrete(...args);
    await until('the first start', () => first.out.some((line) => line.startsWith('ready')));
    first.process.kill('SIGKILL');
    await first.ended;
    const path = join(folder, 'journal.jsonl');
    const whole = readFileSync(path, 'utf8');
    writeFileSync(path, `${whole}${whole.slice(0, 500)}`);
    const second = accrete(...args);
    await until('a start after a torn line', () => second.out.some((line) => line.startsWith('ready')));
    expect(second.err.join('\n')).toContain('a torn last line was cut off');
    second.process.kill('SIGKILL');
    await second.ended;
    writeFileSync(path, whole.replace('"name":"syncer"', '"name":"sincer"'));
    const third = accrete(...args);
    expect(await third.ended).toBe(1);
    expect(third.err.join('\n')).toMatch(/\[(DAMAGED|JOURNAL_INVALID)\]/);
  });

  it('a damaged checkpoint is named', async () => {
    const trained = temporary();
    const train = accrete('train', '--preset', 'tiny', '--steps', '1', '--dir', trained);
    expect(await train.ended).toBe(0);
    const checkpoint = join(trained, 'checkpoint-1');
    truncateSync(join(checkpoint, 'model.safetensors'), 5_000);
    const running = accrete('generate', '--checkpoint', checkpoint, '--prompt', 'The');
    expect(await running.ended).toBe(1);
    expect(running.err.join('\n')).toContain('damaged safetensors file');
    expect(running.err.join('\n')).not.toMatch(/^\s+at /m);
  });
});
