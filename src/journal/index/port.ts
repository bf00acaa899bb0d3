/**
 * @file The index of a journal: what people ask of a run's history, kept as tables beside the journal. It holds nothing that
 * the journal does not hold (but for `samples`, told by heartbeats), is made again from it at any time, and decides nothing.
 */
import type { Hash, Hotkey } from '../../protocol/names.ts';

/** How much of the journal is in the index. */
export interface IndexHead {
  readonly size: number;
  readonly headHash: Hash;
  readonly lastTimeMs: number;
}

export interface ClaimIndexRow {
  readonly id: Hash;
  readonly hotkey: Hotkey;
  readonly name: string;
  readonly outerStep: number;
  readonly fragment: number;
  readonly phase: number;
  readonly stepFrom: number;
  readonly stepTo: number;
  readonly tokens: number;
  readonly status: string;
  readonly code: string | null;
  readonly sentence: string;
  readonly seq: number;
  readonly committedAtMs: number;
  readonly revealedAtMs: number | null;
  readonly settledAtMs: number | null;
  readonly mergedAtMs: number | null;
  readonly isOverturned: 0 | 1;
  readonly isDisputed: 0 | 1;
  /** Of its merge; null before. */
  readonly mergedOuterStep: number | null;
  readonly mergeOrder: number | null;
  readonly staleness: number | null;
  readonly mergeShare: number | null;
  readonly norm: number | null;
  readonly clippedNorm: number | null;
}

export interface MergeIndexRow {
  readonly outerStep: number;
  readonly fragment: number;
  readonly fromVersion: number;
  readonly version: number;
  readonly seq: number;
  /** Of the outer step, of the merge's event, and of the fragment's publication. */
  readonly openedAtMs: number | null;
  readonly mergedAtMs: number;
  readonly atMs: number;
  readonly durationMs: number;
  readonly claims: number;
  readonly learners: number;
  readonly tokens: number;
  /** Of the run, after it. */
  readonly countedTokens: number;
  readonly maxNorm: number;
  readonly maxClippedNorm: number;
  readonly clipped: number;
  readonly meanStaleness: number;
  readonly artifactRoot: Hash;
  readonly artifactSizeBytes: number;
  readonly momentumRoot: Hash;
  readonly momentumSizeBytes: number;
}

export interface MinerIndexRow {
  readonly hotkey: Hotkey;
  /** Names of its learners, each after a space. */
  readonly learners: string;
  readonly learnersPresent: number;
  readonly tokens: number;
  readonly committed: number;
  readonly accepted: number;
  readonly refused: number;
  readonly voided: number;
  readonly merged: number;
  /** Accepted among accepted and refused. */
  readonly quality: number | null;
  readonly staleness: number | null;
  /** With a learner present, up to `presentSinceMs` (null while none is). */
  readonly presentMs: number;
  readonly presentSinceMs: number | null;
  readonly firstJoinedAtMs: number;
  readonly lastClaimAtMs: number | null;
  readonly lastCode: string | null;
  readonly lastSentence: string;
  readonly weight: number;
  readonly auditsOpen: number;
  readonly auditsPassed: number;
  readonly auditsFailed: number;
}

/** What a validator published. */
export interface ValidatorIndexRow {
  readonly validator: Hotkey;
  /** Verdicts of all rounds. */
  readonly accept: number;
  readonly ignore: number;
  readonly reject: number;
  readonly lastAtMs: number | null;
  /** From reveal to verdict, of its newest verdicts as one of a committee. */
  readonly medianLatencyMs: number | null;
  /** Trace segments that it redid. */
  readonly audits: number;
}

/** One measured number of the run; `series` names metric and line. */
export interface PointIndexRow {
  readonly series: string;
  readonly seq: number;
  readonly atMs: number;
  readonly countedTokens: number;
  readonly value: number;
}

export type MarkKind = 'release' | 'phase' | 'tempo' | 'tree-head';

/** When something happened that the fold does not date. */
export interface MarkIndexRow {
  readonly kind: MarkKind;
  readonly number: number;
  readonly seq: number;
  readonly atMs: number;
  readonly countedTokens: number;
}

/** What entries [from.size, to.size) changed. Rows replace those of the same key. */
export interface IndexBatch {
  readonly from: Pick<IndexHead, 'size' | 'headHash'>;
  readonly to: IndexHead;
  readonly claims: readonly ClaimIndexRow[];
  readonly merges: readonly MergeIndexRow[];
  readonly miners: readonly MinerIndexRow[];
  readonly validators: readonly ValidatorIndexRow[];
  readonly points: readonly PointIndexRow[];
  readonly marks: readonly MarkIndexRow[];
}

