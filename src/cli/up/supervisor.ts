/**
 * @file Runs a network of child processes: starts them in order, watches the orchestrator's status, shows it, ends it at
 * its limit or on Ctrl-C, and says what came of it. It trains nothing and decides nothing about the run.
 */
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { BaseError } from '../../util/errors.ts';
import { ledgerArguments } from '../chosen-ledger.ts';
import type { Io } from '../io.ts';
import { type ChildEvent, Children } from './children.ts';
import { createDisplay, type Display } from './display.ts';
import { eventsBetween, type NetworkEvent, progressEvent } from './events.ts';
import { readFinalNetwork, readNetwork } from './network.ts';
import type { UpOptions } from './options.ts';
import type { RunFolder } from './run-folder.ts';
import { type NetworkView, trainingLossOf } from './view.ts';

export class SupervisorError extends BaseError<'CHILD_FAILED' | 'NO_START'> {}

export interface Outcome {
  /** The last look at the network; null if it never answered. */
  readonly network: NetworkView | null;
  readonly elapsedMs: number;
  readonly failure: string | null;
}

const lookEveryMs = 1_000;
const lookAtStartEveryMs = 150;
const progressEveryMs = 10_000;
const startLimitMs = 120_000;
/** Between the orchestrator's first answer and the first inner step. */
const firstStepLimitMs = 180_000;
/** A miner finishes its open claim before it leaves; the syncer makes a last release and has it evaluated. */
const minerGraceMs = 15_000;
const syncerGraceMs = 60_000;
const otherGraceMs = 10_000;
/** Training fills what the others leave: a claim waits for its verdicts, and everybody waits for the syncer. */
const minerNiceness = 5;

export class Supervisor {
  readonly #options: UpOptions;
  readonly #folder: RunFolder;
  readonly #io: Io;
  readonly #display: Display;
  readonly #children: Children;
  readonly #url: string;
  /** What to open in a browser. */
  readonly #dashboard: string;
  #network: NetworkView | null = null;
  #stepsAtStart: number | null = null;
  #firstStepAtMs: number | null = null;
  #lastProgressMs = 0;
  #failure: string | null = null;
  readonly #trainingLosses: number[] = [];

  constructor(options: UpOptions, folder: RunFolder, io: Io) {
    this.#options = options;
    this.#folder = folder;
    this.#io = io;
    this.#url = `http://127.0.0.1:${options.port}`;
    this.#dashboard = `http://localhost:${options.port}`;
    this.#display = createDisplay(io, { json: options.json, nowMs: () => Date.now() });
    this.#children = new Children({ logDir: folder.logs, onEvent: (event) => this.#onChild(event) });
  }

