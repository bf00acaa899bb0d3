/** @file Router health as messages carry it: decimals of six digits, bounded; nothing of a model without experts. */
import type { WireBody } from '../protocol/messages.ts';
import { toDecimal } from '../protocol/names.ts';
import type { RoutersHealth } from '../training/router-health.ts';

/** To be spread into a body. Numbers that are not finite (a step that diverged) are not told. */
export function routersBody(health: RoutersHealth | null): Pick<WireBody<'heartbeat'>, 'routers'> {
  if (health === null || !Number.isFinite(health.entropy) || !Number.isFinite(health.imbalance)) return {};
  const short = (value: number, min: number, max: number) =>
    toDecimal(Number(Math.min(max, Math.max(min, value)).toPrecision(6)));
  return {
    routers: {
      entropy: short(health.entropy, 0, 1),
      imbalance: short(health.imbalance, 1, 1e6),
      deadExperts: health.deadExperts,
    },
  };
}