/** What the ledger says of a hotkey; joined to miners for sorting. Not of the journal. */
export interface NeuronIndexRow {
  readonly hotkey: Hotkey;
  readonly emissionRao: number;
}

export type SampleIndexRow = Omit<PointIndexRow, 'seq'>;

export interface Page<T> {
  readonly rows: readonly T[];
  /** Null on the last page. */
  readonly nextCursor: string | null;
  readonly total: number;
}
export interface PageQuestion {
  /** Of the page before. */
  readonly cursor?: string | undefined;
  readonly limit: number;
}

export interface ClaimsQuestion extends PageQuestion {
  readonly hotkey: Hotkey;
  readonly status: 'all' | 'open' | 'refused' | 'merged';
}
export type MinerSort =
  | 'tokens'
  | 'hotkey'
  | 'quality'
  | 'work'
  | 'reward'
  | 'staleness'
  | 'uptime'
  | 'lastClaim'
  | 'refused';
export interface MinersQuestion extends PageQuestion {
  readonly sort: MinerSort;
  readonly order: 'asc' | 'desc';
  /** Beginning of a hotkey or of a learner's name. */
  readonly search?: string | undefined;
  readonly present?: boolean | undefined;
  /** Uptime goes up to here. */
  readonly nowMs: number;
}
export interface MinerFound extends MinerIndexRow {
  /** Null where the ledger does not know the hotkey. */
  readonly emissionRao: number | null;
}

export interface SeriesQuestion {
  /** Beginning of the series' names. */
  readonly prefix: string;
  /** Buckets, at most, of each line. */
  readonly points: number;
  readonly fromMs?: number | undefined;
  readonly toMs?: number | undefined;
  readonly fromTokens?: number | undefined;
  readonly toTokens?: number | undefined;
}
export interface SeriesBucket {
  readonly series: string;
  readonly atMs: number;
  readonly countedTokens: number;
  readonly value: number;
  readonly low: number;
  readonly high: number;
  readonly samples: number;
}

/**
 * Failures: JournalError with INDEX_CONFLICT (the batch does not follow the index's head; nothing changed), BAD_CURSOR (no
 * cursor of this question), INDEX_DAMAGED (the tables cannot be read: remove them and rebuild), DISK_FULL or IO. A batch is
 * applied wholly or not at all; what was applied is there after a crash of the process.
 */
export interface JournalIndex {
  head(): Promise<IndexHead>;
  apply(batch: IndexBatch): Promise<void>;
  /** Forgets all that came from the journal; samples stay. */
  clear(): Promise<void>;
  /** Beside the journal: what heartbeats and the ledger say. */
  addSamples(samples: readonly SampleIndexRow[]): Promise<void>;
  setNeurons(neurons: readonly NeuronIndexRow[]): Promise<void>;

  claim(id: Hash): Promise<ClaimIndexRow | null>;
  /** Newest first. */
  claims(question: ClaimsQuestion): Promise<Page<ClaimIndexRow>>;
  /** In merge order. */
  claimsOfMerge(outerStep: number): Promise<readonly ClaimIndexRow[]>;
  /** Claims of a hotkey by code, and `OPEN`. */
  claimCodes(hotkey: Hotkey): Promise<Readonly<Record<string, number>>>;
  /** Claims of the run by status. */
  claimStatuses(): Promise<Readonly<Record<string, number>>>;
  merge(outerStep: number): Promise<MergeIndexRow | null>;
  /** Newest first. */
  merges(question: PageQuestion & { readonly fragment?: number | undefined }): Promise<Page<MergeIndexRow>>;
  miner(hotkey: Hotkey): Promise<MinerFound | null>;
  miners(question: MinersQuestion): Promise<Page<MinerFound>>;
  /** In order of hotkey. */
  validators(): Promise<readonly ValidatorIndexRow[]>;
  /** Ascending in series and time. */
  series(question: SeriesQuestion): Promise<readonly SeriesBucket[]>;
  /** Values of the newest points of one series, newest first. */
  newestPoints(series: string, limit: number): Promise<readonly number[]>;
  /** The newest `limit` of a kind, oldest first. */
  marks(kind: MarkKind, limit: number): Promise<readonly MarkIndexRow[]>;
  close(): Promise<void>;
}
