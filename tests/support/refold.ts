/** @file Folds recorded entries again, one by one, without checking signatures: those have tests of their own. */
import { applyEvent } from '../../src/journal/fold.ts';
import { emptyState, type RunState } from '../../src/journal/state.ts';
import { parseSigner } from '../../src/protocol/keys.ts';
import type { JournalEntry } from '../../src/protocol/messages.ts';
import { messageId, type OpenedMessage } from '../../src/protocol/signing.ts';

export interface Folded {
  readonly state: RunState;
  readonly entry: JournalEntry;
}

/** The same state each time, one entry further. */
export function* refold(entries: readonly JournalEntry[]): Generator<Folded> {
  const state = emptyState();
  for (const entry of entries) {
    const { message: envelope } = entry;
    const { kind, body } = envelope;
    const signer = parseSigner(envelope.signer)!;
    const message = { kind, body, signer, id: messageId(envelope), envelope } as OpenedMessage;
    applyEvent(state, { entry, message });
    yield { state, entry };
  }
}
