/**
 * @file What a chaos run is measured by while it runs: how long merges stayed away although enough processes were there, and
 * how long each fault's victim took to write into the journal again. Times come in from the observer's own clock.
 */
import { type Fault, type FaultKind, isSyncer } from './plan.ts';

/** One journal line as the observer sees it. */
export interface SeenEntry {
  readonly kind: string;
  /** Name of the process that signed it; null if it is none of ours. */
  readonly role: string | null;
}

export interface FaultRow {
  readonly kind: FaultKind;
  readonly count: number;
  /** Of those that were followed by an entry of the process. */
  readonly recovered: number;
  readonly medianMs: number | null;
  readonly worstMs: number | null;
}

interface Injected {
  readonly fault: Fault;
  readonly overAtMs: number;
  recoveryMs: number | null;
}

/** Of two syncers one writes: the work of one that was hit is taken up by either. */
const isOf = (hit: string, role: string | null): boolean =>
  hit === role || (role !== null && isSyncer(hit) && isSyncer(role));

export class Progress {
  readonly #injected: Injected[] = [];
  /** Of each process, until when it is known to be away; Infinity while it has no end yet. */
  readonly #awayUntilMs = new Map<string, number>();
  readonly #starting = new Set<string>();
  readonly #startAllowanceMs: number;
  readonly #needs: { readonly miners: number; readonly validators: number };
  readonly #roles: readonly string[];
  #lookedAtMs: number | null = null;
  #mergedAtMs: number | null = null;
  #ableMs = 0;
  #merges = 0;
  #longestGapMs = 0;
  #longestAbleMs = 0;

  constructor(
    roles: readonly string[],
    needs: { readonly miners: number; readonly validators: number; readonly startAllowanceMs: number },
  ) {
    this.#startAllowanceMs = needs.startAllowanceMs;
    this.#roles = roles;
    this.#needs = needs;
  }

  get merges(): number {
    return this.#merges;
  }
  /** The longest time between two merges, whatever was away. */
  get longestGapMs(): number {
    return this.#longestGapMs;
  }
  /** The same, without the times in which syncer, quorum or committee were killed, frozen, cut off or without disk. */
  get longestAbleMs(): number {
    return this.#longestAbleMs;
  }

  onFault(fault: Fault, nowMs: number): void {
    this.#injected.push({ fault, overAtMs: nowMs + fault.holdMs, recoveryMs: null });
    if (fault.kind === 'freeze' || fault.kind === 'disk-full') this.away(fault.role, nowMs + fault.holdMs);
  }

  /** The process does nothing until then. */
  away(role: string, untilMs: number): void {
    if (untilMs === Number.POSITIVE_INFINITY) this.#starting.delete(role);
    this.#awayUntilMs.set(role, Math.max(untilMs, this.#awayUntilMs.get(role) ?? 0));
  }

  /** A process that was killed is started: it is there from its first entry on, or once its start has taken long enough. */
  back(role: string, nowMs: number): void {
    this.#starting.add(role);
    this.#awayUntilMs.set(role, nowMs + this.#startAllowanceMs);
  }

  /** Call often: availability is taken to have been since the last look as it is now. */
  onLook(nowMs: number): void {
    if (this.#lookedAtMs !== null && this.#mergedAtMs !== null && this.#isAble(nowMs))
      this.#ableMs += nowMs - this.#lookedAtMs;
    this.#lookedAtMs = nowMs;
    if (this.#mergedAtMs === null) return;
    this.#longestGapMs = Math.max(this.#longestGapMs, nowMs - this.#mergedAtMs);
    this.#longestAbleMs = Math.max(this.#longestAbleMs, this.#ableMs);
  }

  onEntry({ kind, role }: SeenEntry, nowMs: number): void {
    if (role !== null && this.#starting.delete(role)) this.#awayUntilMs.set(role, nowMs);
    for (const injected of this.#injected)
      if (injected.recoveryMs === null && isOf(injected.fault.role, role) && nowMs >= injected.overAtMs)
        injected.recoveryMs = nowMs - injected.overAtMs;
    if (kind !== 'merge') return;
    this.onLook(nowMs);
    this.#merges++;
    this.#mergedAtMs = nowMs;
    this.#ableMs = 0;
  }

  /** Processes that have written nothing since their last fault. */
  get unrecovered(): string[] {
    const open = this.#injected.filter(({ recoveryMs }) => recoveryMs === null).map(({ fault }) => fault.role);
    return [...new Set(open)].sort();
  }

  rows(): FaultRow[] {
    const kinds = [...new Set(this.#injected.map(({ fault }) => fault.kind))].sort();
    return kinds.map((kind) => {
      const ofKind = this.#injected.filter(({ fault }) => fault.kind === kind);
      const times = ofKind.flatMap(({ recoveryMs }) => (recoveryMs === null ? [] : [recoveryMs])).sort((a, b) => a - b);
      return {
        ...{ kind, count: ofKind.length, recovered: times.length },
        medianMs: times[Math.floor(times.length / 2)] ?? null,
        worstMs: times.at(-1) ?? null,
      };
    });
  }

  #isAble(nowMs: number): boolean {
    const here = this.#roles.filter((role) => (this.#awayUntilMs.get(role) ?? 0) <= nowMs);
    const count = (prefix: string): number => here.filter((role) => role.startsWith(prefix)).length;
    return count('syncer') >= 1 && count('miner') >= this.#needs.miners && count('validator') >= this.#needs.validators;
  }
}
