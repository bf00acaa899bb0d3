/** @file Runs a network under planned faults, and judges what is left: did it stop, is anything lost, is anything counted twice. */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { admit, applyEvent } from '../../../journal/fold.ts';
import { verdictMsOf } from '../../../journal/queries.ts';
import { emptyState, type RunState } from '../../../journal/state.ts';
import type { JournalEntry } from '../../../protocol/messages.ts';
import { openEntry } from '../../../protocol/signing.ts';
import { bindingOf } from '../../../roles/client.ts';
import { runSettings } from '../../../roles/run-presets.ts';
import { auditCounts } from '../../../simulate/chaos/counted-once.ts';
import { type Fault, isSyncer, planFaults } from '../../../simulate/chaos/plan.ts';
import { type FaultRow, Progress } from '../../../simulate/chaos/progress.ts';
import { BaseError, UsageError } from '../../../util/errors.ts';
import { ensureCorpus } from '../../corpus.ts';
import type { Io } from '../../io.ts';
import { nativeEquation } from '../../native-ed25519.ts';
import { program } from '../../paths.ts';
import { readNetwork } from '../../up/network.ts';
import { JournalWatch } from './journal-watch.ts';
import { ChaosNetwork } from './network.ts';

export class ChaosError extends BaseError<'NO_START'> {}

export interface ChaosOptions {
  readonly seed: number;
  readonly faults: number;
  readonly minutes: number;
  /** 1 or 2. */
  readonly syncers: number;
  readonly dir: string;
}

export interface ChaosReport {
  readonly seed: number;
  readonly faults: number;
  readonly skipped: readonly string[];
  readonly rows: readonly FaultRow[];
  readonly merges: number;
  readonly entries: number;
  readonly longestGapMs: number;
  readonly longestAbleMs: number;
  readonly boundMs: number;
  /** Ends that no fault asked for, by process. */
  readonly crashes: Readonly<Record<string, number>>;
  readonly problems: readonly string[];
}

const others = ['miner-1', 'miner-2', 'miner-3', 'validator-1', 'validator-2', 'validator-3'];
const lookEveryMs = 100;
const startLimitMs = 120_000;
const settleLimitMs = 60_000;
/** A started process folds the journal, builds its sessions and joins: until its first entry, at most so long, it is not counted as there. */
const startAllowanceMs = 20_000;

/**
 * The longest that merges may stay away while syncer, quorum and committee are there: grace, the round's deadline, and the
 * time after which a validator that was drawn and then killed is replaced.
 */
export function mergeBoundMs(): number {
  const { grace, deadlineMs } = runSettings.tiny.sync;
  return grace.maxMs + deadlineMs + verdictMsOf(runSettings.tiny);
}

export async function runChaos(options: ChaosOptions, io: Io): Promise<ChaosReport> {
  const { seed, dir } = options;
  if (existsSync(dir) && readdirSync(dir).length > 0)
    throw new UsageError(`--dir: ${dir} is not empty; a chaos run begins in a folder of its own`);
  ensureCorpus('tiny');
  const roles = ['syncer', ...(options.syncers > 1 ? ['syncer-2'] : []), ...others];
  const tell = (line: string): void => io.err(line);
  const network = await ChaosNetwork.open({ dir, seed, roles, tell });
  const { sync, evaluation } = runSettings.tiny;
  const progress = new Progress(roles, { miners: sync.quorum, validators: evaluation.committee, startAllowanceMs });
  const watch = new JournalWatch(roles.filter(isSyncer).map((role) => journalOf(network, role)));
  const watching = new AbortController();
  let injected = 0;
  let following: Promise<void> | null = null;
  try {
    network.startSyncer();
    await until(async () => (await readNetwork(network.urls[0]!)) !== null, {
      what: 'the syncer',
      limitMs: startLimitMs,
      io,
      network,
    });
    await network.startOthers(progress);
    following = follow(watch, progress, watching.signal);
    await until(() => progress.merges >= 2, { what: 'the first merges', limitMs: startLimitMs, io, network });
    const without = network.canFillDisks ? [] : (['disk-full'] as const);
    const plan = planFaults({ seed, count: options.faults, durationMs: options.minutes * 60_000, roles, without });
    injected = await injectAll(plan, { network, progress, tell, signal: io.stop });
    const merges = progress.merges;
    // Everybody must be back at work, and the run must go on.
    const isSettled = (): boolean => progress.unrecovered.length === 0 && progress.merges >= merges + 2;
    await until(isSettled, { what: '', limitMs: settleLimitMs, io, network }).catch(() => {});
    tell(`the faults are over: ${progress.merges} merges; ending`);
  } finally {
    watching.abort();
    await following;
    await network.close(io.force);
  }
  await watch.read();
  return judge(options, { network, progress, watch, injected, syncers: roles.filter(isSyncer) });
}

async function injectAll(
  plan: readonly Fault[],
  {
    network,
    progress,
    tell,
    signal,
  }: Pick<Running, 'network' | 'progress'> & { tell: (line: string) => void; signal: AbortSignal },
): Promise<number> {
  const startMs = performance.now();
  let injected = 0;
  for (const fault of plan) {
    await sleep(Math.max(0, startMs + fault.atMs - performance.now()), undefined, { signal }).catch(() => {});
    if (signal.aborted || network.failures.length > 0) break;
    progress.onFault(fault, performance.now());
    await network.inject(fault);
    injected++;
    tell(
      `${((performance.now() - startMs) / 1000).toFixed(1).padStart(6)} s  ${describeFault(fault)}  (${progress.merges} merges)`,
    );
  }
  await sleep(
    Math.max(0, ...plan.slice(0, injected).map(({ atMs, holdMs }) => startMs + atMs + holdMs - performance.now())),
    undefined,
    { signal },
  ).catch(() => {});
  return injected;
}

