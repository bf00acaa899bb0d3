/** @file Who may be drawn to judge, and in which order: what claims and audits have in common. */
import { type Candidate, drawCommittee } from '../protocol/draw.ts';
import type { Hash, Hotkey } from '../protocol/names.ts';
import { validatorsOf } from './queries.ts';
import { type Refusal, reject } from './rule.ts';
import type { RunState } from './state.ts';

/** Validators of the run in order of hotkey, none barred, nobody judging himself. */
export function admitCandidates(
  state: RunState,
  candidates: readonly Candidate[],
  judged: Hotkey,
  timeMs: number,
): Refusal | null {
  const validators = new Set<Hotkey>(validatorsOf(state, timeMs));
  for (const [i, { hotkey }] of candidates.entries()) {
    if (state.hotkeys.get(hotkey)?.barred) return reject('BARRED', `${hotkey} may no longer judge`);
    if (!validators.has(hotkey)) return reject('NOT_DELEGATED', `${hotkey} is no validator of the run`);
    if (hotkey === judged) return reject('CONFLICT', `${hotkey} cannot judge its own work`);
    if (i > 0 && candidates[i - 1]!.hotkey >= hotkey) return reject('MALFORMED', 'candidates are not in order');
  }
  if (candidates.length === 0) return reject('NO_CANDIDATES', 'a committee is drawn from at least one validator');
  return null;
}

/** The committee, and who would be drawn after it; null if nobody is left. */
export function drawCommitteeAndNext(options: {
  readonly blockHash: Hash;
  readonly claim: Hash;
  readonly candidates: readonly Candidate[];
  readonly size: number;
}): [committee: Hotkey[], next: Hotkey | null] {
  const drawn = drawCommittee({ ...options, size: options.size + 1 });
  return [drawn.slice(0, options.size), drawn[options.size] ?? null];
}
