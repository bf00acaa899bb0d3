/** @file Questions to the state of a run that more than one role asks. Nothing here changes the state. */
import type { Phase, RunManifest } from '../protocol/manifest.ts';
import { frontierRoot } from '../protocol/merkle.ts';
import type { EventBody, Role } from '../protocol/messages.ts';
import type { Hash, Hotkey, LearnerId, SessionKey } from '../protocol/names.ts';
import { fromHex, toHex } from '../util/bytes.ts';
import { assert } from '../util/errors.ts';
import { type Range, takeFromRanges } from '../util/ranges.ts';
import { acceptedOf, delegationsByRole, drawnFor } from './indexes.ts';
import type { Claim, Delegation, Learner, Lease, RunState, TreeHead } from './state.ts';

/** The run; an empty journal is the caller's mistake. */
export function runOf(state: RunState): NonNullable<RunState['run']> {
  assert(state.run !== null, 'the journal has no run event yet');
  return state.run;
}

/** As it is in force: with the amendments that have taken effect. What it hashes to is the run's id only before the first. */
export const manifestOf = (state: RunState): RunManifest => state.amended ?? runOf(state).manifest;

/** A commit whose bytes did not come within this time may be voided. */
export const revealMsOf = ({ sync }: Pick<RunManifest, 'sync'>): number => sync.revealMs ?? 30_000;

/** A revealed claim whose verdicts did not come within this time may be drawn for again. */
export const verdictMsOf = ({ sync }: Pick<RunManifest, 'sync'>): number => sync.verdictMs ?? 20_000;

export function phaseOf(state: RunState, phase = state.phase): Phase {
  const found = manifestOf(state).phases[phase];
  assert(found !== undefined, `the manifest has no phase ${phase}`);
  return found;
}

/** Merged tokens of the whole run; a cell is worth 1/P of its sequence. */
export const countedTokens = (state: RunState): number => state.cellTokens / manifestOf(state).fragments.count;

/** Merged tokens of one learner. */
export const learnerTokens = (state: RunState, learner: Learner): number =>
  learner.cellTokens / manifestOf(state).fragments.count;

/** Tokens that a claim counts once it is merged. */
export const claimTokens = (state: RunState, claim: Claim): number =>
  claim.cellTokens / manifestOf(state).fragments.count;

/** The delegation that a session key acts under at `timeMs`; null if there is none or it has expired. */
export function delegationOf(state: RunState, sessionKey: SessionKey, timeMs: number): Delegation | null {
  const key = state.sessions.get(sessionKey);
  const delegation = key === undefined ? undefined : state.delegations.get(key);
  return delegation !== undefined && timeMs < delegation.expiresAtMs ? delegation : null;
}

/** Delegations of one role that are in force at `timeMs`, in order of hotkey and name. */
export function delegationsOf(state: RunState, role: Role, timeMs: number): Delegation[] {
  return delegationsByRole(state, role).filter((delegation) => timeMs < delegation.expiresAtMs);
}

/** Hotkeys that may judge at `timeMs`: delegated to a validator and not barred. Ascending. */
export function validatorsOf(state: RunState, timeMs: number): Hotkey[] {
  const hotkeys = new Set(delegationsOf(state, 'validator', timeMs).map(({ hotkey }) => hotkey));
  return [...hotkeys].filter((hotkey) => !state.hotkeys.get(hotkey)?.barred).sort();
}

export function openLeases(state: RunState, learner: LearnerId): Lease[] {
  return [...(state.learners.get(learner)?.leases ?? [])].map((id) => state.leases.get(id)!);
}

/** A refused claim may be appealed for so long: its bytes are still there. */
export const appealMs = 600_000;

/** Whether validators judge the claim now or may come to: what it names is still needed. */
export function mayBeJudged(state: RunState, { id, status, dispute, settledAtMs }: Claim): boolean {
  if (state.openClaims.has(id) || state.openRechecks.has(id) || state.openDisputes.has(id)) return true;
  return status === 'refused' && dispute === null && state.lastTimeMs - settledAtMs! <= appealMs;
}

/** Claims that wait for something (not merged, refused or voided), in commit order. */
export const openClaims = (state: RunState): Claim[] => [...state.openClaims].map((id) => state.claims.get(id)!);

/** A fraud was proven and no audit has been passed since: its claims are judged, and wait. */
export const isOnProbation = (state: RunState, hotkey: Hotkey): boolean =>
  (state.hotkeys.get(hotkey)?.probationFromMs ?? null) !== null;