function describeFault({ kind, role, holdMs, skewMs }: Fault): string {
  const details = skewMs !== 0 ? ` by ${skewMs / 1000} s` : holdMs > 0 ? ` for ${(holdMs / 1000).toFixed(1)} s` : '';
  return `${kind} ${role}${details}`;
}

async function follow(watch: JournalWatch, progress: Progress, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    for (const entry of await watch.read()) progress.onEntry(entry, performance.now());
    progress.onLook(performance.now());
    await sleep(lookEveryMs, undefined, { signal }).catch(() => {});
  }
}

async function until(
  isTrue: () => boolean | Promise<boolean>,
  { what, limitMs, io, network }: { what: string; limitMs: number; io: Io; network: ChaosNetwork },
): Promise<void> {
  const end = performance.now() + limitMs;
  while (!(await isTrue())) {
    if (network.failures.length > 0) throw new ChaosError('NO_START', network.failures[0]!);
    if (io.stop.aborted || performance.now() > end)
      throw new ChaosError('NO_START', `waited ${limitMs / 1000} s for ${what}; see the logs`);
    await sleep(lookEveryMs);
  }
}

interface Running {
  readonly network: ChaosNetwork;
  readonly progress: Progress;
  readonly watch: JournalWatch;
  readonly injected: number;
  readonly syncers: readonly string[];
}

const journalOf = (network: ChaosNetwork, syncer: string): string => join(network.dirOf(syncer), 'journal.jsonl');

async function judge(
  options: ChaosOptions,
  { network, progress, watch, injected, syncers }: Running,
): Promise<ChaosReport> {
  const boundMs = mergeBoundMs();
  const problems = [...network.failures];
  if (injected < options.faults) problems.push(`${injected} of ${options.faults} faults were injected`);
  if (progress.unrecovered.length > 0) problems.push(`not at work again: ${progress.unrecovered.join(', ')}`);
  if (progress.longestAbleMs > boundMs)
    problems.push(
      `no merge for ${seconds(progress.longestAbleMs)} with enough processes there, at most ${seconds(boundMs)} is allowed`,
    );
  // Who led last has all of it; the other's copy must be its beginning.
  const copies = syncers.map((syncer) => readFileSync(journalOf(network, syncer), 'utf8').split('\n').slice(0, -1));
  const lines = copies.reduce((longest, copy) => (copy.length > longest.length ? copy : longest));
  const last = syncers[copies.indexOf(lines)]!;
  for (const [i, copy] of copies.entries()) {
    const forked = copy.findIndex((line, seq) => lines[seq] !== line);
    if (forked >= 0) problems.push(`entry ${forked} of ${syncers[i]} is another one than that of ${last}`);
  }
  if (watch.forks.length > 0) problems.push(`entry ${watch.forks[0]} was seen in two forms`);
  const lost = watch.lines.findIndex((line, i) => lines[i] !== line);
  if (lost >= 0) problems.push(`entry ${lost} was in the journal and is not any more`);
  const entries = lines.map((line) => JSON.parse(line) as JournalEntry);
  problems.push(...auditFold(entries), ...(await verifyProblems(network.dirOf(last))));
  const { merges, longestGapMs, longestAbleMs } = progress;
  return {
    ...{ seed: options.seed, faults: injected, rows: progress.rows(), merges, entries: lines.length },
    ...{ longestGapMs: Math.round(longestGapMs), longestAbleMs: Math.round(longestAbleMs), boundMs, problems },
    skipped: network.canFillDisks ? [] : ['disk-full: this process may not mount a disk of its own'],
    crashes: Object.fromEntries(network.crashes),
  };
}

/** Folds as a stranger would, and counts cells without the fold's books. */
function auditFold(entries: readonly JournalEntry[]): string[] {
  const state: RunState = emptyState();
  for (const raw of entries) {
    const binding = bindingOf(state);
    const opened = openEntry(raw, state.headHash, binding === null ? null : { ...binding, equation: nativeEquation });
    if (!opened.ok) return [`entry ${raw.seq}: ${opened.sentence}`];
    const admission = admit(state, opened);
    if (admission.outcome !== 'accept') return [`entry ${raw.seq}: ${admission.code}: ${admission.sentence}`];
    applyEvent(state, opened);
  }
  return auditCounts(entries, state);
}

/** `accrete verify`, as anybody would run it. */
function verifyProblems(dir: string): Promise<string[]> {
  const args = [program, 'verify', dir, '--json'];
  return new Promise((resolve) => {
    execFile(process.execPath, args, { cwd: dir, maxBuffer: 1 << 26, timeout: 300_000 }, (error, stdout, stderr) => {
      if (error === null) return resolve([]);
      const report = stdout.trim() === '' ? stderr.trim().slice(0, 600) : stdout.trim().slice(0, 600);
      resolve([`accrete verify ${dir} fails: ${report}`]);
    });
  });
}

export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
