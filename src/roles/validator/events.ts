/** @file What the validator's step knows beside the journal, what can happen to it, and what it can ask for. */
import type { RunState } from '../../journal/state.ts';
import type { EventBody } from '../../protocol/messages.ts';
import type { Hash, Hotkey } from '../../protocol/names.ts';

export interface ValidatorState {
  /** The fold of the journal, owned by the client. */
  readonly run: RunState;
  readonly hotkey: Hotkey;
  /** The claim, release or tempo that is worked on; one at a time, because each fills the cores. */
  readonly busy: string | null;
  /** The replay under way, beside that. */
  readonly replaying: string | null;
  /** What failed last: other work goes before it is tried again. */
  readonly lastFailed: string | null;
  /** Verdicts and evaluations sent, whose events may not have come back yet. Changed in place: it grows with the run. */
  readonly sent: Set<string>;
  /** Newest tempo for which weights were set (or refused by the ledger). */
  readonly weightsTempo: number;
  /** Height of the ledger, and its height when weights were set last: half a tempo must lie between two settings. */
  readonly block: number;
  readonly weightsBlock: number | null;
}

export type ValidatorEvent =
  | { readonly kind: 'journaled' }
  | { readonly kind: 'tick'; readonly block: number }
  /** The work named `key` ended; a failed one is tried again at a later tick. */
  | { readonly kind: 'done' | 'failed'; readonly key: string };

/** The committed versions of all fragments that a claim's gain is measured against. */
export type ValidatorEffect =
  | {
      readonly kind: 'check-claim';
      readonly key: string;
      readonly claim: Hash;
      readonly round: VerdictBody['round'];
    }
  /** Redo an audited trace segment. */
  | { readonly kind: 'redo-segment'; readonly key: string; readonly audit: number }
  /** Redo every merge since the release before this one. */
  | { readonly kind: 'attest-segment'; readonly key: string; readonly release: number }
  | { readonly kind: 'evaluate-release'; readonly key: string; readonly release: number }
  | { readonly kind: 'set-weights'; readonly key: string; readonly tempo: number };

export type VerdictBody = EventBody<'verdict'>;
