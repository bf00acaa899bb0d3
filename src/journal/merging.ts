/** @file Rules of the fold: outer steps, merges and published fragments. The syncer chooses when, never whom. */
import type { EventBody } from '../protocol/messages.ts';
import { fromDecimal, toDecimal } from '../protocol/names.ts';
import { assert } from '../util/errors.ts';
import { setStatus } from './indexes.ts';
import { countPay } from './pay.ts';
import { bringIntoForce } from './phases.ts';
import { claimTokens, manifestOf, mergeableClaims, openClaims, stalenessOf } from './queries.ts';
import { ignore, type Rule, reject, seconds } from './rule.ts';
import { voidStale } from './settlement.ts';
import type { Claim, RunState } from './state.ts';

/** Norms are compared with the fragment's last merges (DESIGN section 4). */
const normHistory = 8;
const keptMerges = 64;

export const fragmentDueRule: Rule<'fragment-due'> = {
  signers: ['syncer'],
  admit(state, { outerStep, fragment, deadlineMs }, { timeMs }) {
    const { count } = manifestOf(state).fragments;
    const { due } = state;
    if (due !== null && timeMs < due.deadlineMs)
      return ignore(
        'NOT_MERGED',
        `outer step ${due.outerStep} is open for another ${seconds(due.deadlineMs - timeMs)}`,
      );
    if (outerStep !== state.nextOuterStep)
      return ignore('WRONG_STEP', `expected outer step ${state.nextOuterStep}, got ${outerStep}`);
    if (fragment !== outerStep % count)
      return reject(
        'WRONG_FRAGMENT',
        `outer step ${outerStep} is about fragment ${outerStep % count}, got ${fragment}`,
      );
    if (deadlineMs <= timeMs) return reject('MALFORMED', 'the deadline must be in the future');
    if (state.fragments[fragment]!.pendingMerge === null) return null;
    return ignore('NOT_PUBLISHED', `fragment ${fragment} is being merged`);
  },
  apply(state, { outerStep, fragment, deadlineMs }, { timeMs }) {
    // An outer step that had no accepted claim at its deadline closes without a merge; later claims wait for the
    // fragment's next turn.
    state.due = { outerStep, fragment, openedAtMs: timeMs, deadlineMs };
    state.nextOuterStep = outerStep + 1;
    bringIntoForce(state, outerStep);
  },
};

/**
 * The merge of an outer step as it must be now: every accepted, unmerged claim of its fragment within the bound, in the
 * order of hotkey, learner name and commit; without those of hotkeys on probation.
 */
export function proposeMerge(state: RunState, outerStep: number): EventBody<'merge'> {
  const { fragments, sync } = manifestOf(state);
  const fragment = outerStep % fragments.count;
  const claims = mergeableClaims(state, fragment)
    .filter((claim) => stalenessOf(state, claim) <= sync.maxStaleness)
    .sort(byMergeOrder)
    .map((claim) => ({
      claim: claim.id,
      tokens: toDecimal(claimTokens(state, claim)),
      staleness: stalenessOf(state, claim),
    }));
  return { outerStep, fragment, fromVersion: state.fragments[fragment]!.version, claims };
}

function byMergeOrder(a: Claim, b: Claim): number {
  if (a.learner !== b.learner) return a.learner < b.learner ? -1 : 1;
  return a.commitSeq - b.commitSeq;
}

