/** @file Numbers of routers as answers show them: one miner's or release's, and the mean of several. */
import type { WireBody } from '../protocol/messages.ts';
import { fromDecimal } from '../protocol/names.ts';
import type { RoutersStatus } from './status.ts';

export function routersOf(body: WireBody<'heartbeat'>['routers']): RoutersStatus | null {
  if (body === undefined) return null;
  const { entropy, imbalance, deadExperts } = body;
  return { entropy: fromDecimal(entropy), imbalance: fromDecimal(imbalance), deadExperts };
}

/** Means, with the most dead experts of one. */
export function meanRouters(all: readonly RoutersStatus[]): RoutersStatus | null {
  if (all.length === 0) return null;
  const mean = (of: (routers: RoutersStatus) => number): number =>
    all.reduce((sum, each) => sum + of(each), 0) / all.length;
  return {
    entropy: mean(({ entropy }) => entropy),
    imbalance: mean(({ imbalance }) => imbalance),
    deadExperts: Math.max(...all.map(({ deadExperts }) => deadExperts)),
  };
}
