/** @file What an attack was worth: the same run with and without it, over several seeds. */

import type { MinerOutcome, ScenarioOutcome } from './scenario.ts';
import { type Interval, meanInterval } from './statistics.ts';

export interface AttackReport {
  readonly name: string;
  /** Paid to the attacker's hotkeys together over what an honest miner was paid in the mean. */
  readonly earned: Interval;
  /** Held-out loss with the attack minus without it, nats a token. */
  readonly lossHarm: Interval;
  /** Codes said of the attacker's claims and audits, and bars of his validators, over all seeds. */
  readonly caughtBy: Readonly<Record<string, number>>;
  /** Share of reward over share of tokens truly done, of honest miners: the worst and the best. */
  readonly honestPay: readonly [worst: number, best: number];
  /** Refused claims of honest miners over all their claims. */
  readonly honestRefused: number;
}

export function reportAttack(
  name: string,
  runs: readonly { readonly attacked: ScenarioOutcome; readonly baseline: ScenarioOutcome }[],
): AttackReport {
  const caughtBy: Record<string, number> = {};
  for (const { attacked } of runs) {
    for (const miner of attacked.miners.filter(({ isAttacker }) => isAttacker))
      for (const [code, count] of Object.entries(miner.codes)) caughtBy[code] = (caughtBy[code] ?? 0) + count;
    for (const { kind } of attacked.notices) {
      const code = `OTHER_HISTORY (${kind})`;
      caughtBy[code] = (caughtBy[code] ?? 0) + 1;
    }
    const barred = attacked.validators.filter((validator) => validator.isAttacker && validator.barred !== null).length;
    if (barred > 0) caughtBy.BARRED = (caughtBy.BARRED ?? 0) + barred;
  }
  const honest = runs.map(({ attacked }) => attacked.miners.filter(({ isAttacker }) => !isAttacker));
  const pay = honest.flatMap(payShares);
  const claims = honest.flat().reduce((sum, miner) => sum + miner.claims, 0);
  const refused = honest.flat().reduce((sum, miner) => sum + miner.refused, 0);
  return {
    name,
    earned: meanInterval(runs.map(({ attacked }) => earnedBy(attacked))),
    lossHarm: meanInterval(runs.map(({ attacked, baseline }) => attacked.heldOut - baseline.heldOut)),
    caughtBy,
    honestPay: [Math.min(...pay), Math.max(...pay)],
    honestRefused: claims === 0 ? 0 : refused / claims,
  };
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

function earnedBy({ miners }: ScenarioOutcome): number {
  const paid = (isAttacker: boolean) => miners.filter((m) => m.isAttacker === isAttacker).map((m) => m.emissionRao);
  const honest = paid(false);
  const mean = sum(honest) / honest.length;
  return mean === 0 ? 0 : sum(paid(true)) / mean;
}

/** Among honest miners alone: what an attacker takes from all of them is in `earned`. */
function payShares(miners: readonly MinerOutcome[]): number[] {
  const tokens = sum(miners.map((miner) => miner.tokens));
  const emission = sum(miners.map(({ emissionRao }) => emissionRao));
  if (emission === 0) return [0];
  return miners.map((miner) => miner.emissionRao / emission / (miner.tokens / tokens));
}