/** Claims of a fragment that its next merge may take, in commit order. */
export const mergeableClaims = (state: RunState, fragment: number): Claim[] =>
  [...acceptedOf(state, fragment).claims]
    .map((id) => state.claims.get(id)!)
    .filter(({ hotkey }) => !isOnProbation(state, hotkey))
    .sort((a, b) => a.commitSeq - b.commitSeq);

/**
 * What the next lease must be: the smallest returned sequences first, then on from the cursor. At most `count` long; one
 * piece of the pool may be shorter.
 */
export function nextLeaseRange(state: RunState, phase: number, count: number): Range {
  const [taken] = takeFromRanges(state.pool[phase] ?? [], count);
  if (taken.length > 0) return taken[0]!;
  const cursor = state.cursor[phase] ?? 0;
  return [cursor, cursor + count];
}

type Tempos = Pick<RunManifest['ledger'], 'tempoBlocks' | 'firstEpochBlock'>;

/** From an epoch to the end of the journal's tempo: an eighth before the next, so that the weights of a tempo are set before it is paid. */
const epochLeadBlocks = (tempoBlocks: number): number => Math.floor(tempoBlocks / 8);

/** Blocks of the journal's tempo 0 that lie before block 0. */
const blocksBefore = ({ tempoBlocks, firstEpochBlock = tempoBlocks }: Tempos): number =>
  (((epochLeadBlocks(tempoBlocks) - firstEpochBlock) % tempoBlocks) + tempoBlocks) % tempoBlocks;

/** Tempo of the journal at a block. */
export const tempoAt = (ledger: Tempos, block: number): number =>
  Math.floor((block + blocksBefore(ledger)) / ledger.tempoBlocks);

export const blocksToNextTempo = (ledger: Tempos, block: number): number =>
  ledger.tempoBlocks - ((block + blocksBefore(ledger)) % ledger.tempoBlocks);

/** How many versions of its fragment were published since the one that the claim started from. */
export function stalenessOf(state: RunState, claim: Claim): number {
  return state.fragments[claim.body.fragment]!.version - claim.body.baseVersion;
}

/** Median of norm / √(inner steps) over the fragment's last 8 merges; null before the first. */
export function medianNorm(state: RunState, fragment: number): number | null {
  const norms = state.fragments[fragment]!.recentNorms.flat().sort((a, b) => a - b);
  if (norms.length === 0) return null;
  const middle = norms.length >> 1;
  return norms.length % 2 === 1 ? norms[middle]! : (norms[middle - 1]! + norms[middle]!) / 2;
}

/** Whether a release may be journaled now: all fragments merged often enough, no merge half done. */
export function isReleaseDue(state: RunState): boolean {
  const needed = phaseOf(state).release?.everyMerges ?? manifestOf(state).release.everyMerges;
  return state.fragments.every((f) => f.mergesSinceRelease >= needed && f.pendingMerge === null);
}

/** Merges published between the release before this one and this one. */
export function mergesInSegment(state: RunState, release: number): number {
  return state.releases[release]!.merges - (state.releases[release - 1]?.merges ?? 0);
}

/** The RFC 6962 head over all events so far. */
export function treeHeadOf(state: RunState): TreeHead {
  const peaks = state.frontier.map(({ size, root }) => ({ size, root: fromHex(root)! }));
  return { size: state.size, root: toHex(frontierRoot(peaks)) as Hash };
}

/** What a signer should name as `seenHead`. */
export function newestTreeHead(state: RunState): TreeHead | null {
  const head = state.treeHeads.at(-1);
  return head === undefined ? null : { size: head.size, root: head.root };
}

export interface OwedVerdict {
  readonly claim: Claim;
  readonly round: EventBody<'verdict'>['round'];
}

/**
 * Verdicts that a validator still owes: as one of a committee, then of juries, then rechecks. Each in the order in which they came to be
 * owed, one by one: where ten thousand are owed, who asks wants the first.
 */
export function* verdictsOwed(state: RunState, validator: Hotkey): Generator<OwedVerdict> {
  const isBy = (verdict: { readonly hotkey: Hotkey }): boolean => verdict.hotkey === validator;
  for (const claim of drawnFor(state, validator)) yield { claim, round: 'committee' };
  for (const id of state.openDisputes) {
    const claim = state.claims.get(id)!;
    const isOwed = claim.beacon!.candidates.some(isBy) && !claim.dispute!.rulings.some(isBy);
    if (isOwed) yield { claim, round: 'ruling' };
  }
  for (const id of state.openRechecks) {
    const claim = state.claims.get(id)!;
    if (claim.beacon!.recheck === validator) yield { claim, round: 'recheck' };
  }
}
