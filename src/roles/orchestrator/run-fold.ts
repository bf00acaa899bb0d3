/**
 * @file The fold that an orchestrator leads from, with what it remembers beside it. A syncer that stands by keeps one up to
 * date, so that it need not read the journal when it takes the lead.
 */
import { admit, applyEvent } from '../../journal/fold.ts';
import type { Journal } from '../../journal/port.ts';
import { emptyState, type RunState } from '../../journal/state.ts';
import type { Ed25519Equation } from '../../protocol/ed25519.ts';
import type { JournalEntry } from '../../protocol/messages.ts';
import { type OpenContext, type OpenedMessage, openEntry } from '../../protocol/signing.ts';
import { bindingOf, journalPageEntries } from '../client.ts';
import { RoleError } from '../errors.ts';
import { HeadsHistory } from '../heads-history.ts';
import { Retention } from './retention.ts';

export interface RunFoldOptions {
  readonly equation?: Ed25519Equation | undefined;
  /** Told of every entry after it was folded, from the first on; it must not throw. */
  readonly onFold?: ((run: RunState, entry: JournalEntry) => void) | undefined;
  /** Awaited after each page of the journal while it is read. */
  readonly onPage?: ((run: RunState) => Promise<void>) | undefined;
}

export class RunFold {
  readonly run: RunState = emptyState();
  readonly heads = new HeadsHistory();
  readonly retention = new Retention();
  readonly #options: RunFoldOptions;

  constructor(options: RunFoldOptions = {}) {
    this.#options = options;
  }

  /** Folds what the journal has and the fold has not. @throws RoleError JOURNAL_INVALID */
  async readOn(journal: Pick<Journal, 'read'>): Promise<void> {
    for (;;) {
      const entries = await journal.read(this.run.size, journalPageEntries);
      for (const entry of entries) this.take(entry);
      await this.#options.onPage?.(this.run);
      if (entries.length < journalPageEntries) return;
    }
  }

  /** Entries of our own journal are checked as those of a stranger: the file may have been touched. */
  take(raw: JournalEntry): void {
    const opened = openEntry(raw, this.run.headHash, this.context());
    if (!opened.ok) throw new RoleError('JOURNAL_INVALID', `journal entry ${raw.seq}: ${opened.sentence}`);
    const admission = admit(this.run, opened);
    if (admission.outcome !== 'accept')
      throw new RoleError('JOURNAL_INVALID', `journal entry ${raw.seq}: ${admission.code}: ${admission.sentence}`);
    this.apply(opened);
  }

  /** An entry that was admitted. @returns bytes of its canonical text */
  apply(opened: { readonly entry: JournalEntry; readonly message: OpenedMessage }): number {
    const sizeBytes = applyEvent(this.run, opened);
    this.heads.onFold(this.run, opened.entry);
    this.retention.onFold(this.run, opened.entry);
    this.#options.onFold?.(this.run, opened.entry);
    return sizeBytes;
  }

  /** What signatures are checked with; null before the first entry. */
  context(): OpenContext | null {
    const binding = bindingOf(this.run);
    const { equation } = this.#options;
    return binding === null || equation === undefined ? binding : { ...binding, equation };
  }
}
