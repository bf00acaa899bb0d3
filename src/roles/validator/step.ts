/** @file The validator's decisions: which piece of work is next. Claims first, oldest first; then weights; then releases. */
import { manifestOf, verdictsOwed } from '../../journal/queries.ts';
import type { ValidatorEffect, ValidatorEvent, ValidatorState } from './events.ts';

export function step(before: ValidatorState, event: ValidatorEvent): [ValidatorState, readonly ValidatorEffect[]] {
  const state = take(before, event);
  if (state.busy !== null) return [state, []];
  const effect = nextWork(state);
  return effect === null ? [state, []] : [{ ...state, busy: effect.key }, [effect]];
}

function take(state: ValidatorState, event: ValidatorEvent): ValidatorState {
  if (event.kind === 'tick') return { ...state, block: Math.max(state.block, event.block) };
  if (event.kind === 'failed') return { ...state, busy: null };
  if (event.kind !== 'done') return state;
  const sent = new Set(state.sent).add(event.key);
  if (!event.key.startsWith('weights-')) return { ...state, busy: null, sent };
  const weightsTempo = Number(event.key.slice('weights-'.length));
  // One more: the setting may have gone into the block after the last one seen.
  return { ...state, busy: null, sent, weightsTempo, weightsBlock: state.block + 1 };
}

/** Null if nothing is owed. */
export function nextWork(state: ValidatorState): ValidatorEffect | null {
  for (const claim of verdictsOwed(state.run, state.hotkey)) {
    // A claim that is drawn for again asks for a new verdict of whoever is drawn then.
    const key = `claim-${claim.id}-${claim.beacon!.block}`;
    if (!state.sent.has(key)) return { kind: 'check-claim', key, claim: claim.id };
  }
  const { index } = state.run.tempo;
  const { tempoBlocks } = manifestOf(state.run).ledger;
  const mayBeSet = state.weightsBlock === null || state.block > state.weightsBlock + tempoBlocks;
  if (index > state.weightsTempo && mayBeSet && state.run.tempo.history.length > 0)
    return { kind: 'set-weights', key: `weights-${index}`, tempo: index };
  const release = state.run.releases.at(-1)?.body.release;
  if (release === undefined) return null;
  const key = `evaluate-${release}`;
  const isEvaluated = state.run.evaluations.some(
    (evaluation) => evaluation.release === release && evaluation.hotkey === state.hotkey,
  );
  return isEvaluated || state.sent.has(key) ? null : { kind: 'evaluate-release', key, release };
}
