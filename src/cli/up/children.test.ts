/** @file The supervisor's children: restarted with back-off, given up on a mistake, ended with it. Real processes. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ChildEvent, Children } from './children.ts';

let dir: string;
let events: ChildEvent[];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'accrete-children-'));
  events = [];
});
afterEach(() => rmSync(dir, { recursive: true }));

function childrenOf(source: string): Children {
  const program = join(dir, 'program.mjs');
  writeFileSync(program, source);
  return new Children({ logDir: dir, program, onEvent: (event) => void events.push(event) });
}

async function until(isTrue: () => boolean): Promise<void> {
  for (let i = 0; i < 1_500; i++) {
    if (isTrue()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`still waiting after ${JSON.stringify(events)}`);
}

const spec = { name: 'miner-1', args: ['one', 'two'], niceness: 0 };
const never = new AbortController().signal;

describe('children', () => {
  it('are restarted after a crash, counted, and logged', async () => {
    const children = childrenOf('console.log(process.argv.slice(2).join("+")); process.stdin.resume();');
    children.start(spec);
    const pids = () => events.flatMap((event) => (event.kind === 'started' ? [event.pid] : []));
    await until(() => readFileSync(children.logPath('miner-1'), 'utf8').includes('one+two'));
    process.kill(pids()[0]!, 'SIGKILL');
    await until(() => pids().length === 2);
    expect(events[1]).toMatchObject({ kind: 'crashed', name: 'miner-1', how: 'SIGKILL' });
    expect(children.list()).toEqual([{ name: 'miner-1', state: 'running', restarts: 1 }]);
    await children.stop('', { graceMs: 2_000, force: never });
    expect(children.list()[0]!.state).toBe('stopped');
  });

  it('are not started again after a mistake of use', async () => {
    const children = childrenOf('console.error("accrete: port 1 is taken"); process.exit(2);');
    children.start(spec);
    await until(() => events.some((event) => event.kind === 'failed'));
    expect(events.at(-1)).toMatchObject({ kind: 'failed', how: 'exit code 2', lastLine: 'port 1 is taken' });
  });

  it('wait longer after each crash in a row', async () => {
    const children = childrenOf('process.exit(1);');
    children.start(spec);
    const waits = () => events.flatMap((event) => (event.kind === 'crashed' ? [event.retryInMs] : []));
    await until(() => waits().length === 3);
    expect(waits()).toEqual([250, 500, 1000]);
    await children.stop('', { graceMs: 2_000, force: never });
  });

  it('that do not leave in time are killed', async () => {
    const children = childrenOf('process.on("SIGTERM", () => {}); console.log("up"); setInterval(() => {}, 1000);');
    children.start(spec);
    await until(() => readFileSync(children.logPath('miner-1'), 'utf8').includes('up'));
    // It would live for ever.
    await children.stop('', { graceMs: 200, force: never });
  });
});
