/**
 * @file The validator's decisions: which piece of work is next. Weights first, then claims (oldest first), then releases, of which an
 * evaluation that is overdue goes before claims. A replay goes on beside them: merges wait for claims, and a replay takes many steps.
 */
import { auditsOwed } from '../../journal/audits.ts';
import { gateQuorum, isGateAwaited } from '../../journal/phases.ts';
import { delegationsOf, manifestOf, verdictsOwed } from '../../journal/queries.ts';
import type { ReleaseRecord, RunState } from '../../journal/state.ts';
import type { Hotkey } from '../../protocol/names.ts';
import type { ValidatorEffect, ValidatorEvent, ValidatorState } from './events.ts';

/** Journal time after which a release that nobody evaluated is everybody's. */
const turnMs = 10_000;
/**
 * Journal time after which an evaluation no longer waits for claims: on a busy machine these never end, and nobody sees the loss.
 * And after which a segment that is not attested is everybody's.
 */
const overdueMs = 30_000;

export function step(before: ValidatorState, event: ValidatorEvent): [ValidatorState, readonly ValidatorEffect[]] {
  const state = take(before, event);
  const work = state.busy === null ? nextOf(state, owedWork(state)) : null;
  const replay = state.replaying === null ? nextOf(state, owedAudits(state)) : null;
  return [
    { ...state, busy: work?.key ?? state.busy, replaying: replay?.key ?? state.replaying },
    [work, replay].filter((effect) => effect !== null),
  ];
}

function take(state: ValidatorState, event: ValidatorEvent): ValidatorState {
  if (event.kind === 'tick') return { ...state, block: Math.max(state.block, event.block) };
  if (event.kind === 'journaled') return state;
  const isReplay = event.key === state.replaying;
  const freed = { ...state, ...(isReplay ? { replaying: null } : { busy: null }) };
  if (event.kind === 'failed') return { ...freed, lastFailed: event.key };
  const done = { ...freed, lastFailed: null, sent: state.sent.add(event.key) };
  if (!event.key.startsWith('weights-')) return done;
  // One more: the setting may have gone into the block after the last one seen.
  return { ...done, weightsTempo: Number(event.key.slice('weights-'.length)), weightsBlock: state.block + 1 };
}

/** Null if nothing is owed. Work that failed last waits for the others: one damaged claim must not hold up the rest. */
function nextOf({ lastFailed }: ValidatorState, owed: Iterable<ValidatorEffect>): ValidatorEffect | null {
  let failed: ValidatorEffect | null = null;
  for (const effect of owed) {
    if (effect.key !== lastFailed) return effect;
    failed = effect;
  }
  return failed;
}

function* owedWork(state: ValidatorState): Generator<ValidatorEffect> {
  // One call, and on a busy machine claims never end: miners would not be paid.
  yield* owedWeights(state);
  if (isEvaluationOverdue(state)) yield* owedEvaluation(state);
  yield* owedVerdicts(state);
  yield* owedEvaluation(state);
  yield* owedAttestation(state);
}

function* owedVerdicts({ run, hotkey, sent }: ValidatorState): Generator<ValidatorEffect> {
  for (const { claim, round } of verdictsOwed(run, hotkey)) {
    // A claim that is drawn for again asks for a new verdict of whoever is drawn then.
    const key = `${round}-${claim.id}-${claim.beacon!.block}`;
    if (!sent.has(key)) yield { kind: 'check-claim', key, claim: claim.id, round };
  }
}

function owedAudits({ run, hotkey, sent }: ValidatorState): ValidatorEffect[] {
  return auditsOwed(run, hotkey)
    .map((audit): ValidatorEffect => ({ kind: 'redo-segment', key: `audit-${audit.id}`, audit: audit.id }))
    .filter(({ key }) => !sent.has(key));
}

/** The segment of the oldest release that too few have attested: one that nobody attests is kept for ever. */
function owedAttestation({ run, hotkey, sent }: ValidatorState): ValidatorEffect[] {
  const needed = Math.max(1, manifestOf(run).release.attestations);
  const owed = run.releases.find(({ body: { release }, attestedBy }) => {
    const isOpen = release > 0 && attestedBy.length < needed && !attestedBy.includes(hotkey);
    return isOpen && !sent.has(attestationKey(release));
  });
  if (owed === undefined || !((run.hotkeys.get(hotkey)?.drawnStakeRao ?? 0) > 0)) return [];
  const { release } = owed.body;
  if (!isTurn(run, hotkey, owed, needed) && run.lastTimeMs - owed.atMs <= overdueMs) return [];
  return [{ kind: 'attest-segment', key: attestationKey(release), release }];
}

/** Is this validator among the `count` whose turn a release is? */
function isTurn(run: RunState, hotkey: Hotkey, { body: { release } }: ReleaseRecord, count: number): boolean {
  const validators = [...new Set(delegationsOf(run, 'validator', run.lastTimeMs).map((each) => each.hotkey))].sort();
  return Array.from({ length: count }, (_, i) => validators[(release + i) % validators.length]).includes(hotkey);
}

const attestationKey = (release: number): string => `attest-${release}`;

function owedWeights({ run, block, weightsBlock, weightsTempo }: ValidatorState): ValidatorEffect[] {
  const { index, history } = run.tempo;
  const { tempoBlocks } = manifestOf(run).ledger;
  const mayBeSet = weightsBlock === null || block > weightsBlock + tempoBlocks / 2;
  if (index <= weightsTempo || !mayBeSet || history.length === 0) return [];
  return [{ kind: 'set-weights', key: `weights-${index}`, tempo: index }];
}

/** Since the first release that came after the last evaluated one. */
function isEvaluationOverdue({ run }: ValidatorState): boolean {
  const evaluated = Math.max(-1, ...run.evaluations.map(({ release }) => release));
  const first = run.releases[evaluated + 1];
  return first !== undefined && run.lastTimeMs - first.atMs > overdueMs;
}

/** Of the newest release alone: older ones are history. One validator's turn; the others step in if it is late. */
function owedEvaluation({ run, hotkey, sent }: ValidatorState): ValidatorEffect[] {
  const record = run.releases.at(-1);
  if (record === undefined) return [];
  const { release } = record.body;
  const key = `evaluate-${release}`;
  const judges = run.evaluations.filter((each) => each.release === release).map((each) => each.hotkey);
  // A gate holds by the word of a quorum.
  const needed = isGateAwaited(run) ? gateQuorum(run) : 1;
  const isEvaluated = judges.length >= needed || judges.includes(hotkey);
  const isLate = run.lastTimeMs - record.atMs > turnMs;
  return isEvaluated || sent.has(key) || !(isLate || isTurn(run, hotkey, record, needed))
    ? []
    : [{ kind: 'evaluate-release', key, release }];
}
