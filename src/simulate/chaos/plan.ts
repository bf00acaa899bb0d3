/**
 * @file The faults of a chaos run, planned from a seed: what is done to whom, when and for how long. Pure; the processes
 * are `cli/simulate/chaos/`. Faults that end one process keep a distance, so that most of a run is not its own restart.
 */
import { Rng } from '../../util/rng.ts';

export const faultKinds = [
  'kill',
  'freeze',
  'torn-write',
  'clock-skew',
  'disk-full',
  'drop',
  'delay',
  'duplicate',
  'reorder',
] as const;
export type FaultKind = (typeof faultKinds)[number];

export interface Fault {
  readonly kind: FaultKind;
  /** Name of the process: `syncer`, `miner-1`, `validator-2`. */
  readonly role: string;
  /** Since the first fault could come. */
  readonly atMs: number;
  /** How long it lasts; 0 for what happens at once. */
  readonly holdMs: number;
  /** Of `clock-skew`: what the next process's clock is off by. */
  readonly skewMs: number;
  /** Of `torn-write`: in (0, 1), where the line of the write that was under way ends. */
  readonly tornAt: number;
}

export interface PlanOptions {
  readonly seed: number;
  readonly count: number;
  readonly durationMs: number;
  readonly roles: readonly string[];
  /** Kinds that cannot be had here. */
  readonly without?: readonly FaultKind[];
}

/** What is drawn from without putting back, so that each kind has its share of any run. */
const deck: readonly FaultKind[] = [
  ...(['kill', 'kill', 'freeze', 'freeze', 'freeze', 'freeze', 'clock-skew', 'torn-write'] as const),
  ...(['disk-full', 'disk-full', 'drop', 'drop', 'drop', 'delay', 'delay', 'delay'] as const),
  ...(['duplicate', 'duplicate', 'reorder', 'reorder'] as const),
];
const networkKinds: readonly FaultKind[] = ['drop', 'delay', 'duplicate', 'reorder'];
const restarts = (kind: FaultKind): boolean => kind === 'kill' || kind === 'torn-write' || kind === 'clock-skew';
/** Of the syncer, and of any other process. */
const restartGapMs = { syncer: 25_000, other: 15_000 };
/** `syncer`, and with two of them `syncer-2`. */
export const isSyncer = (role: string): boolean => role.startsWith('syncer');
export const clockSkewMs = 60_000;

export function planFaults({ seed, count, durationMs, roles, without = [] }: PlanOptions): Fault[] {
  const rng = new Rng(`chaos ${seed}`);
  const restartedAtMs = new Map<string, number>();
  let hand: FaultKind[] = [];
  const faults: Fault[] = [];
  for (let i = 0; i < count; i++) {
    const atMs = Math.floor(((i + rng.uniform()) * durationMs) / count);
    if (hand.length === 0)
      hand = shuffled(
        deck.filter((each) => !without.includes(each)),
        rng,
      );
    let kind = hand.pop()!;
    const rested = roles.filter((role) => {
      const gapMs = isSyncer(role) ? restartGapMs.syncer : restartGapMs.other;
      return atMs - (restartedAtMs.get(role) ?? Number.NEGATIVE_INFINITY) >= gapMs;
    });
    let targets = restarts(kind) ? rested : roles;
    if (kind === 'torn-write') targets = rested.filter(isSyncer);
    if (targets.length === 0) {
      kind = networkKinds[rng.below(networkKinds.length)]!;
      targets = roles;
    }
    // Its own connections are everybody's: those of the others are cut, one at a time.
    if (networkKinds.includes(kind)) targets = roles.filter((role) => !isSyncer(role));
    const role = targets[rng.below(targets.length)]!;
    if (restarts(kind)) restartedAtMs.set(role, atMs);
    faults.push({ kind, role, atMs, ...drawDetails(kind, rng) });
  }
  return faults;
}

function drawDetails(kind: FaultKind, rng: Rng): Pick<Fault, 'holdMs' | 'skewMs' | 'tornAt'> {
  const [length, side, tornAt] = [rng.uniform(), rng.below(2), 0.02 + 0.96 * rng.uniform()];
  const holdMs =
    restarts(kind) || kind === 'drop'
      ? 0
      : Math.round(kind === 'disk-full' ? 500 + 2_500 * length : 1_000 + 7_000 * length);
  return { holdMs, skewMs: kind === 'clock-skew' ? (side === 0 ? -clockSkewMs : clockSkewMs) : 0, tornAt };
}

function shuffled<T>(items: readonly T[], rng: Rng): T[] {
  const result = [...items];
  for (let i = result.length - 1; i > 0; i--) {
    const j = rng.below(i + 1);
    [result[i], result[j]] = [result[j]!, result[i]!];
  }
  return result;
}