export const mergeRule: Rule<'merge'> = {
  signers: ['syncer'],
  admit(state, body) {
    if (state.due === null || body.outerStep !== state.due.outerStep)
      return ignore('NOT_DUE', `outer step ${body.outerStep} is not open; ${state.due?.outerStep ?? 'none'} is`);
    const expected = proposeMerge(state, body.outerStep);
    if (body.fragment !== expected.fragment)
      return reject('WRONG_FRAGMENT', `expected fragment ${expected.fragment}, got ${body.fragment}`);
    if (body.fromVersion !== expected.fromVersion)
      return reject('WRONG_VERSION', `expected version ${expected.fromVersion}, got ${body.fromVersion}`);
    if (expected.claims.length === 0) return ignore('NO_CLAIMS', `no claim of fragment ${body.fragment} is accepted`);
    if (JSON.stringify(body.claims.map(toRow)) === JSON.stringify(expected.claims.map(toRow))) return null;
    return reject(
      'WRONG_CLAIMS',
      `a merge takes exactly the ${expected.claims.length} accepted claims, in order; got ${body.claims.length}`,
    );
  },
  apply(state, { outerStep, fragment, fromVersion, claims }, { timeMs }) {
    state.fragments[fragment]!.pendingMerge = { outerStep, fromVersion, claims, mergedAtMs: timeMs };
    for (const { claim } of claims) setStatus(state, state.claims.get(claim)!, 'merging');
    state.due = null;
  },
};

const toRow = ({ claim, tokens, staleness }: EventBody<'merge'>['claims'][number]) => [claim, tokens, staleness];

export const fragmentPublishedRule: Rule<'fragment-published'> = {
  signers: ['syncer'],
  admit(state, body) {
    const pending = state.fragments[body.fragment]?.pendingMerge ?? null;
    if (pending === null || pending.outerStep !== body.outerStep)
      return ignore('NOT_MERGED', `no merge of outer step ${body.outerStep} waits for fragment ${body.fragment}`);
    if (body.version !== pending.fromVersion + 1)
      return reject('WRONG_VERSION', `expected version ${pending.fromVersion + 1}, got ${body.version}`);
    if (body.shares.map(({ claim }) => claim).join() === pending.claims.map(({ claim }) => claim).join()) return null;
    return reject('WRONG_CLAIMS', 'shares must be those of the merged claims, in order');
  },
  apply(state, body, { timeMs }) {
    const fragment = state.fragments[body.fragment]!;
    const claims = body.shares.map(({ claim }) => state.claims.get(claim)!);
    for (const claim of claims) countClaim(state, claim, timeMs);
    const norms = body.shares.map(({ norm }, i) => {
      const [from, to] = claims[i]!.body.steps;
      return fromDecimal(norm) / Math.sqrt(to - from);
    });
    fragment.version = body.version;
    fragment.artifact = body.artifact;
    fragment.momentum = body.momentum;
    fragment.lastMergeMs = timeMs;
    fragment.contributors = [...new Set(claims.map((claim) => claim.learner))];
    fragment.mergesSinceRelease++;
    fragment.merges++;
    state.merges++;
    fragment.recentNorms = [...fragment.recentNorms, norms].slice(-normHistory);
    fragment.pendingMerge = null;
    const { outerStep, version } = body;
    const cellTokens = claims.reduce((sum, claim) => sum + claim.cellTokens, 0);
    const learners = fragment.contributors;
    const record = { outerStep, fragment: body.fragment, version, learners, cellTokens, atMs: timeMs };
    state.recentMerges = [...state.recentMerges, record].slice(-keptMerges);
    // Claims that were accepted while this merge was computed wait for the next one, unless it left them behind.
    for (const claim of openClaims(state))
      if (claim.status === 'accepted' && claim.body.fragment === body.fragment && isLeftBehind(state, claim))
        voidStale(state, claim, timeMs);
  },
};

const isLeftBehind = (state: RunState, claim: Claim): boolean =>
  stalenessOf(state, claim) > manifestOf(state).sync.maxStaleness;

/** Cells are counted here and nowhere else. */
function countClaim(state: RunState, claim: Claim, timeMs: number): void {
  assert(claim.status === 'merging', `claim ${claim.id} is ${claim.status}, expected merging`);
  setStatus(state, claim, 'merged');
  claim.mergedAtMs = timeMs;
  state.openClaims.delete(claim.id);
  state.cellTokens += claim.cellTokens;
  state.phaseCellTokens[claim.body.phase]! += claim.cellTokens;
  const learner = state.learners.get(claim.learner)!;
  learner.cellTokens += claim.cellTokens;
  learner.claims.merged++;
  countPay(state, claim);
}
