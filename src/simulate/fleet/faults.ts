/**
 * @file What goes wrong in a fleet, and when: each machine's failures, stalls, slow spells and hours, each site's cuts and losses.
 * Times between faults are exponential; all follow from one seed, a stream for each machine, so that one more machine
 * changes nothing of the others.
 */
import type { LearnerId } from '../../protocol/names.ts';
import { Rng } from '../../util/rng.ts';
import type { EventQueue } from './event-queue.ts';
import type { Fleet } from './fleet-file.ts';
import type { Machine, Site } from './machine.ts';

const dayMs = 86_400_000;

export interface FaultCounts {
  crashes: number;
  stalls: number;
  slowdowns: number;
  joins: number;
  leaves: number;
  partitions: number;
  siteLosses: number;
}

export const noFaults = (): FaultCounts => ({
  ...{ crashes: 0, stalls: 0, slowdowns: 0, joins: 0, leaves: 0, partitions: 0, siteLosses: 0 },
});

/** When something happens: virtual time. */
export type Timeline = Pick<EventQueue, 'nowMs' | 'after' | 'at'>;

/** A machine with its learner, as faults see it. */
export interface Living {
  readonly id: LearnerId;
  readonly isUp: boolean;
  readonly options: { readonly machine: Machine; readonly onSilence: (learner: LearnerId) => void };
  start(): void;
  stop(): void;
  crash(): void;
}

/** What happens again and again at random, `aDay` times a day in the mean. */
function again(queue: Timeline, rng: Rng, aDay: number, happen: () => void): void {
  if (aDay === 0) return;
  const next = (): void =>
    queue.after((-Math.log(1 - rng.uniform()) * dayMs) / aDay, () => {
      happen();
      next();
    });
  next();
}

export interface LifeOptions {
  readonly queue: Timeline;
  readonly startMs: number;
  /** Of the machine in its kind: later ones may arrive later. */
  readonly index: number;
  readonly seed: string;
  readonly counts: FaultCounts;
}

/**
 * Life of one machine with its learner: its arrival, its days, its end.
 * @returns what brings it back if it is away and may come
 */
export function liveThrough(miner: Living, options: LifeOptions): () => void {
  const { queue, startMs, index, seed, counts } = options;
  const { machine } = miner.options;
  const { kind } = machine;
  const rng = new Rng(`faults ${seed} ${miner.id}`);
  const arriveMs = startMs + 3_600_000 * (kind.joinHour + index * kind.joinEveryHours);
  const leaveMs = kind.leaveAfterHours === undefined ? Infinity : arriveMs + 3_600_000 * kind.leaveAfterHours;
  const isHome = (): boolean =>
    queue.nowMs < leaveMs && queue.nowMs >= machine.site.lostUntilMs && isOn(machine, queue.nowMs - startMs);
  const come = (): void => {
    if (!isHome()) return;
    counts.joins++;
    miner.start();
  };
  // Machines do not all begin within one second.
  queue.at(arriveMs + 60_000 * rng.uniform(), come);
  if (leaveMs < Infinity)
    queue.at(leaveMs, () => {
      counts.leaves++;
      miner.stop();
    });
  if (kind.hoursADay < 24) followHours(machine, { queue, startMs, arriveMs, come, go: () => miner.stop() });
  again(queue, rng, kind.failuresADay, () => {
    if (!miner.isUp) return;
    counts.crashes++;
    miner.crash();
    queue.after(1_000 * kind.restartSeconds, come);
  });
  again(queue, rng, kind.stallsADay, () => {
    if (!miner.isUp) return;
    counts.stalls++;
    machine.stall(1_000 * kind.stallSeconds);
  });
  again(queue, rng, kind.slowdownsADay, () => {
    counts.slowdowns++;
    machine.slowFor({ untilMs: queue.nowMs + 60_000 * kind.slowdownMinutes, factor: kind.slowdownFactor });
  });
  return come;
}

/** Within the hours of the day in which its owner leaves it on? */
function isOn({ hours: [from, to], kind }: Machine, sinceStartMs: number): boolean {
  if (kind.hoursADay === 24) return true;
  const hour = (sinceStartMs / 3_600_000) % 24;
  return (hour >= from && hour < to) || hour + 24 < to;
}

function followHours(
  { hours: [from, to] }: Machine,
  options: { queue: Timeline; startMs: number; arriveMs: number; come: () => void; go: () => void },
): void {
  const { queue, startMs, arriveMs, come, go } = options;
  const daily = (hour: number, action: () => void): void => {
    const day = Math.max(0, Math.ceil((arriveMs - startMs) / dayMs - hour / 24));
    const at = (n: number): void =>
      queue.at(startMs + n * dayMs + 3_600_000 * hour, () => {
        action();
        at(n + 1);
      });
    at(day);
  };
  daily(from, come);
  daily(to, go);
}

/** Sites: all their machines are cut off together, or lose their power together. */
export function troubleSites(
  sites: ReadonlyMap<Site, readonly Living[]>,
  { queue, faults, seed, counts }: { queue: Timeline; faults: Fleet['faults']; seed: string; counts: FaultCounts },
): void {
  for (const [site, miners] of sites) {
    const rng = new Rng(`site ${seed} ${site.name}`);
    again(queue, rng, faults.partitionsADay, () => {
      counts.partitions++;
      for (const miner of miners) if (miner.isUp) miner.options.onSilence(miner.id);
      site.cutUntilMs = queue.nowMs + 60_000 * faults.partitionMinutes;
    });
    again(queue, rng, faults.siteLossesADay, () => {
      counts.siteLosses++;
      const up = miners.filter((miner) => miner.isUp);
      for (const miner of miners) miner.crash();
      site.lostUntilMs = queue.nowMs + 60_000 * faults.siteLossMinutes;
      queue.at(site.lostUntilMs, () => {
        for (const miner of up) miner.start();
      });
    });
  }
}