  /** Until the limit, Ctrl-C, or a child that cannot go on. */
  async run(): Promise<Outcome> {
    try {
      await this.#startAll();
      const reason = await this.#watch();
      this.#display.event({ event: 'ending', reason });
      await this.#finish();
    } finally {
      await this.#children.stop('', { graceMs: otherGraceMs, force: this.#io.force });
      this.#display.close();
    }
    return { network: this.#network, elapsedMs: this.#elapsedMs() ?? 0, failure: this.#failure };
  }

  async #startAll(): Promise<void> {
    const { preset, chosen, miners, validators, dir, port, seed, runArguments } = this.#options;
    this.#children.start({
      name: 'syncer',
      niceness: 0,
      args: [
        'orchestrate',
        ...(chosen?.arguments ?? ['--preset', preset, '--seed', `${seed}`]),
        '--dir',
        dir,
        '--port',
        `${port}`,
        '--miners',
        `${miners}`,
        ...this.#identity('syncer'),
        ...runArguments,
      ],
    });
    await this.#awaitStart();
    if (this.#isOver()) return;
    this.#display.event({ event: 'dashboard', url: this.#dashboard });
    const join = ['--join', this.#url];
    // Three miners share two cores better with one thread each than with two each.
    const threads = String(Math.max(1, Math.floor(availableParallelism() / miners)));
    for (let i = 1; i <= validators; i++) {
      const name = `validator-${i}`;
      const args = ['validate', ...join, '--dir', this.#folder.childDir(name), '--name', name, '--threads', '1'];
      args.push(...this.#identity(name));
      this.#children.start({ name, args, niceness: 0 });
    }
    for (let i = 1; i <= miners; i++) {
      const name = `miner-${i}`;
      const args = ['mine', ...join, '--dir', this.#folder.childDir(name), '--name', name, '--threads', threads];
      args.push(...this.#identity(name));
      this.#children.start({ name, args, niceness: minerNiceness });
    }
  }

  /** The ledger, and the wallet's hotkey of the same name. */
  #identity(hotkey: string): readonly string[] {
    const { ledger, walletArguments } = this.#options;
    return [
      ...ledgerArguments(ledger),
      ...walletArguments,
      ...(walletArguments.length === 0 ? [] : ['--hotkey', hotkey]),
    ];
  }

  async #awaitStart(): Promise<void> {
    const until = performance.now() + startLimitMs;
    while (!this.#isOver()) {
      await this.#look();
      if (this.#network !== null) return;
      if (performance.now() > until) {
        throw new SupervisorError(
          'NO_START',
          `the orchestrator did not answer at ${this.#url} within ${startLimitMs / 1000} s; its log is ${this.#children.logPath('syncer')}`,
        );
      }
      await this.#pause(lookAtStartEveryMs);
    }
  }

  /** Gives the reason to end. */
  async #watch(): Promise<string> {
    const { tokens, limitMs, endsWithPhases } = this.#options;
    const startedAtMs = performance.now();
    for (;;) {
      if (this.#failure !== null) return this.#failure;
      if (this.#io.stop.aborted) return 'stopped by the operator';
      if (tokens !== null && (this.#network?.tokens ?? 0) >= tokens) return `${tokens} tokens are counted`;
      if (endsWithPhases && this.#network !== null && isLastMerged(this.#network))
        return 'the tokens of the last phase are merged';
      const elapsedMs = this.#elapsedMs();
      if (limitMs !== null && elapsedMs !== null && elapsedMs >= limitMs) return 'the time is over';
      if (elapsedMs === null && performance.now() - startedAtMs > firstStepLimitMs) {
        this.#failure = `no inner step within ${firstStepLimitMs / 1000} s; see the logs in ${this.#folder.logs}`;
      }
      await this.#pause(elapsedMs === null ? lookAtStartEveryMs : lookEveryMs);
      await this.#look();
    }
  }

  /** Miners leave first, so that the syncer can merge their last claims into a last release. */
  async #finish(): Promise<void> {
    const { force } = this.#io;
    const sinceMs = Date.now();
    const watching = new AbortController();
    const watch = (async () => {
      while (!watching.signal.aborted) {
        await sleep(300);
        await this.#look();
      }
    })();
    await this.#children.stop('miner', { graceMs: minerGraceMs, force });
    await this.#children.stop('syncer', { graceMs: syncerGraceMs, force });
    watching.abort();
    await watch;
    const last = await readFinalNetwork(this.#options.dir, sinceMs);
    if (last !== null) this.#take(last);
  }

  async #look(): Promise<void> {
    const next = await readNetwork(this.#url);
    if (next !== null) this.#take(next);
    if (this.#network === null) return;
    this.#display.frame({
      network: this.#network,
      url: this.#dashboard,
      processes: this.#children.list(),
      trainingLosses: this.#trainingLosses,
      elapsedMs: this.#elapsedMs(),
      limitMs: this.#options.limitMs,
      limitTokens: this.#options.tokens,
      lastEvent: this.#display.lastEvent,
    });
  }

  #take(next: NetworkView): void {
    for (const event of eventsBetween(this.#network, next)) this.#display.event(event);
    this.#network = next;
    this.#note(next);
  }

  #note(network: NetworkView): void {
    const now = performance.now();
    this.#stepsAtStart ??= network.innerSteps;
    if (this.#firstStepAtMs === null && network.innerSteps > this.#stepsAtStart) {
      this.#firstStepAtMs = now;
      this.#lastProgressMs = now;
    }
    const loss = trainingLossOf(network);
    if (loss !== null && this.#firstStepAtMs !== null) this.#trainingLosses.push(loss);
    if (this.#firstStepAtMs !== null && now - this.#lastProgressMs >= progressEveryMs) {
      this.#lastProgressMs = now;
      this.#display.event(progressEvent(network, this.#elapsedMs()!));
    }
  }

  #onChild(event: ChildEvent): void {
    if (event.kind === 'failed') {
      this.#failure ??= `${event.name} cannot go on (${event.how}): ${event.lastLine}; its log is ${this.#children.logPath(event.name)}`;
      return;
    }
    const shown: NetworkEvent =
      event.kind === 'started'
        ? { event: 'process-started', name: event.name, pid: event.pid }
        : { event: 'process-crashed', name: event.name, how: event.how, retryInMs: event.retryInMs };
    this.#display.event(shown);
  }

  #elapsedMs(): number | null {
    return this.#firstStepAtMs === null ? null : performance.now() - this.#firstStepAtMs;
  }

  #isOver(): boolean {
    return this.#failure !== null || this.#io.stop.aborted;
  }

  /** A wait that Ctrl-C cuts short. */
  async #pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#io.stop }).catch(() => {});
  }
}

const isLastMerged = ({ phase }: NetworkView): boolean =>
  phase.index + 1 === phase.count && phase.countedTokens >= phase.targetTokens;
