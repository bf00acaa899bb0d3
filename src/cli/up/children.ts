/**
 * @file The child processes of `accrete up`: started, logged to files, restarted with back-off when they crash, stopped in
 * order. A child is in a session of its own, so that Ctrl-C reaches only the supervisor; it ends by itself when its
 * standard input closes, so that a killed supervisor leaves nothing running.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { join } from 'node:path';
import { withoutStoreCredentials } from '../chosen-store.ts';
import { program } from '../paths.ts';
import type { ProcessView } from './view.ts';

export interface ChildSpec {
  /** `syncer`, `miner-1`, `validator-2`. */
  readonly name: string;
  readonly args: readonly string[];
  /** 0: as the supervisor; higher gives way to others. */
  readonly niceness: number;
  /** More of the environment, asked for at each start. */
  readonly environment?: () => Readonly<Record<string, string>>;
}

export type ChildEvent =
  | { readonly kind: 'started'; readonly name: string; readonly pid: number }
  | { readonly kind: 'crashed'; readonly name: string; readonly how: string; readonly retryInMs: number }
  /** It will not be restarted: its mistake repeats. */
  | { readonly kind: 'failed'; readonly name: string; readonly how: string; readonly lastLine: string };

interface Child {
  readonly spec: ChildSpec;
  process: ChildProcess | null;
  startedAtMs: number;
  restarts: number;
  /** Crashes one after another, without a long enough life between them. */
  streak: number;
  timer: NodeJS.Timeout | null;
  isStopping: boolean;
}

const firstBackOffMs = 250;
const longestBackOffMs = 10_000;
/** A child that lived this long starts its back-off anew. */
const healthyMs = 20_000;
const longestStreak = 6;

export class Children {
  readonly #children = new Map<string, Child>();
  readonly #logDir: string;
  readonly #onEvent: (event: ChildEvent) => void;
  readonly #program: string;

  constructor(options: {
    readonly logDir: string;
    readonly onEvent: (event: ChildEvent) => void;
    readonly program?: string;
  }) {
    this.#logDir = options.logDir;
    this.#program = options.program ?? program;
    this.#onEvent = options.onEvent;
  }

  start(spec: ChildSpec): void {
    const child: Child = {
      spec,
      process: null,
      startedAtMs: 0,
      restarts: 0,
      streak: 0,
      timer: null,
      isStopping: false,
    };
    this.#children.set(spec.name, child);
    this.#launch(child);
  }

  list(): readonly ProcessView[] {
    return [...this.#children.values()].map(({ spec, process, restarts, timer }) => ({
      name: spec.name,
      restarts,
      state: process !== null ? 'running' : timer !== null ? 'waiting' : 'stopped',
    }));
  }

  /** Ends those whose names begin with `prefix`: SIGTERM, and SIGKILL after `graceMs` or when `force` aborts. */
  async stop(prefix: string, options: { readonly graceMs: number; readonly force: AbortSignal }): Promise<void> {
    const chosen = [...this.#children.values()].filter(({ spec }) => spec.name.startsWith(prefix));
    await Promise.all(chosen.map((child) => this.#end(child, options)));
  }

  /** Sends a signal; false if no such process runs. After a SIGKILL it is started again at once, as if it had been healthy. */
  signal(name: string, signal: NodeJS.Signals): boolean {
    const child = this.#children.get(name);
    if (child === undefined || child.process === null) return false;
    if (signal === 'SIGKILL') child.startedAtMs = Number.NEGATIVE_INFINITY;
    return child.process.kill(signal);
  }

  logPath(name: string): string {
    return join(this.#logDir, `${name}.log`);
  }

  #launch(child: Child): void {
    const { spec } = child;
    const log = openSync(this.logPath(spec.name), 'a');
    const launched = spawn(process.execPath, [this.#program, ...spec.args], {
      stdio: ['pipe', log, log],
      detached: true,
      // Only the syncer opens a bucket: what strangers run needs no credentials, and neither do ours.
      env: {
        ...(/^syncer(-\d+)?$/.test(spec.name) ? process.env : withoutStoreCredentials(process.env)),
        ACCRETE_SUPERVISED: '1',
        ...spec.environment?.(),
      },
    });
    closeSync(log);
    launched.stdin?.on('error', () => {}); // the child's end of the pipe may be gone first
    child.process = launched;
    child.startedAtMs = performance.now();
    launched.once('error', (error) => this.#ended(child, error.message));
    launched.once('exit', (code, signal) => this.#ended(child, signal ?? `exit code ${code}`, code));
    if (launched.pid === undefined) return;
    try {
      if (spec.niceness !== 0) setPriority(launched.pid, spec.niceness);
    } catch {
      // Some systems forbid it; the network only runs a little less smoothly.
    }
    this.#onEvent({ kind: 'started', name: spec.name, pid: launched.pid });
  }

  #ended(child: Child, how: string, code: number | null = null): void {
    if (child.process === null) return;
    child.process = null;
    if (child.isStopping) return;
    const lived = performance.now() - child.startedAtMs;
    child.streak = lived > healthyMs ? 1 : child.streak + 1;
    const { name } = child.spec;
    // Exit code 2 is a mistake in how it was called: the next start would make it again. Without a syncer nothing goes on.
    if (code === 2 || (name === 'syncer' && child.streak >= longestStreak)) {
      this.#onEvent({ kind: 'failed', name, how, lastLine: this.#lastLine(name) });
      return;
    }
    const retryInMs = Math.min(firstBackOffMs * 2 ** Math.min(child.streak - 1, 16), longestBackOffMs);
    child.restarts++;
    child.timer = setTimeout(() => {
      child.timer = null;
      this.#launch(child);
    }, retryInMs);
    this.#onEvent({ kind: 'crashed', name, how, retryInMs });
  }

  #lastLine(name: string): string {
    const lines = readFileSync(this.logPath(name), 'utf8').trimEnd().split('\n');
    return lines.findLast((line) => line.startsWith('accrete: '))?.replace(/^accrete: /, '') ?? lines.at(-1) ?? '';
  }

  async #end(child: Child, options: { readonly graceMs: number; readonly force: AbortSignal }): Promise<void> {
    child.isStopping = true;
    if (child.timer !== null) clearTimeout(child.timer);
    child.timer = null;
    const running = child.process;
    if (running === null) return;
    await new Promise<void>((resolve) => {
      const kill = (): void => void running.kill('SIGKILL');
      const timer = setTimeout(kill, options.graceMs);
      options.force.addEventListener('abort', kill, { once: true });
      running.once('exit', () => {
        clearTimeout(timer);
        options.force.removeEventListener('abort', kill);
        resolve();
      });
      if (options.force.aborted) kill();
      else running.kill('SIGTERM');
    });
  }
}
