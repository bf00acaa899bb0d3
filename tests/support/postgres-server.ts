/**
 * @file A real PostgreSQL server for tests, from Debian's package: a cluster of its own in a temporary folder, on a free port of
 * this machine. It refuses to run as root, so that root starts it as the package's user. Text is ordered as in English, to show who relies on bytes.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { debianProgram } from './debian.ts';

export const postgresProgram = debianProgram('postgresql');
const programs = dirname(postgresProgram.file);
export const password = 'a password of tests';
const startLimitMs = 30_000;

export class PostgresServer {
  readonly port: number;
  readonly #dir: string;
  readonly #identity: { readonly uid?: number; readonly gid?: number };
  readonly #settings: readonly string[];
  #process: ChildProcess | null = null;

  private constructor(dir: string, port: number, isDurable: boolean) {
    this.#dir = dir;
    this.port = port;
    this.#identity = identityOf();
    this.#settings = isDurable ? [] : ['-c', 'fsync=off'];
  }

  /** `isDurable`: writes reach the disk, as in operation; for measurements. */
  static async start(options: { readonly isDurable?: boolean } = {}): Promise<PostgresServer> {
    const dir = mkdtempSync(join(tmpdir(), 'accrete-postgres-'));
    const server = new PostgresServer(dir, await freePort(), options.isDurable ?? false);
    server.#make();
    await server.restart();
    return server;
  }

  /** Of the superuser `owner`, or another role. */
  url(database = 'postgres', role = 'owner', secret = password): string {
    return `postgres://${role}:${encodeURIComponent(secret)}@127.0.0.1:${this.port}/${database}`;
  }

  async query(text: string, database = 'postgres'): Promise<Record<string, unknown>[]> {
    const client = new pg.Client({ connectionString: this.url(database), connectionTimeoutMillis: 5_000 });
    client.on('error', () => {});
    await client.connect();
    try {
      return (await client.query(text)).rows;
    } finally {
      await client.end().catch(() => {});
    }
  }

  /** Kills all its processes at once. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL', true);
  }

  async restart(): Promise<void> {
    await this.#end('SIGINT', false);
    const args = ['-D', join(this.#dir, 'data'), '-k', this.#dir, '-h', '127.0.0.1', '-p', String(this.port)];
    const launch = (): ChildProcess =>
      spawn(join(programs, 'postgres'), [...args, ...this.#settings], {
        ...{ ...this.#identity, cwd: this.#dir, detached: true, stdio: 'ignore' },
      });
    this.#process = launch();
    const endMs = performance.now() + startLimitMs;
    for (;;) {
      const fault = await this.query('select 1').then(
        () => null,
        (error: Error) => error,
      );
      if (fault === null) return;
      if (performance.now() > endMs) throw new Error('PostgreSQL did not start', { cause: fault });
      await sleep(50);
      // Processes of a killed one may live for a moment, and hold its memory.
      if (this.#process.exitCode !== null) this.#process = launch();
    }
  }

  async stop(): Promise<void> {
    await this.#end('SIGINT', false);
    rmSync(this.#dir, { recursive: true, force: true });
  }

  #make(): void {
    const { uid, gid } = this.#identity;
    const secret = join(this.#dir, 'password');
    writeFileSync(secret, password);
    if (uid !== undefined) for (const path of [this.#dir, secret]) chownSync(path, uid, gid!);
    chmodSync(this.#dir, 0o700);
    const made = spawnSync(
      join(programs, 'initdb'),
      [
        ...['-D', join(this.#dir, 'data'), '-U', 'owner', '-A', 'scram-sha-256', `--pwfile=${secret}`, '-N'],
        ...['--encoding=UTF8', '--locale=C', '--locale-provider=icu', '--icu-locale=en-US'],
      ],
      { ...this.#identity, cwd: this.#dir, encoding: 'utf8', timeout: 60_000 },
    );
    if (made.status !== 0) throw new Error(`initdb failed: ${made.stderr ?? made.error?.message}`);
  }

  async #end(signal: NodeJS.Signals, isGroup: boolean): Promise<void> {
    const running = this.#process;
    this.#process = null;
    if (running === null || running.exitCode !== null || running.signalCode !== null) return;
    const ended = new Promise((resolve) => running.once('exit', resolve));
    if (isGroup) process.kill(-running.pid!, signal);
    else running.kill(signal);
    await ended;
    // A process of the group may live a moment longer than its first, and answer.
    for (let tries = 0; isGroup && tries < 500 && isAlive(running.pid!); tries++) await sleep(10);
  }
}

/** Whether a process of the group runs; one that is dead and not collected yet does not. */
function isAlive(group: number): boolean {
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    let stat: string;
    try {
      stat = readFileSync(`/proc/${name}/stat`, 'utf8');
    } catch {
      continue; // it has ended
    }
    // After the name, which may hold anything: state, parent, group (proc_pid_stat(5)).
    const [state, , own] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (Number(own) === group && state !== 'Z' && state !== 'X') return true;
  }
  return false;
}

function identityOf(): { readonly uid?: number; readonly gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const id = (flag: string): number => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
  return { uid: id('-u'), gid: id('-g') };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
