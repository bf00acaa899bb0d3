/**
 * @file The miner's decisions: when to ask for data, when to claim, what to take in, how to leave. Pure: bytes, time and
 * randomness come in with events. Take-in, claim and training only happen between two inner steps, in that order: taking
 * in first makes the claim's base the newest version at no cost.
 */
import { assertNever } from '../../util/errors.ts';
import { countRanges, normalizeRanges, type Range } from '../../util/ranges.ts';
import { batchSequencesAt, scheduleTokensAt, warmupOf } from '../learner/schedule-position.ts';
import type { ClaimPlan, HeldLease, MinerEffect, MinerEvent, MinerRules, MinerState, StepRecord } from './events.ts';

type Decision = readonly [MinerState, readonly MinerEffect[]];

export function initialMinerState(options: {
  readonly rules: MinerRules;
  /** The learner's committed steps so far. */
  readonly innerSteps: number;
  readonly versions: readonly number[];
  readonly lastClaimedOuterStep: number;
}): MinerState {
  const { rules, innerSteps, versions, lastClaimedOuterStep } = options;
  return {
    kind: 'joining',
    rules,
    innerSteps,
    joinedAtStep: innerSteps,
    committedThrough: innerSteps,
    // Leases from before a restart go back to the pool with the join.
    leases: [],
    leaseRequest: { kind: 'none' },
    isStepping: false,
    due: null,
    lastClaimedOuterStep,
    lastClaimStep: innerSteps,
    claimedThrough: versions.map(() => innerSteps),
    versions,
    pending: new Map(),
    start: versions,
    takenIn: [],
    claimed: [],
    records: [],
    openClaims: [],
  };
}

export function stepMiner(state: MinerState, event: MinerEvent): Decision {
  const [next, effects] = absorb(state, event);
  const [settled, more] = decide(next, event.nowMs);
  return [settled, [...effects, ...more]];
}

/** What the event says, without consequences for what to do next. */
function absorb(state: MinerState, event: MinerEvent): Decision {
  switch (event.kind) {
    case 'joined':
      return [state.kind === 'joining' ? { ...state, kind: 'training' } : state, []];
    case 'lease-granted':
      return absorbLease(state, event.lease);
    case 'lease-refused':
      return [{ ...state, leaseRequest: { kind: 'refused', retryAtMs: event.nowMs + state.rules.leaseRetryMs } }, []];
    case 'lease-ended':
      return [forgetLease(state, event.lease), []];
    case 'fragment-due': {
      if (state.due !== null && event.outerStep <= state.due.outerStep) return [state, []];
      return [{ ...state, due: { outerStep: event.outerStep, fragment: event.fragment } }, []];
    }
    case 'fragment-published':
    case 'fragment-fetched':
      return absorbVersion(state, event);
    case 'step-done':
      return [{ ...state, isStepping: false }, []];
    case 'claim-committed':
    case 'claim-revealed':
    case 'claim-failed':
    case 'claim-voided':
      return absorbClaim(state, event);
    case 'stop':
      return [state.kind === 'left' ? state : { ...state, kind: 'leaving' }, []];
    case 'tick':
      return [state, []];
    default:
      return assertNever(event);
  }
}

function absorbLease(state: MinerState, lease: Extract<MinerEvent, { kind: 'lease-granted' }>['lease']): Decision {
  // A redelivered lease is read once.
  if (state.leases.some((held) => held.lease === lease.lease)) return [state, []];
  if (state.kind === 'leaving' || state.kind === 'left')
    return [{ ...state, leaseRequest: { kind: 'none' } }, [{ kind: 'return-lease', lease: lease.lease }]];
  const leases = [...state.leases, { ...lease, next: lease.range[0] }];
  return [{ ...state, leases, leaseRequest: { kind: 'none' } }, []];
}

/** Others will train what no commit covers, so this learner's claims must not name it. */
function forgetLease(state: MinerState, lease: number): MinerState {
  const records = state.records.map((record) =>
    record.step < state.committedThrough
      ? record
      : { ...record, reads: record.reads.filter((read) => read.lease !== lease) },
  );
  return { ...state, records, leases: state.leases.filter((held) => held.lease !== lease) };
}

function absorbVersion(
  state: MinerState,
  event: Extract<MinerEvent, { kind: 'fragment-published' | 'fragment-fetched' }>,
): Decision {
  const { fragment, version } = event;
  const known = state.pending.get(fragment);
  const pending = new Map(state.pending);
  if (event.kind === 'fragment-fetched') {
    // A version that a newer one overtook while its bytes travelled is not taken in.
    if (known?.version !== version) return [state, []];
    pending.set(fragment, { ...known, isFetched: true });
    return [{ ...state, pending }, []];
  }
  if (version <= (state.versions[fragment] ?? 0) || version <= (known?.version ?? 0)) return [state, []];
  pending.set(fragment, { version, artifact: event.artifact, isFetched: false });
  return [{ ...state, pending }, [{ kind: 'fetch-fragment', fragment, version, artifact: event.artifact }]];
}

