/** @file Which check a refused entry belongs to, and what was expected and found in the fold's own sentence. */
import type { EventKind } from '../protocol/messages.ts';
import type { OpenCode } from '../protocol/signing.ts';
import type { CheckName } from './findings.ts';

export const checkOfKind: Readonly<Record<EventKind, CheckName>> = {
  run: 'manifest',
  delegate: 'membership',
  join: 'membership',
  leave: 'membership',
  serve: 'membership',
  lease: 'leases',
  'lease-return': 'leases',
  'fragment-due': 'merges',
  'claim-commit': 'claims',
  'claim-reveal': 'claims',
  'claim-beacon': 'beacons',
  'claim-void': 'claims',
  appeal: 'claims',
  verdict: 'verdicts',
  'dispute-close': 'verdicts',
  'audit-challenge': 'audits',
  'audit-answer': 'audits',
  'audit-verdict': 'audits',
  'audit-close': 'audits',
  merge: 'merges',
  'fragment-published': 'fragments',
  release: 'releases',
  'release-published': 'releases',
  'segment-attested': 'segments',
  evaluation: 'releases',
  'phase-change': 'leases',
  amendment: 'manifest',
  tempo: 'scores',
  'tree-head': 'tree heads',
};

const checkOfCode: Readonly<Record<string, CheckName>> = {
  NOT_NEXT: 'journal',
  TIME: 'journal',
  NO_RUN: 'journal',
  WRONG_RUN: 'journal',
  UNKNOWN_KIND: 'journal',
  OTHER_HISTORY: 'tree heads',
  WRONG_TREE_HEAD: 'tree heads',
  NOT_DELEGATED: 'membership',
  WRONG_ROLE: 'membership',
  DOUBLE_COUNT: 'cells',
  NOT_LEASED: 'leases',
  WRONG_STATE: 'segments',
};

/** Of an entry that the rules refuse. */
export function checkOfRefusal(kind: string, code: string): CheckName {
  const named = checkOfCode[code];
  if (named !== undefined) return named;
  return Object.hasOwn(checkOfKind, kind) ? checkOfKind[kind as EventKind] : 'journal';
}

/** Of an entry that cannot be opened. */
export const checkOfFault = (code: OpenCode): CheckName =>
  code === 'BAD_SIGNATURE' || code === 'WRONG_SIGNER' ? 'signatures' : 'journal';

/** `expected X, got Y` apart; other sentences are what was found. */
export function expectedAndFound(
  code: string,
  sentence: string,
): { readonly expected: string; readonly found: string } {
  const told = /^(?:(.*?)[:;,]? )?expected (.+?),? got (.+)$/s.exec(sentence);
  if (told === null) return { expected: 'an event that the rules allow here', found: `${code}: ${sentence}` };
  const about = told[1] === undefined ? '' : ` (${told[1]})`;
  return { expected: told[2]!, found: `${told[3]!}${about} [${code}]` };
}
