/**
 * @file Hashes of the fold's state. `hashState`: all of it, for comparing two folds. `segmentHash`: what later events can
 * depend on, so that its cost does not grow with the run; a release carries it.
 */
import { hashOfJson } from '../protocol/hash.ts';
import type { Hash } from '../protocol/names.ts';
import { forgetClaim } from './indexes.ts';
import { mayBeJudged } from './queries.ts';
import type { Claim, RunState } from './state.ts';

/** One hash of the whole state: equal for two folds of the same journal, on any machine. */
export const hashState = (state: RunState): Hash => hashOfJson(toPlain(state));

/** The newest hash of each state: who proposes a release has computed what its admission checks. */
const newest = new WeakMap<RunState, { readonly headHash: Hash; readonly hash: Hash }>();

/**
 * Without claims, leases and audits that are over and that nothing refers to: the journal before the release has them. Computed once for
 * each head of the journal.
 */
export function segmentHash(state: RunState): Hash {
  const { headHash } = state;
  const known = newest.get(state);
  if (known?.headHash === headHash) return known.hash;
  const hash = computeSegmentHash(state);
  newest.set(state, { headHash, hash });
  return hash;
}

/** Of the state as it is, also where somebody other than the fold changed it. */
export function computeSegmentHash(state: RunState): Hash {
  const isNeeded = claimsNeeded(state);
  const claims = new Map([...state.claims].filter(([, claim]) => isNeeded(claim)));
  const leases = new Map([...state.leases].filter(([, { status }]) => status === 'open'));
  const audits = new Map([...state.audits].filter(([id]) => state.openAudits.has(id)));
  return hashOfJson(toPlain({ ...state, claims, leases, audits }));
}

/** Whether a later event can depend on the claim. */
function claimsNeeded(state: RunState): (claim: Claim) => boolean {
  const named = new Set<Hash | null>();
  for (const { auditable, waiting } of state.learners.values()) {
    for (const { claim } of auditable) named.add(claim);
    for (const claim of waiting) named.add(claim);
  }
  for (const { suspicions } of state.hotkeys.values()) for (const { claim } of suspicions) named.add(claim);
  return (claim) => named.has(claim.id) || mayBeJudged(state, claim);
}

/**
 * Takes claims and leases that no later event can depend on out of the state, which folds the rest of its journal as before; who asks
 * for the history of a learner finds less. A day of ten thousand learners does not fit into memory otherwise.
 */
export function forgetOver(state: RunState): void {
  const isNeeded = claimsNeeded(state);
  for (const claim of [...state.claims.values()]) {
    if (isNeeded(claim)) continue;
    state.claims.delete(claim.id);
    forgetClaim(state, claim);
  }
  for (const [id, { status }] of state.leases) if (status !== 'open') state.leases.delete(id);
}

/** Maps as sorted lists of pairs, sets as lists. */
function toPlain(value: unknown): unknown {
  if (value instanceof Map)
    return [...value].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, member]) => [key, toPlain(member)]);
  if (value instanceof Set) return [...value];
  if (Array.isArray(value)) return value.map(toPlain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, toPlain(member)]));
}