function absorbClaim(
  state: MinerState,
  event: Extract<MinerEvent, { kind: 'claim-committed' | 'claim-revealed' | 'claim-failed' | 'claim-voided' }>,
): Decision {
  const without = (drop: (claim: MinerState['openClaims'][number]) => boolean) => ({
    ...state,
    openClaims: state.openClaims.filter((claim) => !drop(claim)),
  });
  switch (event.kind) {
    case 'claim-committed': {
      const openClaims = state.openClaims.map((open) =>
        open.outerStep === event.outerStep ? { ...open, claim: event.claim, stage: 'uploading' as const } : open,
      );
      const through = state.openClaims.find(({ outerStep }) => outerStep === event.outerStep)?.through ?? 0;
      return [{ ...state, openClaims, committedThrough: Math.max(state.committedThrough, through) }, []];
    }
    case 'claim-failed':
      return [without(({ outerStep }) => outerStep === event.outerStep), []];
    case 'claim-revealed':
      return [without(({ claim }) => claim === event.claim), []];
    case 'claim-voided': {
      if (!state.openClaims.some(({ claim }) => claim === event.claim)) return [state, []];
      return [without(({ claim }) => claim === event.claim), [{ kind: 'abandon-claim', claim: event.claim }]];
    }
    default:
      return assertNever(event);
  }
}

function decide(state: MinerState, nowMs: number): Decision {
  if (state.kind === 'leaving') return decideLeaving(state);
  if (state.kind !== 'training') return [state, []];
  const effects: MinerEffect[] = [];
  let next = state;
  for (const rule of next.isStepping ? [decideLease] : [decideTakeIn, decideClaim, decideTrain, decideLease]) {
    const [after, more] = rule(next, nowMs);
    next = after;
    effects.push(...more);
  }
  return [next, effects];
}

/** A clean leave ends the running step and the open claims, then gives the leases back. */
function decideLeaving(state: MinerState): Decision {
  if (state.isStepping || state.openClaims.length > 0) return [state, []];
  const returns = state.leases.map(({ lease }): MinerEffect => ({ kind: 'return-lease', lease }));
  return [{ ...state, kind: 'left', leases: [] }, [...returns, { kind: 'leave' }]];
}

/** What was claimed since the last step waits for the next: the trace names take-ins before claims, so they must commute. */
function decideTakeIn(state: MinerState): Decision {
  const isClaimed = (fragment: number): boolean => state.claimed.some(([claimed]) => claimed === fragment);
  const ready = [...state.pending]
    .filter(([fragment, { isFetched }]) => isFetched && !isClaimed(fragment))
    .sort(([a], [b]) => a - b);
  if (ready.length === 0) return [state, []];
  const pending = new Map(state.pending);
  const versions = [...state.versions];
  const effects: MinerEffect[] = [];
  for (const [fragment, { version }] of ready) {
    pending.delete(fragment);
    versions[fragment] = version;
    effects.push({ kind: 'take-in', fragment, version });
  }
  const takenIn = [...state.takenIn, ...ready.map(([fragment, { version }]) => [fragment, version] as const)];
  return [{ ...state, pending, versions, takenIn }, effects];
}

/** Commits go one after the other: each names the trace head that the one before it committed. */
function decideClaim(state: MinerState): Decision {
  const { rules, innerSteps } = state;
  const due = state.due === null ? null : chooseOuterStep(state, state.due);
  const isDue = due !== null && due.outerStep > state.lastClaimedOuterStep;
  const hasWorked = innerSteps - state.lastClaimStep >= rules.innerStepsPerOuterStep;
  const isCommitting = state.openClaims.some(({ stage }) => stage === 'committing');
  if (!isDue || !hasWorked || isCommitting) return [state, []];
  const plan = planClaim(state, due);
  if (plan === null) return [state, []];
  const claimedThrough = state.claimedThrough.with(due.fragment, innerSteps);
  const oldest = Math.min(...claimedThrough);
  const next: MinerState = {
    ...state,
    lastClaimedOuterStep: due.outerStep,
    lastClaimStep: innerSteps,
    claimedThrough,
    records: state.records.filter(({ step }) => step >= oldest),
    claimed: [...state.claimed, [due.fragment, due.outerStep]],
    openClaims: [...state.openClaims, { ...due, through: innerSteps, claim: null, stage: 'committing' }],
  };
  return [next, [{ kind: 'claim', plan }]];
}

/**
 * The outer step that is open; or, of those since the last claim, that of a fragment which waits twice as long for a claim. A learner that is slower than
 * the outer steps meets some of them only: claiming whatever is due, one of a tenth of the speed always met the same two of four
 * fragments, and was paid for a quarter of its work. A claim that comes after its merge waits for the fragment's next.
 */
