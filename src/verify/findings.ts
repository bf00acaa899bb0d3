/** @file What a verification finds: counts and divergences for each check, and the report that is made of them. */

/** In the order of the report. */
export const checkNames = [
  'manifest',
  'data',
  'pages',
  'journal',
  'signatures',
  'membership',
  'tree heads',
  'ledger',
  'anchors',
  'beacons',
  'leases',
  'claims',
  'cells',
  'artifacts',
  'traces',
  'verdicts',
  'merges',
  'fragments',
  'releases',
  'segments',
  'scores',
  'weights',
  'audits',
] as const;
export type CheckName = (typeof checkNames)[number];

export interface Divergence {
  readonly check: CheckName;
  /** Entry of the journal; null where none is concerned (a call on the ledger, a folder). */
  readonly seq: number | null;
  /** Kind of the event, or what else is concerned. */
  readonly event: string;
  readonly expected: string;
  readonly found: string;
}

/**
 * `attested`: a part was not recomputed, validators signed that they had; `not checked`: a part was not, and nobody did.
 */
export type CheckStatus = 'ok' | 'FAILED' | 'attested' | 'not checked';

export interface CheckLine {
  readonly check: CheckName;
  readonly status: CheckStatus;
  /** Counts, and why anything was left out. */
  readonly summary: string;
  readonly divergences: number;
}

export interface Report {
  readonly version: 1;
  readonly record: string;
  readonly run: string | null;
  readonly entries: number;
  readonly ok: boolean;
  readonly checks: readonly CheckLine[];
  readonly first: Divergence | null;
  /** The first of each check, at most. */
  readonly divergences: readonly Divergence[];
}

const keptDivergences = 10;

interface Book {
  readonly counts: Map<string, number>;
  readonly notes: string[];
  readonly divergences: Divergence[];
  divergenceCount: number;
  isAttested: boolean;
  isUnchecked: boolean;
}

export class Findings {
  readonly #books = new Map<CheckName, Book>();

  get isClean(): boolean {
    return [...this.#books.values()].every(({ divergenceCount }) => divergenceCount === 0);
  }

  fail(divergence: Divergence): void {
    const book = this.#book(divergence.check);
    book.divergenceCount++;
    if (book.divergences.length < keptDivergences) book.divergences.push(divergence);
  }

  /** Adds to "… `unit`" of the check's line. */
  count(check: CheckName, unit: string, by = 1): void {
    const { counts } = this.#book(check);
    counts.set(unit, (counts.get(unit) ?? 0) + by);
  }

  countOf(check: CheckName, unit: string): number {
    return this.#book(check).counts.get(unit) ?? 0;
  }

  note(check: CheckName, sentence: string): void {
    this.#book(check).notes.push(sentence);
  }

  attested(check: CheckName, sentence: string): void {
    this.#book(check).isAttested = true;
    this.note(check, sentence);
  }

  unchecked(check: CheckName, sentence: string): void {
    this.#book(check).isUnchecked = true;
    this.note(check, sentence);
  }

  report(about: Pick<Report, 'record' | 'run' | 'entries'>): Report {
    const divergences = checkNames.flatMap((check) => this.#books.get(check)?.divergences ?? []);
    const first = [...divergences].sort((a, b) => (a.seq ?? Infinity) - (b.seq ?? Infinity) || 0)[0] ?? null;
    const checks = checkNames.map((check) => lineOf(check, this.#books.get(check)));
    return { version: 1, ...about, ok: this.isClean, checks, first, divergences };
  }

  #book(check: CheckName): Book {
    const known = this.#books.get(check);
    if (known !== undefined) return known;
    const book = {
      counts: new Map<string, number>(),
      notes: [],
      divergences: [],
      divergenceCount: 0,
      isAttested: false,
      isUnchecked: false,
    };
    this.#books.set(check, book);
    return book;
  }
}

function lineOf(check: CheckName, book: Book | undefined): CheckLine {
  if (book === undefined) return { check, status: 'ok', summary: 'nothing of it in this record', divergences: 0 };
  const { counts, notes, divergenceCount } = book;
  const said = [...counts].map(([unit, count]) => `${count.toLocaleString('en-US')} ${unit}`);
  const summary = [said.join(', '), ...notes].filter(Boolean).join('; ');
  return { check, status: statusOf(book), summary, divergences: divergenceCount };
}

function statusOf({ divergenceCount, isAttested, isUnchecked }: Book): CheckStatus {
  if (divergenceCount > 0) return 'FAILED';
  if (isUnchecked) return 'not checked';
  return isAttested ? 'attested' : 'ok';
}
