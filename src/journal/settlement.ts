/**
 * @file What becomes of a claim: accepted, refused, voided; and what a proven fraud or lie costs. Changes the state; who may
 * say so is checked by the rules.
 */
import type { AuditCode } from '../protocol/messages.ts';
import type { Hotkey } from '../protocol/names.ts';
import { setStatus } from './indexes.ts';
import { dropPay, unpay } from './pay.ts';
import { manifestOf, openClaims, stalenessOf } from './queries.ts';
import { ignore, type Refusal, reject, short } from './rule.ts';
import { hotkeyState } from './standing.ts';
import type { Claim, RunState } from './state.ts';

export interface Settlement {
  readonly code: string;
  readonly sentence: string;
  readonly timeMs: number;
}

export const isUndecided = ({ status }: Claim): boolean =>
  status === 'committed' || status === 'beaconed' || status === 'revealed';

/** A claim that is still to be decided, or the refusal of an event about it. */
export function undecided(state: RunState, id: string): Claim | Refusal {
  const claim = state.claims.get(id as Claim['id']);
  if (claim === undefined) return reject('UNKNOWN_CLAIM', `there is no claim ${short(id)}`);
  if (isUndecided(claim)) return claim;
  return ignore('SETTLED', `claim ${short(id)} is ${claim.status}`);
}

export function acceptClaim(state: RunState, claim: Claim, timeMs: number): void {
  const staleness = stalenessOf(state, claim);
  if (staleness > manifestOf(state).sync.maxStaleness) {
    voidStale(state, claim, timeMs);
    return;
  }
  setStatus(state, claim, 'accepted');
  close(state, claim, { code: 'OK', sentence: '', timeMs });
  state.openClaims.add(claim.id);
  state.learners.get(claim.learner)!.claims.accepted++;
  if (claim.beacon?.recheck && claim.rechecked === null) state.openRechecks.add(claim.id);
}

export function refuseClaim(state: RunState, claim: Claim, settlement: Settlement): void {
  setStatus(state, claim, 'refused');
  close(state, claim, settlement);
  state.openClaims.delete(claim.id);
  state.learners.get(claim.learner)!.claims.refused++;
  const hotkey = hotkeyState(state, claim.hotkey);
  hotkey.testAllBelow = Math.max(hotkey.testAllBelow, hotkey.claims + manifestOf(state).evaluation.gainFirstClaims);
}

export function voidClaim(state: RunState, claim: Claim, settlement: Settlement): void {
  setStatus(state, claim, 'voided');
  close(state, claim, settlement);
  state.openClaims.delete(claim.id);
  state.openRechecks.delete(claim.id);
  state.learners.get(claim.learner)!.claims.voided++;
}

/** An accepted claim that its fragment has left behind: its cells are void. */
export function voidStale(state: RunState, claim: Claim, timeMs: number): void {
  const sentence = `the claim starts from version ${claim.body.baseVersion} of fragment ${claim.body.fragment}, ${stalenessOf(state, claim)} versions ago; at most ${manifestOf(state).sync.maxStaleness} are merged`;
  voidClaim(state, claim, { code: 'STALE', sentence, timeMs });
}

function close(state: RunState, claim: Claim, { code, sentence, timeMs }: Settlement): void {
  claim.code = code;
  claim.sentence = sentence;
  claim.settledAtMs = timeMs;
  Object.assign(state.learners.get(claim.learner)!, { lastCode: code, lastSentence: sentence });
}

/** A ruling says that an accepted claim should have been refused. What was merged stays merged, and is not paid. */
export function overturnAcceptance(state: RunState, claim: Claim, settlement: Settlement): void {
  state.openRechecks.delete(claim.id);
  state.learners.get(claim.learner)!.claims.accepted--;
  if (claim.status === 'accepted') {
    refuseClaim(state, claim, settlement);
    return;
  }
  const wasPaid = claim.status === 'merged' && !claim.isOverturned;
  claim.isOverturned = true;
  Object.assign(claim, { code: settlement.code, sentence: settlement.sentence });
  if (wasPaid) unpay(state, claim);
}

export interface Fraud {
  readonly audit: number;
  readonly code: AuditCode;
  readonly timeMs: number;
  /** False where a crash would look the same: no answer, and nothing committed while one was awaited. */
  readonly isProven: boolean;
}

/**
 * A failed audit voids the hotkey's tempo: all that is merged and not paid, and all that is open. If it proves a fraud, the score of
 * earlier tempos goes too, and nothing of the hotkey is merged before it has passed an audit.
 */
export function forfeit(state: RunState, hotkey: Hotkey, { audit, code, timeMs, isProven }: Fraud): void {
  const standing = hotkeyState(state, hotkey);
  standing.forfeits.push({ audit, code, atMs: timeMs, cellTokens: dropPay(state, hotkey) });
  Object.assign(standing, { tempoAuditsPassed: 0, suspicions: [] });
  if (isProven) Object.assign(standing, { score: 0, probationFromMs: timeMs });
  standing.testAllBelow = Math.max(
    standing.testAllBelow,
    standing.claims + manifestOf(state).evaluation.gainFirstClaims,
  );
  const sentence = `audit ${audit} ${isProven ? 'proved a fraud' : 'was not passed'} (${code}): the work of this tempo is void`;
  for (const claim of openClaims(state)) {
    if (claim.hotkey !== hotkey) continue;
    // Merged it will be, paid it will not; and a jury ends what it began.
    if (claim.status === 'merging' || claim.dispute?.closedAtMs === null) claim.isOverturned = true;
    else voidClaim(state, claim, { code: 'FORFEITED', sentence, timeMs });
  }
}

/** A validator that lied loses its share and leaves the draw. */
export function bar(state: RunState, hotkey: Hotkey, sentence: string, timeMs: number): void {
  const standing = hotkeyState(state, hotkey);
  if (standing.barred !== null) return;
  standing.barred = { sentence, atMs: timeMs };
  standing.verdictScore = 0;
  standing.tempoVerdicts = 0;
}
