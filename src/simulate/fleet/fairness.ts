/**
 * @file Who did what share of the work and was paid what share of it, by the simulator's own count of inner-step tokens; and what
 * the same fleet would have earned under the rule tokens²/steps with synchronised cohorts.
 */
import type { Hotkey } from '../../protocol/names.ts';
import type { Payment } from './fleet-ledger.ts';

export interface Earner {
  readonly hotkey: Hotkey;
  /** Tokens of inner steps truly done, refused and lost ones too. */
  readonly doneTokens: number;
  readonly workShare: number;
  readonly paidShare: number;
  /**
   * Paid over what the same payments would have been by work alone: each tempo pays one unit, so a tempo in which few worked pays
   * each of them more. 1 is fair.
   */
  readonly fairness: number | null;
  /** Epochs of the ledger between the first join and the first payment; null if none came. */
  readonly temposToFirstPay: number | null;
}

export interface FairnessReport {
  readonly earners: readonly Earner[];
  /** 1/Σ share²: how many equal earners it would take. */
  readonly effectiveEarners: number;
  readonly effectiveWorkers: number;
}

export interface FairnessInput {
  /** By tempo of the journal, from 0. */
  readonly work: readonly ReadonlyMap<Hotkey, number>[];
  readonly payments: readonly Payment[];
  readonly hotkeys: readonly Hotkey[];
  readonly joinedEpoch: ReadonlyMap<Hotkey, number>;
}

const sum = (values: Iterable<number>): number => [...values].reduce((total, value) => total + value, 0);

export function effectiveNumber(shares: readonly number[]): number {
  const total = sum(shares);
  const squares = sum(shares.map((share) => (share / total) ** 2));
  return total === 0 ? 0 : 1 / squares;
}

/** Epoch e of the ledger pays the journal's tempo that ended just before it: e − 1. */
export function fairnessOf({ work, payments, hotkeys, joinedEpoch }: FairnessInput): FairnessReport {
  const done = totals(work, hotkeys);
  const allDone = sum(done.values());
  const paid = new Map<Hotkey, number>();
  const expected = new Map<Hotkey, number>();
  const first = new Map<Hotkey, number>();
  for (const { epoch, shares } of payments) {
    const of = work[epoch - 1] ?? new Map<Hotkey, number>();
    const inTempo = sum(of.values());
    const toMiners = sum(hotkeys.map((hotkey) => shares.get(hotkey) ?? 0));
    for (const hotkey of hotkeys) {
      const share = shares.get(hotkey) ?? 0;
      paid.set(hotkey, (paid.get(hotkey) ?? 0) + share);
      if (inTempo > 0) expected.set(hotkey, (expected.get(hotkey) ?? 0) + (toMiners * (of.get(hotkey) ?? 0)) / inTempo);
      if (share > 0 && !first.has(hotkey)) first.set(hotkey, epoch);
    }
  }
  const allPaid = sum(paid.values());
  const earners = hotkeys.map((hotkey): Earner => {
    const own = expected.get(hotkey) ?? 0;
    const at = first.get(hotkey);
    return {
      hotkey,
      doneTokens: done.get(hotkey)!,
      workShare: allDone === 0 ? 0 : done.get(hotkey)! / allDone,
      paidShare: allPaid === 0 ? 0 : (paid.get(hotkey) ?? 0) / allPaid,
      fairness: own === 0 ? null : (paid.get(hotkey) ?? 0) / own,
      temposToFirstPay: at === undefined ? null : at - (joinedEpoch.get(hotkey) ?? 0),
    };
  });
  return {
    earners,
    effectiveEarners: effectiveNumber(earners.map(({ paidShare }) => paidShare)),
    effectiveWorkers: effectiveNumber(earners.map(({ workShare }) => workShare)),
  };
}

function totals(work: readonly ReadonlyMap<Hotkey, number>[], hotkeys: readonly Hotkey[]): Map<Hotkey, number> {
  const done = new Map(hotkeys.map((hotkey) => [hotkey, 0]));
  for (const tempo of work) for (const [hotkey, tokens] of tempo) done.set(hotkey, (done.get(hotkey) ?? 0) + tokens);
  return done;
}

/**
 * The comparison: a cohort is all who work in the tempo before and in this one (a newcomer waits for the next cohort, who leaves
 * within it has nothing); all its members take the same steps, the faster ones with larger batches, so a score of tokens²/steps
 * grows with the square of the tokens. Each tempo pays one unit. By the same count of work.
 */
export function squareRulePayments(work: readonly ReadonlyMap<Hotkey, number>[]): Payment[] {
  return work.flatMap((tempo, index) => {
    const before = work[index - 1];
    const after = work[index + 1];
    const members = [...tempo].filter(([hotkey]) => (before?.has(hotkey) ?? true) && (after?.has(hotkey) ?? true));
    const total = sum(members.map(([, tokens]) => tokens ** 2));
    if (total === 0) return [];
    const shares = new Map(members.map(([hotkey, tokens]) => [hotkey, tokens ** 2 / total]));
    return [{ epoch: index + 1, atMs: 0, shares }];
  });
}
