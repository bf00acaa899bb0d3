/**
 * @file A `tiny` network of real processes with two syncers, which a test or a measurement kills and freezes: who leads, what
 * both copies of the journal say, and how long nothing was merged.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { appendFileSync, closeSync, copyFileSync, existsSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EventBody, JournalEntry } from '../../src/protocol/messages.ts';

const program = join(import.meta.dirname, '..', '..', 'bin', 'accrete');
export const syncerNames = ['syncer', 'syncer-2'] as const;
export type SyncerName = (typeof syncerNames)[number];

export interface TwoSyncersOptions {
  /** A folder or a bucket's URL; left out: a folder of the network's own. */
  readonly shared?: string;
  /** More options of both syncers. */
  readonly engines?: readonly string[];
  /** Of both syncers. */
  readonly environment?: Readonly<Record<string, string>>;
}

export class TwoSyncers {
  readonly #root: string;
  readonly #options: TwoSyncersOptions;
  readonly #ports: Readonly<Record<SyncerName, number>>;
  readonly #children = new Map<string, ChildProcess>();

  private constructor(root: string, options: TwoSyncersOptions, ports: Readonly<Record<SyncerName, number>>) {
    this.#root = root;
    this.#options = options;
    this.#ports = ports;
  }

  /** With two miners and two validators, once something is merged. */
  static async open(root: string, options: TwoSyncersOptions = {}): Promise<TwoSyncers> {
    const network = new TwoSyncers(root, options, { syncer: await freePort(), 'syncer-2': await freePort() });
    network.startSyncer('syncer');
    await network.until(() => existsSync(join(network.dirOf('syncer'), 'syncer', 'hotkey.json')), 'the owner');
    await network.until(() => network.entries('syncer').length >= 2, 'the run');
    mkdirSync(join(network.dirOf('syncer-2'), 'syncer'), { recursive: true });
    const ownerOf = (name: SyncerName): string => join(network.dirOf(name), 'syncer', 'hotkey.json');
    copyFileSync(ownerOf('syncer'), ownerOf('syncer-2'));
    network.startSyncer('syncer-2');
    const urls = syncerNames.map((name) => `http://127.0.0.1:${network.#ports[name]}`).join(',');
    for (const [command, name] of roles)
      network.#start(name, [command, '--join', urls, '--name', name, '--threads', '1']);
    await network.until(() => network.merges('syncer') >= 2, 'the first merges');
    return network;
  }

  dirOf(name: string): string {
    return join(this.#root, name);
  }

  startSyncer(name: SyncerName): void {
    const port = `${this.#ports[name]}`;
    const { shared = join(this.#root, 'shared'), engines = [], environment = {} } = this.#options;
    const args = ['--preset', 'tiny', '--port', port, '--miners', '2', '--shared', shared, '--as', name, ...engines];
    this.#start(name, ['orchestrate', ...args], environment);
  }

  signal(name: string, signal: NodeJS.Signals): void {
    this.#children.get(name)!.kill(signal);
  }

  /** Whole lines of a syncer's copy. */
  lines(name: SyncerName): string[] {
    const path = join(this.dirOf(name), 'journal.jsonl');
    return existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(0, -1) : [];
  }

  entries(name: SyncerName): JournalEntry[] {
    return this.lines(name).map((line) => JSON.parse(line) as JournalEntry);
  }

  merges(name: SyncerName): number {
    return this.entries(name).filter(({ message }) => message.kind === 'fragment-published').length;
  }

  /** Who signed the newest event that only a syncer signs. */
  leader(): SyncerName {
    const copies = syncerNames.map((name) => this.entries(name));
    const entries = copies[0]!.length >= copies[1]!.length ? copies[0]! : copies[1]!;
    const names = new Map<string, string>();
    let leader: SyncerName = 'syncer';
    for (const { message } of entries) {
      if (message.kind === 'delegate') {
        const { role, sessionKey, name } = message.body as EventBody<'delegate'>;
        if (role === 'syncer') names.set(sessionKey, name);
      }
      const name = names.get(message.signer.slice(message.signer.indexOf(':') + 1));
      if (name !== undefined) leader = name as SyncerName;
    }
    return leader;
  }

  /** Stops the leader between the merge of an outer step and its fragment, and kills it there; gives that outer step. */
  async killInMerge(leader: SyncerName): Promise<number> {
    for (let tries = 0; tries < 400; tries++) {
      await this.until(() => pendingMerge(this.entries(leader)) !== null, 'a merge', 2);
      this.signal(leader, 'SIGSTOP');
      const pending = pendingMerge(this.entries(leader));
      if (pending !== null) {
        this.signal(leader, 'SIGKILL');
        return pending;
      }
      this.signal(leader, 'SIGCONT');
    }
    throw new Error('no merge could be caught half done');
  }

  logOf(name: string): string {
    return readFileSync(join(this.#root, `${name}.log`), 'utf8');
  }

  async until(isTrue: () => boolean, what: string, everyMs = 50, limitMs = 300_000): Promise<void> {
    const end = performance.now() + limitMs;
    while (!isTrue()) {
      if (performance.now() > end) throw new Error(`waited ${limitMs / 1000} s for ${what}; see ${this.#root}`);
      await sleep(everyMs);
    }
  }

  /** Ends what runs, in order: who follows at once, the leader with a last release. */
  async close(): Promise<void> {
    for (const child of this.#children.values()) child.kill('SIGCONT');
    const leader = this.leader();
    const follower = syncerNames.find((name) => name !== leader)!;
    for (const names of [['miner-1', 'miner-2'], [follower], [leader], ['validator-1', 'validator-2']])
      await Promise.all(names.map((name) => this.#end(name)));
  }

  /** What `accrete verify` says of a syncer's folder. */
  verify(name: SyncerName, more: readonly string[] = []): Promise<{ readonly code: number; readonly out: string }> {
    const args = [program, 'verify', this.dirOf(name), '--json', ...more];
    return new Promise((resolve) => {
      execFile(process.execPath, args, { timeout: 200_000, maxBuffer: 1 << 26 }, (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code ?? 1), out: `${stdout}${stderr}` }),
      );
    });
  }

  #start(name: string, args: readonly string[], environment: Readonly<Record<string, string>> = {}): void {
    mkdirSync(this.dirOf(name), { recursive: true });
    const path = join(this.#root, `${name}.log`);
    appendFileSync(path, '');
    const log = openSync(path, 'a');
    // Its standard input closes with this process, and then it ends: nothing stays behind a test that is killed.
    const child = spawn(process.execPath, [program, ...args, '--dir', this.dirOf(name)], {
      stdio: ['pipe', log, log],
      env: { ...process.env, ...environment, ACCRETE_SUPERVISED: '1' },
    });
    child.stdin?.on('error', () => {});
    closeSync(log);
    this.#children.set(name, child);
  }

  async #end(name: string): Promise<void> {
    const child = this.#children.get(name)!;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), 60_000);
    await ended;
    clearTimeout(timer);
  }
}

const roles = [
  ['validate', 'validator-1'],
  ['validate', 'validator-2'],
  ['mine', 'miner-1'],
  ['mine', 'miner-2'],
] as const;

/** The outer step that was merged and not published yet. */
function pendingMerge(entries: readonly JournalEntry[]): number | null {
  const last = entries.findLast(({ message: { kind } }) => kind === 'merge' || kind === 'fragment-published');
  return last?.message.kind === 'merge' ? (last.message.body as EventBody<'merge'>).outerStep : null;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