function chooseOuterStep(state: MinerState, due: NonNullable<MinerState['due']>): NonNullable<MinerState['due']> {
  const { claimedThrough, innerSteps, lastClaimedOuterStep } = state;
  const count = claimedThrough.length;
  const waited = (fragment: number): number => innerSteps - claimedThrough[fragment]!;
  let chosen = due;
  for (let outerStep = due.outerStep - 1; outerStep > due.outerStep - count; outerStep--) {
    if (outerStep <= lastClaimedOuterStep || outerStep < 0) break;
    const fragment = outerStep % count;
    if (waited(fragment) >= 2 * waited(due.fragment) && waited(fragment) > waited(chosen.fragment))
      chosen = { outerStep, fragment };
  }
  return chosen;
}

/**
 * The claim covers every step since the fragment's last one. A claim names one phase; of an interval that crosses a
 * phase change the sequences of the later phase are counted, the few of the earlier one are void.
 */
function planClaim(state: MinerState, due: NonNullable<MinerState['due']>): ClaimPlan | null {
  const { outerStep, fragment } = due;
  const from = state.claimedThrough[fragment]!;
  const records = state.records.filter(({ step, reads }) => step >= from && reads.length > 0);
  if (records.length === 0) return null;
  const phase = Math.max(...records.map((record) => record.phase));
  const reads = records.filter((record) => record.phase === phase).flatMap((record) => record.reads);
  const sequences = normalizeRanges(reads.map(({ range }) => range));
  return {
    outerStep,
    fragment,
    baseVersion: state.versions[fragment]!,
    steps: [from, state.innerSteps],
    phase,
    sequences,
  };
}

function decideTrain(state: MinerState): Decision {
  const [leases, returned] = dropStubs(state);
  const effects: MinerEffect[] = returned.map(({ lease }) => ({ kind: 'return-lease', lease }));
  const first = leases[0];
  const batch = first === undefined ? null : takeBatch(leases, batchOf(first, state.rules));
  if (first === undefined || batch === null) return [{ ...state, leases }, effects];
  const { rules, innerSteps: step } = state;
  const record: StepRecord = { step, phase: first.phase, reads: batch.reads };
  effects.push({
    kind: 'train',
    plan: {
      step,
      phase: first.phase,
      leases: batch.reads.map(({ lease }) => lease),
      sequences: normalizeRanges(batch.reads.map(({ range }) => range)),
      start: state.start,
      takenIn: state.takenIn,
      claimed: state.claimed,
      scheduleTokens: scheduleTokensAt(first, first.next),
      warmup: warmupOf(rules.joinWarmupSteps, step - state.joinedAtStep),
      withStateRoot: (step + 1) % rules.stateRootEverySteps === 0,
    },
  });
  const records = [...state.records, record];
  const begun = { isStepping: true, innerSteps: step + 1, start: null, takenIn: [], claimed: [] };
  return [{ ...state, ...begun, leases: batch.rest, records }, effects];
}

/** Sequences too few for a batch, before a lease of another phase, are given back. */
function dropStubs(state: MinerState): readonly [kept: readonly HeldLease[], returned: readonly HeldLease[]] {
  const [first, second] = state.leases;
  if (first === undefined || second === undefined || first.phase === second.phase) return [state.leases, []];
  if (first.range[1] - first.next >= batchOf(first, state.rules)) return [state.leases, []];
  return [state.leases.slice(1), [first]];
}

const batchOf = (held: HeldLease, rules: MinerState['rules']): number =>
  batchSequencesAt(held.batch ?? rules, scheduleTokensAt(held, held.next));

/** The next `count` sequences of the first lease's phase, over the border of two leases if need be; null if too few. */
function takeBatch(
  leases: readonly HeldLease[],
  count: number,
): { readonly reads: StepRecord['reads']; readonly rest: readonly HeldLease[] } | null {
  const reads: StepRecord['reads'][number][] = [];
  const rest: HeldLease[] = [];
  let missing = count;
  for (const held of leases) {
    const taken = held.phase === leases[0]!.phase ? Math.min(missing, held.range[1] - held.next) : 0;
    if (taken > 0) reads.push({ lease: held.lease, range: [held.next, held.next + taken] });
    missing -= taken;
    if (held.next + taken < held.range[1]) rest.push({ ...held, next: held.next + taken });
  }
  return missing === 0 ? { reads, rest } : null;
}

/** Asks while at least half a lease, or two batches, are left to read, so that training need not wait. */
function decideLease(state: MinerState, nowMs: number): Decision {
  const { leases, leaseRequest, rules } = state;
  const isWaiting =
    leaseRequest.kind === 'asked' || (leaseRequest.kind === 'refused' && nowMs < leaseRequest.retryAtMs);
  const left = countRanges(leases.map((held): Range => [held.next, held.range[1]]));
  const last = leases.at(-1);
  const size = last === undefined ? 0 : last.range[1] - last.range[0];
  const isLow = left <= Math.max(2 * rules.batchSequences, size / 2);
  if (isWaiting || leases.length >= 2 || !isLow) return [state, []];
  return [{ ...state, leaseRequest: { kind: 'asked' } }, [{ kind: 'request-lease' }]];
}
