/**
 * @file The merges of the run's newest segments as the journal had them: what went in and what came out. The fold keeps
 * only the present; whoever recomputes a segment remembers its merges while it folds.
 */
import type { RunState } from '../journal/state.ts';
import type { EventBody, JournalEntry } from '../protocol/messages.ts';
import { type MergeInput, pendingMergeInput } from './merge-computation.ts';

export interface PublishedMerge {
  readonly input: MergeInput;
  readonly published: EventBody<'fragment-published'>;
}

/** Segments that are remembered: enough to catch up with an attestation that others left out. */
const keptSegments = 16;

export class MergeHistory {
  readonly #pending = new Map<number, MergeInput>();
  readonly #byRelease = new Map<number, readonly PublishedMerge[]>();
  #open: PublishedMerge[] = [];

  /** To be called after each entry was folded into `state`. */
  readonly onFold = (state: RunState, { message }: JournalEntry): void => {
    const { kind } = message;
    if (kind === 'merge') this.#take(state, (message.body as EventBody<'merge'>).fragment);
    // A lost claim leaves its pending merge.
    else if (kind === 'claim-void') for (const fragment of [...this.#pending.keys()]) this.#take(state, fragment);
    else if (kind === 'fragment-published') this.#close(message.body as EventBody<'fragment-published'>);
    else if (kind === 'release') this.#end((message.body as EventBody<'release'>).release);
  };

  /** Merges between the release before this one and this one, in the order of their publication; null if forgotten. */
  ofRelease(release: number): readonly PublishedMerge[] | null {
    return this.#byRelease.get(release) ?? null;
  }

  /** What a fragment's merge takes that is not published yet; null: none. */
  pendingOf(fragment: number): MergeInput | null {
    return this.#pending.get(fragment) ?? null;
  }

  #close(published: EventBody<'fragment-published'>): void {
    this.#open.push({ input: this.#pending.get(published.fragment)!, published });
    this.#pending.delete(published.fragment);
  }

  #end(release: number): void {
    this.#byRelease.set(release, this.#open);
    this.#byRelease.delete(release - keptSegments);
    this.#open = [];
  }

  #take(state: RunState, fragment: number): void {
    if (state.fragments[fragment]!.pendingMerge === null) this.#pending.delete(fragment);
    else this.#pending.set(fragment, pendingMergeInput(state, fragment));
  }
}
