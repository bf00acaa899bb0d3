/**
 * @file Keeps an index level with a fold: it is told of every folded entry, and writes what changed in one transaction a batch.
 * An index of another journal, or of another version, is cleared first. What could not be
 * written is tried again first. An index never stops a run: who flushes decides what a failure means.
 */
import type { JournalEntry } from '../../protocol/messages.ts';
import { entryHash } from '../../protocol/signing.ts';
import { JournalError } from '../errors.ts';
import type { Journal } from '../port.ts';
import { type RunState, zeroHash } from '../state.ts';
import type { IndexBatch, IndexHead, JournalIndex } from './port.ts';
import { Projector } from './projector.ts';

const emptyHead: IndexHead = { size: 0, headHash: zeroHash, lastTimeMs: 0 };
/** Entries of one transaction while the journal is read. */
const batchEntries = 4_096;

export class Indexer {
  readonly #index: JournalIndex;
  readonly #projector: Projector;
  #writing: Promise<void> = Promise.resolve();
  /** Taken and not written: is tried again before anything else. */
  #unwritten: IndexBatch | null = null;

  #head: IndexHead;

  /** Null: nothing but us writes the index. */
  readonly #journal: Journal | null;

  private constructor(index: JournalIndex, indexed: IndexHead, journal: Journal | null) {
    this.#index = index;
    this.#journal = journal;
    this.#head = indexed;
    this.#projector = new Projector(indexed);
  }

  /** To be opened before the fold begins: an index that does not belong to this journal is emptied. */
  static async open(index: JournalIndex, journal: Journal): Promise<Indexer> {
    const head = await index.head();
    if (await belongsTo(journal, head)) return new Indexer(index, head, journal);
    await index.clear();
    return new Indexer(index, emptyHead, journal);
  }

  /** For an index that is empty. */
  static begin(index: JournalIndex): Indexer {
    return new Indexer(index, emptyHead, null);
  }

  /** To be called after each entry was folded, from the first on. */
  readonly onFold = (state: RunState, entry: JournalEntry): void => this.#projector.onFold(state, entry);

  /** How much of the fold is written. */
  get head(): IndexHead {
    return this.#head;
  }

  /** Whether so much waits that it should be written now. */
  isDue(state: RunState): boolean {
    return this.#projector.pending(state) >= batchEntries;
  }

  /** Writes what changed up to now; one after another. Rejects where the index failed. */
  flush(state: RunState): Promise<void> {
    const writing = this.#writing
      .catch(() => {})
      .then(async () => {
        await this.#write(this.#unwritten);
        await this.#write(this.#projector.take(state));
      });
    this.#writing = writing;
    return writing;
  }

  async #write(batch: IndexBatch | null): Promise<void> {
    if (batch === null) return;
    this.#unwritten = batch;
    this.#head = await this.#index.apply(batch).then(
      () => batch.to,
      (error) => this.#reconcile(batch, error),
    );
    this.#unwritten = null;
  }

  /**
   * The index is not where it was left: a commit whose answer was lost, or another process that wrote it for this journal. Rows are
   * whole and not sums, so what it lacks of the batch can be written over what it has. @throws the first error where it is neither
   */
  async #reconcile(batch: IndexBatch, error: unknown): Promise<IndexHead> {
    if (!(error instanceof JournalError) || error.code !== 'INDEX_CONFLICT' || this.#journal === null) throw error;
    const head = await this.#index.head();
    if (head.size < batch.from.size || !(await belongsTo(this.#journal, head))) throw error;
    if (head.size >= batch.to.size) return head;
    await this.#index.apply({ ...batch, from: head });
    return batch.to;
  }
}

/** Whether the entry that the index ends at is this journal's: the chain then says the same of all before it. */
async function belongsTo(journal: Journal, { size, headHash }: IndexHead): Promise<boolean> {
  if (size === 0) return true;
  if (size < 0 || size > journal.head.size) return false;
  const [last] = await journal.read(size - 1, 1);
  return last !== undefined && entryHash(last) === headHash;
}
