/**
 * @file The fold of the journal: `admit` says whether an entry may follow, `applyEvent` makes it part of the state. Every
 * role, dashboard and auditor uses these two, so they cannot disagree. No clock and no randomness: both are in entries.
 * Signatures are checked before, by `openEntry` or `openEnvelope`.
 */

import { sha256 } from '../protocol/hash.ts';
import type { SignerIdentity } from '../protocol/keys.ts';
import { appendLeaf, leafHash } from '../protocol/merkle.ts';
import type { Admission, EventBody, EventKind, JournalEntry } from '../protocol/messages.ts';
import type { Hash } from '../protocol/names.ts';
import type { OpenedEntry, OpenedMessage } from '../protocol/signing.ts';
import { fromHex, toHex, utf8 } from '../util/bytes.ts';
import { canonicalJson } from '../util/canonical-json.ts';
import { assert } from '../util/errors.ts';
import { auditAnswerRule, auditChallengeRule, auditCloseRule, auditVerdictRule } from './audits.ts';
import { claimBeaconRule, claimCommitRule, claimRevealRule, claimVoidRule } from './claims.ts';
import { leaseReturnRule, leaseRule } from './leasing.ts';
import { delegateRule, joinRule, leaveRule, runRule, serveRule } from './membership.ts';
import { fragmentDueRule, fragmentPublishedRule, mergeRule } from './merging.ts';
import {
  evaluationRule,
  releasePublishedRule,
  releaseRule,
  segmentAttestedRule,
  tempoRule,
  treeHeadRule,
} from './milestones.ts';
import { amendmentRule, phaseChangeRule } from './phases.ts';
import { delegationOf } from './queries.ts';
import { type EventContext, ignore, type Refusal, type Rule, reject, type Sender, short } from './rule.ts';
import type { RunState } from './state.ts';
import { appealRule, disputeCloseRule, verdictRule } from './verdicts.ts';

export const rules: { readonly [K in EventKind]: Rule<K> } = {
  run: runRule,
  delegate: delegateRule,
  join: joinRule,
  leave: leaveRule,
  lease: leaseRule,
  'lease-return': leaseReturnRule,
  'fragment-due': fragmentDueRule,
  'claim-commit': claimCommitRule,
  'claim-reveal': claimRevealRule,
  'claim-beacon': claimBeaconRule,
  'claim-void': claimVoidRule,
  verdict: verdictRule,
  appeal: appealRule,
  'dispute-close': disputeCloseRule,
  serve: serveRule,
  'audit-challenge': auditChallengeRule,
  'audit-answer': auditAnswerRule,
  'audit-verdict': auditVerdictRule,
  'audit-close': auditCloseRule,
  merge: mergeRule,
  'fragment-published': fragmentPublishedRule,
  release: releaseRule,
  'release-published': releasePublishedRule,
  'segment-attested': segmentAttestedRule,
  evaluation: evaluationRule,
  'phase-change': phaseChangeRule,
  amendment: amendmentRule,
  tempo: tempoRule,
  'tree-head': treeHeadRule,
};

const accepted: Admission = { outcome: 'accept' };

/** Whether the entry may follow the events folded so far. Never throws for what an entry holds; changes nothing. */
export function admit(state: RunState, { entry, message }: OpenedEntry): Admission {
  const { kind } = message;
  if (!isEventKind(kind)) return reject('UNKNOWN_KIND', `${kind} is not an event of a journal`);
  const misplaced = admitPlace(state, entry);
  if (misplaced !== null) return misplaced;
  const sender = senderOf(state, message.signer, entry.timeMs);
  if ('outcome' in sender) return sender;
  const rule = rules[kind] as Rule<EventKind>;
  const role = sender.kind === 'hotkey' ? 'hotkey' : sender.delegation.role;
  if (!rule.signers.includes(role))
    return reject('WRONG_ROLE', `${kind} is signed as ${role}, expected ${rule.signers.join(' or ')}`);
  const body = message.body as EventBody<EventKind>;
  return rule.admit(state, body, contextOf(entry, message, sender)) ?? accepted;
}

