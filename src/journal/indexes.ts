/**
 * @file What can be found in the state of a run without looking through all of it: kept beside it, never hashed, made anew for a state
 * that it was not kept for. The fold tells of every change; a run of ten thousand learners has millions of events, and each
 * looked through all that was open.
 */
import type { Role } from '../protocol/messages.ts';
import type { Hash, Hotkey, LearnerId } from '../protocol/names.ts';
import { countRanges } from '../util/ranges.ts';
import type { Claim, ClaimStatus, Delegation, Learner, Lease, RunState } from './state.ts';

export interface Indexes {
  /** Of each status that is not an end, in the order of getting it. */
  readonly open: Readonly<Record<OpenStatus, Set<Hash>>>;
  /** By fragment: accepted claims, and how many each learner has of them. */
  readonly accepted: Map<number, { readonly claims: Set<Hash>; readonly learners: Map<LearnerId, number> }>;
  /** In order of hotkey and name; null: to be sorted anew. */
  delegations: ReadonlyMap<Role, readonly Delegation[]> | null;
  /** In order of name. */
  readonly learners: Map<Hotkey, Learner[]>;
  /** By phase: sequences of open leases that no committed line covers. */
  readonly untrained: Map<number, number>;
}

type OpenStatus = 'committed' | 'beaconed' | 'revealed';

const kept = new WeakMap<RunState, Indexes>();

export function indexesOf(state: RunState): Indexes {
  const found = kept.get(state);
  if (found !== undefined) return found;
  const made: Indexes = {
    open: { committed: new Set(), beaconed: new Set(), revealed: new Set() },
    accepted: new Map(),
    delegations: null,
    learners: new Map(),
    untrained: new Map(),
  };
  kept.set(state, made);
  for (const id of state.openClaims) enter(made, state.claims.get(id)!);
  for (const learner of state.learners.values()) noteLearner(made, learner);
  for (const lease of state.leases.values()) if (lease.status === 'open') noteLease(made, lease, 1);
  return made;
}

const isOpen = (status: ClaimStatus): status is OpenStatus =>
  status === 'committed' || status === 'beaconed' || status === 'revealed';

function enter(indexes: Indexes, { id, status, body, learner }: Claim): void {
  if (isOpen(status)) indexes.open[status].add(id);
  if (status !== 'accepted') return;
  const of = acceptedIn(indexes, body.fragment);
  of.claims.add(id);
  of.learners.set(learner, (of.learners.get(learner) ?? 0) + 1);
}

function acceptedIn(indexes: Indexes, fragment: number) {
  const found = indexes.accepted.get(fragment);
  if (found !== undefined) return found;
  const made = { claims: new Set<Hash>(), learners: new Map<LearnerId, number>() };
  indexes.accepted.set(fragment, made);
  return made;
}

export const acceptedOf = (state: RunState, fragment: number) => acceptedIn(indexesOf(state), fragment);

/** The only way to change a claim's status. */
export function setStatus(state: RunState, claim: Claim, status: ClaimStatus): void {
  const indexes = indexesOf(state);
  if (isOpen(claim.status)) indexes.open[claim.status].delete(claim.id);
  if (claim.status === 'accepted') leave(indexes, claim);
  claim.status = status;
  enter(indexes, claim);
}

function leave(indexes: Indexes, { id, body, learner }: Claim): void {
  const { claims, learners } = acceptedIn(indexes, body.fragment);
  claims.delete(id);
  const left = (learners.get(learner) ?? 0) - 1;
  if (left > 0) learners.set(learner, left);
  else learners.delete(learner);
}

/** A claim was committed. */
export function indexClaim(state: RunState, claim: Claim): void {
  enter(indexesOf(state), claim);
}

/** A learner joined for the first time. */
export function indexLearner(state: RunState, learner: Learner): void {
  noteLearner(indexesOf(state), learner);
}

function noteLearner({ learners }: Indexes, learner: Learner): void {
  const own = learners.get(learner.hotkey) ?? [];
  // `indexesOf` may have been made after the learner was.
  if (own.includes(learner)) return;
  learners.set(
    learner.hotkey,
    [...own, learner].sort((a, b) => (a.id < b.id ? -1 : 1)),
  );
}

/** Delegations were changed. */
export function forgetDelegations(state: RunState): void {
  indexesOf(state).delegations = null;
}

/** Of one role, in order of hotkey and name, those that have expired too. */
export function delegationsByRole(state: RunState, role: Role): readonly Delegation[] {
  const indexes = indexesOf(state);
  indexes.delegations ??= sortDelegations(state);
  return indexes.delegations.get(role) ?? [];
}

function sortDelegations(state: RunState): ReadonlyMap<Role, readonly Delegation[]> {
  const byRole = new Map<Role, Delegation[]>();
  for (const delegation of state.delegations.values()) {
    const of = byRole.get(delegation.role) ?? [];
    of.push(delegation);
    byRole.set(delegation.role, of);
  }
  for (const of of byRole.values()) of.sort((a, b) => (a.hotkey + a.name < b.hotkey + b.name ? -1 : 1));
  return byRole;
}

/** What the lease still has to be trained on comes (1) or goes (-1); before and after each change of what is covered. */
export function indexLease(state: RunState, lease: Lease, sign: 1 | -1): void {
  noteLease(indexesOf(state), lease, sign);
}

function noteLease({ untrained }: Indexes, { phase, range, covered }: Lease, sign: 1 | -1): void {
  const left = range[1] - range[0] - countRanges(covered);
  untrained.set(phase, (untrained.get(phase) ?? 0) + sign * left);
}

/** Sequences of open leases of a phase that no committed line covers. */
export const untrainedOf = (state: RunState, phase: number): number => indexesOf(state).untrained.get(phase) ?? 0;
