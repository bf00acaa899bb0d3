/**
 * @file The validator's decisions: which piece of work is next. Weights first; replays and claims (oldest first) share its time, so
 * that neither starves the other; then releases, of which an evaluation that is overdue goes before them.
 */
import { auditsOwed } from '../../journal/audits.ts';
import { delegationsOf, manifestOf, verdictsOwed } from '../../journal/queries.ts';
import type { ValidatorEffect, ValidatorEvent, ValidatorState } from './events.ts';

/** Journal time after which a release that nobody evaluated is everybody's. */
const turnMs = 10_000;
/** Journal time after which an evaluation no longer waits for claims: on a busy machine these never end, and nobody sees the loss. */
const overdueMs = 30_000;

export function step(before: ValidatorState, event: ValidatorEvent): [ValidatorState, readonly ValidatorEffect[]] {
  const state = take(before, event);
  if (state.busy !== null) return [state, []];
  const effect = nextWork(state);
  if (effect === null) return [state, []];
  const replaySinceMs = effect.kind === 'redo-segment' ? state.run.lastTimeMs : null;
  return [{ ...state, busy: effect.key, replaySinceMs }, [effect]];
}

function take(state: ValidatorState, event: ValidatorEvent): ValidatorState {
  if (event.kind === 'tick') return { ...state, block: Math.max(state.block, event.block) };
  if (event.kind === 'failed') return { ...state, busy: null, replaySinceMs: null, lastFailed: event.key };
  if (event.kind !== 'done') return state;
  if (state.replaySinceMs !== null) return takeReplay(state, event.key, state.replaySinceMs);
  const sent = new Set(state.sent).add(event.key);
  if (!event.key.startsWith('weights-')) return { ...state, busy: null, lastFailed: null, sent };
  const weightsTempo = Number(event.key.slice('weights-'.length));
  // One more: the setting may have gone into the block after the last one seen.
  return { ...state, busy: null, lastFailed: null, sent, weightsTempo, weightsBlock: state.block + 1 };
}

function takeReplay(state: ValidatorState, key: string, sinceMs: number): ValidatorState {
  const { lastTimeMs } = state.run;
  const claimsUntilMs = lastTimeMs + 2 * (lastTimeMs - sinceMs);
  const sent = new Set(state.sent).add(key);
  return { ...state, busy: null, lastFailed: null, sent, replaySinceMs: null, claimsUntilMs };
}

/** Null if nothing is owed. Work that failed last waits for the others: one damaged claim must not hold up the rest. */
export function nextWork(state: ValidatorState): ValidatorEffect | null {
  const owed = [
    // One call, and on a busy machine claims never end: miners would not be paid.
    ...owedWeights(state),
    ...(isEvaluationOverdue(state) ? owedEvaluation(state) : []),
    ...(state.run.lastTimeMs < state.claimsUntilMs ? [] : owedAudits(state)),
    ...owedVerdicts(state),
    ...owedAudits(state),
    ...owedEvaluation(state),
    ...owedAttestation(state),
  ];
  return owed.find(({ key }) => key !== state.lastFailed) ?? owed[0] ?? null;
}

function owedVerdicts({ run, hotkey, sent }: ValidatorState): ValidatorEffect[] {
  return (
    verdictsOwed(run, hotkey)
      // A claim that is drawn for again asks for a new verdict of whoever is drawn then.
      .map(({ claim, round }): ValidatorEffect => {
        const key = `${round}-${claim.id}-${claim.beacon!.block}`;
        return { kind: 'check-claim', key, claim: claim.id, round };
      })
      .filter(({ key }) => !sent.has(key))
  );
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
  return [{ kind: 'attest-segment', key: attestationKey(release), release }];
}

const attestationKey = (release: number): string => `attest-${release}`;

function owedWeights({ run, block, weightsBlock, weightsTempo }: ValidatorState): ValidatorEffect[] {
  const { index, history } = run.tempo;
  const { tempoBlocks } = manifestOf(run).ledger;
  const mayBeSet = weightsBlock === null || block > weightsBlock + tempoBlocks;
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
  const validators = [...new Set(delegationsOf(run, 'validator', run.lastTimeMs).map((each) => each.hotkey))].sort();
  const isTurn = validators[release % validators.length] === hotkey || run.lastTimeMs - record.atMs > turnMs;
  const key = `evaluate-${release}`;
  const isEvaluated = run.evaluations.some((each) => each.release === release);
  return isEvaluated || !isTurn || sent.has(key) ? [] : [{ kind: 'evaluate-release', key, release }];
}
