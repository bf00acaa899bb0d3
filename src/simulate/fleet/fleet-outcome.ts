/** @file What came of a simulated fleet, as plain data: written as JSON, printed, drawn. Its own command is in it. */
import type { Hotkey } from '../../protocol/names.ts';
import type { AttackOutcome } from './attacked-fleet.ts';
import { type FairnessReport, fairnessOf, squareRulePayments } from './fairness.ts';
import type { FaultCounts } from './faults.ts';
import { type FleetRun, type Sample, startMs } from './fleet-run.ts';
import { lossModelNote, modelledLoss } from './loss-model.ts';

export const fleetFormat = 'accrete-simulation/1';

export interface KindOutcome {
  readonly kind: string;
  readonly machines: number;
  readonly doneTokens: number;
  /** Tokens done over what the machines could have done without a fault, all hours of the run. */
  readonly utilisation: number;
  readonly fairness: readonly [worst: number, best: number] | null;
}

export interface FleetOutcome {
  readonly format: typeof fleetFormat;
  /** Makes this file again. */
  readonly command: string;
  readonly name: string;
  readonly about: string;
  readonly seed: string;
  readonly hours: number;
  readonly notes: readonly string[];
  readonly learners: number;
  readonly hotkeys: number;
  readonly validators: number;
  readonly headHash: string;
  readonly events: number;
  readonly journalBytes: number;
  readonly byKind: Readonly<Record<string, number>>;
  /** Kind and code of what the journal did not let in: late claims, leases that had ended. */
  readonly refusals: Readonly<Record<string, number>>;
  readonly claims: {
    readonly committed: number;
    readonly merged: number;
    readonly refused: number;
    readonly voided: number;
  };
  readonly merges: number;
  readonly audits: Readonly<Record<string, number>>;
  readonly faults: FaultCounts;
  /** Of the faults that a chaos seed added, by kind: those that hit somebody. */
  readonly chaos: Readonly<Record<string, number>>;
  readonly doneTokens: number;
  readonly mergedTokens: number;
  /** Merged tokens over what all machines could have trained in all hours that they were there for. */
  readonly goodput: number;
  /** Share of the seconds after the first step in which at least one learner trained. */
  readonly uptime: number;
  readonly loss: number;
  /** Validators' time on claims and replays over the learners' time. */
  readonly validatorShare: number;
  readonly kinds: readonly KindOutcome[];
  readonly fairness: FairnessReport;
  readonly squareRule: FairnessReport;
  readonly attack: AttackOutcome | null;
  readonly samples: readonly (Sample & { readonly loss: number })[];
}

export interface OutcomeOptions {
  readonly command: string;
  readonly name: string;
  readonly about: string;
  readonly seed: string;
  readonly hours: number;
  readonly notes: readonly string[];
}

export function fleetOutcome(fleet: FleetRun, options: OutcomeOptions): FleetOutcome {
  const { journal, miners, validators, samples, counts, sizes, doneTokens, watched } = fleet;
  const { run } = journal;
  const mergedTokens = run.cellTokens / fleet.manifest.fragments.count;
  const lossAt = (tokens: number): number => modelledLoss(sizes, tokens);
  const { fairness, squareRule } = fairnessReports(fleet);
  const claims = [...run.learners.values()].reduce(
    (sum, { claims: own }) => ({
      committed: sum.committed + own.committed,
      merged: sum.merged + own.merged,
      refused: sum.refused + own.refused,
      voided: sum.voided + own.voided,
    }),
    { committed: 0, merged: 0, refused: 0, voided: 0 },
  );
  const audits: Record<string, number> = {};
  for (const { status } of run.audits.values()) audits[status] = (audits[status] ?? 0) + 1;
  const capacity = capacityOf(fleet, options.hours);
  const learnerMs = miners.reduce((sum, { upMs }) => sum + upMs, 0);
  const validatorMs = validators.reduce((sum, { workMs }) => sum + workMs.claims + workMs.replays, 0);
  return {
    format: fleetFormat,
    ...options,
    notes: [lossModelNote, ...options.notes],
    learners: miners.length,
    hotkeys: fairness.earners.length,
    validators: validators.length,
    headHash: run.headHash,
    events: run.size,
    journalBytes: fleet.journalBytes,
    byKind: Object.fromEntries([...run.eventCounts].sort()),
    refusals: Object.fromEntries([...journal.refusals].sort()),
    ...{ claims, merges: run.merges, audits, faults: counts, doneTokens, mergedTokens },
    chaos: Object.fromEntries([...fleet.chaosCounts].sort()),
    goodput: mergedTokens / capacity,
    uptime: watched.seconds === 0 ? 0 : watched.withTraining / watched.seconds,
    loss: lossAt(mergedTokens),
    validatorShare: learnerMs === 0 ? 0 : validatorMs / learnerMs,
    kinds: kindsOf(fleet, options.hours, fairness),
    ...{ fairness, squareRule },
    attack: fleet.attacked?.outcome(fleet.ledger.payments, workOf(fleet)) ?? null,
    samples: samples.map((sample) => ({ ...sample, loss: lossAt(sample.mergedTokens) })),
  };
}

