/**
 * @file What validators do in the long synthetic journal: verdicts, rechecks, disputes and appeals, replay audits. Most work is
 * good; the few that are not are spread by the seed, so that every way in which a claim or an audit may end is in the journal.
 */
import { drawAudit } from '../../src/journal/audit-draw.ts';
import { manifestOf } from '../../src/journal/queries.ts';
import type { Claim, RunState } from '../../src/journal/state.ts';
import type { Candidate } from '../../src/protocol/draw.ts';
import { hashOfText } from '../../src/protocol/hash.ts';
import type { SessionSigner, Signer } from '../../src/protocol/keys.ts';
import type { EventBody, EventKind } from '../../src/protocol/messages.ts';
import { type Hash, type Hotkey, type LearnerId, toDecimal } from '../../src/protocol/names.ts';
import type { Rng } from '../../src/util/rng.ts';
import { testArtifact } from './run-fixture.ts';

/** The maker of the journal, as far as checks need it. */
export interface CheckedRun {
  readonly state: RunState;
  readonly rng: Rng;
  readonly block: number;
  readonly nowMs: number;
  readonly candidates: readonly Candidate[];
  validatorOf(hotkey: Hotkey): SessionSigner;
  learnerOf(learner: LearnerId): SessionSigner;
  pass(ms: number): void;
  must<K extends EventKind>(kind: K, body: EventBody<K>, signer?: Signer): Hash;
}

type Round = EventBody<'verdict'>['round'];

const shareRefused = 0.02;
const shareDivided = 0.01;
const shareAppealed = 0.4;
const shareUpheld = 0.25;
const shareOfJuriesIncomplete = 0.1;
const shareOfFrauds = 0.004;
const shareUnanswered = 0.004;
/** Longer than a jury has, whatever `pass` makes of it. */
const juryMs = 60_000;

/** From the committee's verdicts to the end of what follows from them. */
export function judgeClaim(run: CheckedRun, id: Hash): void {
  const claim = run.state.claims.get(id)!;
  const lot = run.rng.uniform();
  const isRefused = lot < shareRefused;
  const isDivided = !isRefused && lot < shareRefused + shareDivided;
  for (const [turn, hotkey] of claim.beacon!.committee.entries())
    say(run, claim, { hotkey, round: 'committee', isGood: !(isRefused || (isDivided && turn === 1)) });
  if (claim.dispute !== null) callJury(run, claim, run.rng.uniform() < 0.5);
  else if (claim.status === 'refused' && mayAppeal(run, claim) && run.rng.uniform() < shareAppealed) {
    run.pass(5_000);
    run.must('appeal', { claim: id }, run.learnerOf(claim.learner));
    callJury(run, claim, run.rng.uniform() < shareUpheld);
  }
}

/** What was drawn to be checked again. */
export function recheckClaims(run: CheckedRun): void {
  for (const id of [...run.state.openRechecks]) {
    const claim = run.state.claims.get(id)!;
    say(run, claim, { hotkey: claim.beacon!.recheck!, round: 'recheck', isGood: true });
  }
}

const mayAppeal = ({ state }: CheckedRun, { hotkey }: Claim): boolean =>
  state.hotkeys.get(hotkey)!.tempoAppealsLost === 0;

function callJury(run: CheckedRun, claim: Claim, isGood: boolean): void {
  const jury = claim.beacon!.candidates.map(({ hotkey }) => hotkey);
  // The one with most stake comes too late.
  const isIncomplete = claim.dispute!.reason === 'disagreement' && run.rng.uniform() < shareOfJuriesIncomplete;
  const present = isIncomplete ? jury.slice(0, -1) : jury;
  for (const hotkey of present) {
    if (claim.dispute!.closedAtMs !== null) return;
    say(run, claim, { hotkey, round: 'ruling', isGood });
  }
  if (claim.dispute!.closedAtMs !== null) return;
  run.pass(juryMs);
  run.must('dispute-close', { claim: claim.id });
}

function say(
  run: CheckedRun,
  claim: Claim,
  { hotkey, round, isGood }: { readonly hotkey: Hotkey; readonly round: Round; readonly isGood: boolean },
): void {
  run.pass(25);
  const { gainTested } = claim.beacon!;
  const gain = (0.02 + 0.01 * run.rng.uniform()) * (isGood ? 1 : -30);
  const numbers = { norm: 1 + run.rng.uniform(), gain, gainError: 0.004, gainUpper: gain + 0.02 };
  const told = gainTested || !isGood ? numbers : { norm: numbers.norm };
  const said = isGood
    ? ({ outcome: 'accept', code: 'OK', sentence: '' } as const)
    : ({ outcome: 'reject', code: 'HARMFUL', sentence: `gain ${gain.toPrecision(3)} nats a token` } as const);
  const measurements = Object.fromEntries(Object.entries(told).map(([name, value]) => [name, toDecimal(value)]));
  const verdict = { claim: claim.id, round, ...said, measurements, details: null, accused: [] };
  run.must('verdict', verdict, run.validatorOf(hotkey));
}

/** The hotkey's next audit, if it has one to come: what evidence asks for first, then what the tempo owes. */
export function auditHotkey(run: CheckedRun, hotkey: Hotkey): void {
  const { state, block, candidates } = run;
  const { suspicions, tempoAuditsDrawn: slot } = state.hotkeys.get(hotkey)!;
  const { perTempo, answerMs } = manifestOf(state).audit;
  const asked = suspicions[0] ?? (slot < perTempo ? { reason: 'drawn' as const, claim: null } : null);
  if (asked === null) return;
  const place = { ...asked, hotkey, tempo: state.tempo.index, slot };
  const at = { block, blockHash: hashOfText(`large block ${block}`), candidates };
  const drawn = drawAudit(state, { ...place, ...at });
  if (drawn === null) return;
  const { learner, segment } = drawn;
  const audit = state.nextAudit;
  const deadlineMs = run.nowMs + answerMs + 1_000;
  const of = { audit, name: learner.name, steps: segment.steps, deadlineMs };
  const drawnFrom = { candidates: [...candidates], committee: [...drawn.committee] };
  run.must('audit-challenge', { ...place, ...at, ...of, ...drawnFrom });
  if (run.rng.uniform() < shareUnanswered) {
    run.pass(2 * answerMs);
    run.must('audit-close', { audit, code: 'UNANSWERED' });
    return;
  }
  run.pass(100);
  const start = segment.isFirst ? null : testArtifact(`audit ${audit} start`, 12_000_000);
  const answer = { audit, start, end: testArtifact(`audit ${audit} end`, 12_000_000) };
  run.must('audit-answer', answer, run.learnerOf(learner.id));
  redo(run, audit, run.rng.uniform() < shareOfFrauds);
}

/** In turn, until the audit is settled. */
function redo({ state, must, pass, rng, validatorOf }: CheckedRun, id: number, isFraud: boolean): void {
  const audit = state.audits.get(id)!;
  for (const hotkey of audit.body.committee) {
    if (audit.settledAtMs !== null) return;
    pass(50);
    const cosine = (isFraud ? 0.4 : 0.9999) - 1e-5 * rng.uniform();
    const measurements = { minCosine: toDecimal(cosine), maxNormRatio: toDecimal(1 + 1e-4 * rng.uniform()) };
    const said = isFraud
      ? ({ outcome: 'fail', code: 'REPLAY', sentence: `the least cosine is ${cosine.toFixed(4)}` } as const)
      : ({ outcome: 'pass', code: 'OK', sentence: '' } as const);
    must('audit-verdict', { audit: id, ...said, measurements }, validatorOf(hotkey));
  }
}
