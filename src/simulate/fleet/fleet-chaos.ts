/**
 * @file Faults that are added to any fleet, planned from a seed of their own: what happens when, to whom, for how long. Pure plan; who
 * is hit is drawn among those that are up when it happens. Every kind has its share of any plan.
 */
import { Rng } from '../../util/rng.ts';
import type { Living, Timeline } from './faults.ts';
import type { Site } from './machine.ts';

export const fleetFaultKinds = [
  /** One machine loses what it has not claimed, and joins again. */
  'crash',
  /** One machine leaves cleanly, and joins again. */
  'leave',
  /** Four times as slow for a while; thirty times as slow. */
  'slow',
  'straggler',
  /** A third of all machines leaves within some minutes, as owners do who want them in the evening. */
  'evening',
  /** A site is cut off, or loses its power with all machines. */
  'partition',
  'site-loss',
  /** A third of one machine's packets is lost; its link has a twentieth of its speed. */
  'lossy-link',
  'slow-link',
] as const;
export type FleetFaultKind = (typeof fleetFaultKinds)[number];

export interface FleetFault {
  readonly kind: FleetFaultKind;
  /** Since the run began. */
  readonly atMs: number;
  readonly holdMs: number;
  /** In [0, 1): which of those that are up. */
  readonly target: number;
}

/** Longest time of each kind; it is drawn between a tenth of it and all of it, and never longer than a quarter of the run. */
const longestMinutes: Readonly<Record<FleetFaultKind, number>> = {
  ...{ crash: 10, leave: 60, slow: 60, straggler: 60, evening: 180, partition: 10 },
  ...{ 'site-loss': 60, 'lossy-link': 60, 'slow-link': 60 },
};
const slowFactor = { slow: 4, straggler: 30 } as const;
const eveningShare = 1 / 3;
const lostPackets = 1 / 3;
const linkFactor = 20;

export function planFleetFaults(options: {
  readonly seed: number;
  readonly count: number;
  readonly hours: number;
}): FleetFault[] {
  const { seed, count, hours } = options;
  const rng = new Rng(`fleet chaos ${seed}`);
  const lengthMs = hours * 3_600_000;
  const hand: FleetFaultKind[] = [];
  return Array.from({ length: count }, (_, i): FleetFault => {
    if (hand.length === 0) hand.push(...fleetFaultKinds);
    const [kind] = hand.splice(rng.below(hand.length), 1);
    const atMs = Math.floor(((i + rng.uniform()) * lengthMs) / count);
    const longestMs = Math.min(60_000 * longestMinutes[kind!], lengthMs / 4);
    return { kind: kind!, atMs, holdMs: Math.floor(longestMs * (0.1 + 0.9 * rng.uniform())), target: rng.uniform() };
  });
}

/** A machine, and how it comes back: not before its day, its site and its owner allow. */
export interface Life {
  readonly miner: Living;
  readonly come: () => void;
}

export interface ChaosOptions {
  readonly queue: Timeline;
  readonly startMs: number;
  readonly lives: readonly Life[];
  readonly sites: ReadonlyMap<Site, readonly Living[]>;
  /** By kind: faults that hit somebody. */
  readonly counts: Map<FleetFaultKind, number>;
}

export function scheduleFaults(plan: readonly FleetFault[], options: ChaosOptions): void {
  const { queue, startMs, counts } = options;
  for (const fault of plan)
    queue.at(startMs + fault.atMs, () => {
      if (strike(fault, options)) counts.set(fault.kind, (counts.get(fault.kind) ?? 0) + 1);
    });
}

/** Whether anybody was there to be hit. */
function strike({ kind, holdMs, target }: FleetFault, { queue, lives, sites }: ChaosOptions): boolean {
  const up = lives.filter(({ miner }) => miner.isUp);
  const hit = up[Math.floor(target * up.length)];
  if (hit === undefined) return false;
  const { miner, come } = hit;
  const { machine } = miner.options;
  const untilMs = queue.nowMs + holdMs;
  const comesBack = (life: Life): void => queue.after(holdMs, life.come);
  switch (kind) {
    case 'crash':
      miner.crash();
      queue.after(holdMs, come);
      return true;
    case 'leave':
      miner.stop();
      queue.after(holdMs, come);
      return true;
    case 'slow':
    case 'straggler':
      machine.slowFor({ untilMs, factor: slowFactor[kind] });
      return true;
    case 'evening':
      // Every third from the drawn one on.
      for (const [i, life] of up.entries())
        if ((i + Math.floor(target * up.length)) % Math.round(1 / eveningShare) === 0) {
          life.miner.stop();
          comesBack(life);
        }
      return true;
    case 'partition':
      for (const each of sites.get(machine.site)!) if (each.isUp) each.options.onSilence(each.id);
      machine.site.cutUntilMs = Math.max(machine.site.cutUntilMs, untilMs);
      return true;
    case 'site-loss': {
      const lost = up.filter((life) => life.miner.options.machine.site === machine.site);
      machine.site.lostUntilMs = Math.max(machine.site.lostUntilMs, untilMs);
      for (const life of lost) {
        life.miner.crash();
        comesBack(life);
      }
      return true;
    }
    case 'lossy-link':
      machine.worsenLink({ untilMs, lossRate: lostPackets, factor: 1 });
      return true;
    case 'slow-link':
      machine.worsenLink({ untilMs, lossRate: 0, factor: linkFactor });
      return true;
  }
}