const sharedHours =
  (hours: number) =>
  (miner: FleetRun['miners'][number]): number => {
    const { leaveAfterHours } = miner.options.machine.kind;
    const joinedHour = miner.firstJoinMs === null ? hours : (miner.firstJoinMs - startMs) / 3_600_000;
    return Math.max(0, Math.min(hours - joinedHour, leaveAfterHours ?? Infinity));
  };

/** Tokens that all machines would have trained from their first join to the end, or to their leaving for good. */
function capacityOf(fleet: FleetRun, hours: number): number {
  const of = sharedHours(hours);
  return fleet.miners.reduce((sum, miner) => sum + 3_600 * of(miner) * miner.options.machine.tokensPerSecond, 0);
}

function kindsOf(fleet: FleetRun, hours: number, { earners }: FairnessReport): KindOutcome[] {
  const of = sharedHours(hours);
  const fairOf = new Map(earners.map(({ hotkey, fairness }) => [hotkey, fairness]));
  return [...new Set(fleet.miners.map(({ options }) => options.machine.kind))].map((kind) => {
    const miners = fleet.miners.filter(({ options }) => options.machine.kind === kind);
    const capacity = miners.reduce((sum, m) => sum + 3_600 * of(m) * m.options.machine.tokensPerSecond, 0);
    const done = miners.reduce((sum, { tokens }) => sum + tokens, 0);
    const fair = miners.map(({ options }) => fairOf.get(options.hotkey.hotkey) ?? null).filter((x) => x !== null);
    return {
      kind: kind.kind,
      machines: miners.length,
      doneTokens: done,
      utilisation: capacity === 0 ? 0 : done / capacity,
      fairness: fair.length === 0 ? null : [Math.min(...fair), Math.max(...fair)],
    };
  });
}

/** By tempo, also where nobody did anything. */
const workOf = ({ doneByTempo }: FleetRun): ReadonlyMap<Hotkey, number>[] =>
  Array.from(doneByTempo, (tempo) => tempo ?? new Map<Hotkey, number>());

function fairnessReports(fleet: FleetRun): { readonly fairness: FairnessReport; readonly squareRule: FairnessReport } {
  const { miners, ledger, manifest } = fleet;
  const work = workOf(fleet);
  const hotkeys = [...new Set(miners.map(({ options }) => options.hotkey.hotkey))];
  const tempoMs = manifest.ledger.tempoBlocks * manifest.ledger.blockMs;
  const joinedEpoch = new Map<Hotkey, number>();
  for (const { firstJoinMs, options } of miners) {
    const { hotkey } = options.hotkey;
    const epoch = firstJoinMs === null ? Infinity : Math.floor((firstJoinMs - startMs) / tempoMs);
    joinedEpoch.set(hotkey, Math.min(epoch, joinedEpoch.get(hotkey) ?? Infinity));
  }
  const rest = { work, hotkeys, joinedEpoch };
  return {
    fairness: fairnessOf({ ...rest, payments: ledger.payments }),
    squareRule: fairnessOf({ ...rest, payments: squareRulePayments(work) }),
  };
}
