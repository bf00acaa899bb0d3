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
  /**
   * By validator: revealed claims that it was drawn to judge, in the order of getting there. Judged and settled ones too, until somebody
   * looks.
   */
  readonly drawn: Map<Hotkey, Set<Hash>>;
  /** By fragment: accepted claims, and how many each learner has of them. */
  readonly accepted: Map<number, { readonly claims: Set<Hash>; readonly learners: Map<LearnerId, number> }>;
  /** In order of hotkey and name; a role that is missing is sorted anew. */
  readonly delegations: Map<Role, readonly Delegation[]>;
  /** In order of name. */
  readonly learners: Map<Hotkey, Learner[]>;
  /** In commit order. */
  readonly claims: Map<LearnerId, Claim[]>;
  /** Whose newest `join` or `leave` is the last of all. */
  moved: Learner | null;
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
    drawn: new Map(),
    accepted: new Map(),
    delegations: new Map(),
    learners: new Map(),
    claims: new Map(),
    moved: null,
    untrained: new Map(),
  };
  kept.set(state, made);
  for (const claim of state.claims.values()) noteClaim(made, claim);
  for (const learner of state.learners.values()) noteLearner(made, learner);
  for (const lease of state.leases.values()) if (lease.status === 'open') noteLease(made, lease, 1);
  return made;
}

const isOpen = (status: ClaimStatus): status is OpenStatus =>
  status === 'committed' || status === 'beaconed' || status === 'revealed';

function enter(indexes: Indexes, { id, status, body, learner, beacon }: Claim): void {
  if (isOpen(status)) indexes.open[status].add(id);
  if (status === 'revealed')
    for (const hotkey of beacon!.committee) {
      const own = indexes.drawn.get(hotkey);
      if (own === undefined) indexes.drawn.set(hotkey, new Set([id]));
      else own.add(id);
    }
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

/** Revealed claims that a validator has still to judge as one of their committees, in the order in which it could. */
export function* drawnFor(state: RunState, validator: Hotkey): Generator<Claim> {
  const own = indexesOf(state).drawn.get(validator) ?? new Set<Hash>();
  for (const id of own) {
    const claim = state.claims.get(id)!;
    const { status, beacon, verdicts, dispute } = claim;
    const isOwed =
      status === 'revealed' &&
      beacon!.committee.includes(validator) &&
      !verdicts.some(({ hotkey }) => hotkey === validator);
    if (!isOwed) own.delete(id);
    else if (dispute === null) yield claim;
  }
}

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
  noteClaim(indexesOf(state), claim);
}

function noteClaim(indexes: Indexes, claim: Claim): void {
  enter(indexes, claim);
  const own = indexes.claims.get(claim.learner);
  // `indexesOf` may have been made after the claim was.
  if (own === undefined) indexes.claims.set(claim.learner, [claim]);
  else if (own.at(-1) !== claim) own.push(claim);
}

/** The claim is no longer in the state: it was over. */
export function forgetClaim(state: RunState, claim: Claim): void {
  const { claims, drawn } = indexesOf(state);
  const left = claims.get(claim.learner)?.filter((each) => each !== claim);
  if (left !== undefined) claims.set(claim.learner, left);
  for (const hotkey of claim.beacon?.committee ?? []) drawn.get(hotkey)?.delete(claim.id);
}

/** All claims of a learner, in commit order. */
export const claimsOf = (state: RunState, learner: LearnerId): readonly Claim[] =>
  indexesOf(state).claims.get(learner) ?? [];

/** A learner joined, for the first time or again, or left. */
export function indexMove(state: RunState, learner: Learner): void {
  const indexes = indexesOf(state);
  noteLearner(indexes, learner);
  indexes.moved = learner;
}

/** The learner that the last `join` or `leave` was of; null where the state was not folded here. */
export const lastMoved = (state: RunState): Learner | null => indexesOf(state).moved;

function noteLearner({ learners }: Indexes, learner: Learner): void {
  const own = learners.get(learner.hotkey) ?? [];
  // `indexesOf` may have been made after the learner was.
  if (own.includes(learner)) return;
  learners.set(
    learner.hotkey,
    [...own, learner].sort((a, b) => (a.id < b.id ? -1 : 1)),
  );
}

/** Delegations of a role were changed. */
export function forgetDelegations(state: RunState, role: Role): void {
  indexesOf(state).delegations.delete(role);
}

/** Of one role, in order of hotkey and name, those that have expired too. */
export function delegationsByRole(state: RunState, role: Role): readonly Delegation[] {
  const { delegations } = indexesOf(state);
  const found = delegations.get(role);
  if (found !== undefined) return found;
  const made = [...state.delegations.values()]
    .filter((delegation) => delegation.role === role)
    .sort((a, b) => (a.hotkey + a.name < b.hotkey + b.name ? -1 : 1));
  delegations.set(role, made);
  return made;
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