/**
 * Folds an admitted entry into the state. An entry that `admit` refuses for this state must not come here.
 * @returns bytes of the entry's canonical text
 */
export function applyEvent(state: RunState, { entry, message }: OpenedEntry): number {
  const kind = message.kind as EventKind;
  const sender = senderOf(state, message.signer, entry.timeMs);
  assert(!('outcome' in sender), `entry ${entry.seq} was not admitted`);
  const rule = rules[kind] as Rule<EventKind>;
  rule.apply(state, message.body as EventBody<EventKind>, contextOf(entry, message, sender));
  const bytes = utf8(canonicalJson(entry));
  state.headHash = toHex(sha256(bytes)) as Hash;
  state.size = entry.seq + 1;
  state.lastTimeMs = entry.timeMs;
  growFrontier(state, leafHash(bytes));
  state.eventCounts.set(kind, (state.eventCounts.get(kind) ?? 0) + 1);
  return bytes.byteLength;
}

/** Peaks that the leaf does not join stay as they are: of those of a long journal, nearly all. */
function growFrontier(state: RunState, leaf: Uint8Array): void {
  const { frontier } = state;
  let from = frontier.length;
  for (let size = 1; frontier[from - 1]?.size === size; size *= 2) from--;
  const joined = frontier.slice(from).map(({ size, root }) => ({ size, root: fromHex(root)! }));
  const [peak] = appendLeaf(joined, leaf);
  state.frontier = [...frontier.slice(0, from), { size: peak!.size, root: toHex(peak!.root) as Hash }];
}

const isEventKind = (kind: string): kind is EventKind => Object.hasOwn(rules, kind);

/** Place in the journal, run, and the history that the signer has seen. */
function admitPlace(state: RunState, { seq, prevHash, timeMs, message }: JournalEntry): Refusal | null {
  if (seq !== state.size || prevHash !== state.headHash)
    return ignore(
      'NOT_NEXT',
      `expected entry ${state.size} after ${short(state.headHash)}, got ${seq} after ${short(prevHash)}`,
    );
  if (timeMs < state.lastTimeMs) return reject('TIME', `time goes back from ${state.lastTimeMs} to ${timeMs}`);
  if (state.run === null)
    return message.kind === 'run' ? null : reject('NO_RUN', `the first event is a run, got ${message.kind}`);
  if (message.run !== state.run.id)
    return reject('WRONG_RUN', `expected run ${short(state.run.id)}, got ${short(message.run)}`);
  const { seenHead } = message;
  if (seenHead === null) return null;
  const known = state.treeHeads.find((head) => head.size === seenHead.size);
  if (known?.root === seenHead.root) return null;
  return reject('OTHER_HISTORY', `the signer has seen another journal of ${seenHead.size} entries than this one`);
}

/** Who signed, or why he may not: the delegation must be in force at the entry's time. */
function senderOf(state: RunState, signer: SignerIdentity, timeMs: number): Sender | Refusal {
  if (signer.kind === 'hotkey') return { kind: 'hotkey', hotkey: signer.hotkey };
  const delegation = delegationOf(state, signer.sessionKey, timeMs);
  if (delegation !== null) return { kind: 'session', delegation };
  return reject('NOT_DELEGATED', `no delegation in force names the session key ${short(signer.sessionKey)}`);
}

function contextOf(entry: JournalEntry, message: OpenedMessage, sender: Sender): EventContext {
  return { sender, seq: entry.seq, timeMs: entry.timeMs, id: message.id, message: entry.message };
}

// Roles make events and weights from the fold; these live beside the rules that check them.
export { proposeMerge } from './merging.ts';
export { treeHeadOf } from './queries.ts';
export { weightsOf } from './scores.ts';
export { hashState, segmentHash } from './segment-hash.ts';
