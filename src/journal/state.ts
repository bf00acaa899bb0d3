/**
 * @file The state of a run as its journal tells it: what `fold.ts` builds, one event after another, and what roles,
 * dashboard and auditors read. It is mutable and has one owner, the fold; everybody else only reads it, and takes
 * nothing out of it across an `await` that must still be true afterwards. Tokens are counted in cell-tokens (one
 * token of one sequence as it trained one fragment), which are whole numbers: tokens = cell-tokens / P.
 */
import type { ArtifactRef, RunManifest } from '../protocol/manifest.ts';
import type { AuditCode, EventBody, EventKind, Role, VerdictCode } from '../protocol/messages.ts';
import type { Decimal, Hash, Hotkey, LearnerId, SessionKey } from '../protocol/names.ts';
import type { Range } from '../util/ranges.ts';

export interface Delegation {
  readonly hotkey: Hotkey;
  readonly role: Role;
  readonly name: string;
  readonly sessionKey: SessionKey;
  readonly issuedAtMs: number;
  readonly expiresAtMs: number;
}

/** What one committed claim added to a learner's trace: lines [from, to) trained on `sequences` of `phase`. */
export interface TraceSegment {
  readonly lines: Range;
  readonly phase: number;
  readonly sequences: readonly Range[];
}

/** A stretch of a trace whose end states the learner can be asked for. */
export interface AuditSegment {
  readonly steps: Range;
  /** Begins with a join: its start follows from published fragments. */
  readonly isFirst: boolean;
  /** Inner step of the join that its state goes back to: the warm-up counts from there. */
  readonly joinedAtStep: number;
  /** The claim that committed its last line. */
  readonly claim: Hash;
  isDrawn: boolean;
}

export interface Learner {
  readonly id: LearnerId;
  readonly hotkey: Hotkey;
  readonly name: string;
  readonly joinedAtMs: number;
  /** Seq of its newest `join`. */
  joinedSeq: number;
  /** True between `join` and `leave`. */
  present: boolean;
  /** `atMs` of its newest `join` or `leave`. */
  lastAtMs: number;
  capabilities: { readonly threads: number; readonly memoryGib: number; readonly machineClass: string };
  /** Committed length of its life-long trace. */
  innerSteps: number;
  traceHead: Hash;
  /** Per fragment: the inner step at which its next claim of it starts. */
  readonly claimedThrough: number[];
  /** Per fragment: outer step of its newest claim, -1 before the first. */
  readonly claimedOuterStep: number[];
  /** Committed segments that some fragment has not been claimed for, oldest first. */
  segments: TraceSegment[];
  /** Inner step of its newest join: there its state began anew. */
  joinedAtStep: number;
  /** An audit went unanswered, and nothing was committed since: it is drawn for nothing and paid nothing. */
  isSilent: boolean;
  /** The newest W committed segments between two traced states, oldest first. */
  auditable: AuditSegment[];
  /** Inner step at which the next segment begins. */
  segmentFrom: number;
  /** Merged claims some of whose steps no segment holds yet: not payable before one does. */
  readonly waiting: Set<Hash>;
  /** Its part of the hotkey's `tempoCellTokens` and `heldCellTokens`. */
  unpaidCellTokens: number;
  /** Ids of its open leases, ascending. */
  readonly leases: Set<number>;
  /** Cell-tokens of its merged claims. */
  cellTokens: number;
  readonly claims: { committed: number; accepted: number; refused: number; voided: number; merged: number };
  /** Code and sentence of its last settled claim (OK and empty if it was accepted). */
  lastCode: string | null;
  lastSentence: string;
  lastClaimAtMs: number | null;
}

export interface Lease {
  readonly id: number;
  readonly learner: LearnerId;
  readonly phase: number;
  readonly range: Range;
  readonly scheduleTokens: readonly [start: number, end: number];
  readonly seq: number;
  readonly issuedAtMs: number;
  readonly deadlineMs: number;
  /** Time of the lease or of the last committed trace line in it. */
  activeAtMs: number;
  /** What committed trace lines have trained on. */
  covered: Range[];
  /** `done`: wholly covered; the others as in `lease-return`. */
  status: 'open' | 'done' | 'returned' | 'expired' | 'left';
}

/** The open outer step. */
export interface DueStep {
  readonly outerStep: number;
  readonly fragment: number;
  readonly openedAtMs: number;
  readonly deadlineMs: number;
}

/**
 * committed → beaconed → revealed (beacon and bytes are both there, in either order) → accepted → merging → merged, or
 * refused by verdicts, or voided (by `claim-void`, or by verdicts that ignore it).
 */
export type ClaimStatus =
  | 'committed'
  | 'beaconed'
  | 'revealed'
  | 'accepted'
  | 'refused'
  | 'voided'
  | 'merging'
  | 'merged';

export interface ClaimVerdict {
  readonly hotkey: Hotkey;
  readonly round: EventBody<'verdict'>['round'];
  readonly outcome: 'accept' | 'ignore' | 'reject';
  readonly code: VerdictCode;
  readonly sentence: string;
  readonly measurements: Readonly<Record<string, Decimal>>;
  readonly details: ArtifactRef | null;
  readonly accused: readonly Hotkey[];
  readonly atMs: number;
}

/** All validators judge a claim: its outcome, and who published what nobody else can compute. */
export interface Dispute {
  readonly reason: 'disagreement' | 'accusation' | 'appeal';
  readonly openedAtMs: number;
  /** In order of arrival. */
  readonly rulings: ClaimVerdict[];
  closedAtMs: number | null;
}

export interface Claim {
  /** Id of the `claim-commit` message. */
  readonly id: Hash;
  readonly body: EventBody<'claim-commit'>;
  readonly learner: LearnerId;
  readonly hotkey: Hotkey;
  readonly name: string;
  readonly commitSeq: number;
  readonly committedAtMs: number;
  /** Version of the fragment when the claim was committed: the heads that a gain test starts from. */
  readonly versionAtCommit: number;
  /** First position of the phase's order that was not leased then: where gain tests draw from. */
  readonly cursorAtCommit: number;
  /** Block of the tempo that was open then: its own block is no earlier. */
  readonly tempoBlockAtCommit: number;
  /** How many claims the hotkey had committed before. */
  readonly ordinal: number;
  /** Sequences × sequence length. */
  readonly cellTokens: number;
  /** Without those of steps that nobody can audit (`join`), which are merged and not paid. */
  payableCellTokens: number;
  status: ClaimStatus;
  revealedAtMs: number | null;
  beacon: {
    readonly commitBlock: number;
    readonly block: number;
    readonly blockHash: Hash;
    /** Validators and their stake in rao; they are the jury of a dispute too. */
    readonly candidates: EventBody<'claim-beacon'>['candidates'];
    readonly committee: readonly Hotkey[];
    readonly recheck: Hotkey | null;
    readonly gainTested: boolean;
    readonly atMs: number;
  } | null;
  /** Of the committee, in order of arrival. */
  readonly verdicts: ClaimVerdict[];
  rechecked: ClaimVerdict | null;
  dispute: Dispute | null;
  /** Its cells are not paid though they may be merged: a ruling undid its acceptance, or its tempo is forfeit. */
  isOverturned: boolean;
  settledAtMs: number | null;
  mergedAtMs: number | null;
  /** Why it was refused or voided; `OK` once accepted; `DISAGREED` where verdicts gave no majority. */
  code: string | null;
  sentence: string;
}

export interface AuditVerdict {
  readonly hotkey: Hotkey;
  readonly outcome: 'pass' | 'fail';
  readonly code: AuditCode;
  readonly sentence: string;
  readonly measurements: Readonly<Record<string, Decimal>>;
  readonly atMs: number;
}

/** A replay audit: open → answered → passed, failed or unchecked; unanswered is failed. */
export interface Audit {
  readonly id: number;
  readonly body: EventBody<'audit-challenge'>;
  readonly learner: LearnerId;
  readonly isFirst: boolean;
  readonly joinedAtStep: number;
  /** Blocks between the first one that the fold allows and the one that the syncer took: it should have no choice. */
  readonly lagBlocks: number;
  /** Two verdicts are asked for even where the first one passes. */
  readonly isDouble: boolean;
  readonly openedAtMs: number;
  answer: { readonly start: ArtifactRef | null; readonly end: ArtifactRef; readonly atMs: number } | null;
  /** In order of arrival. */
  readonly verdicts: AuditVerdict[];
  status: 'open' | 'answered' | 'passed' | 'failed' | 'unchecked';
  code: AuditCode | null;
  sentence: string;
  settledAtMs: number | null;
}

/** Evidence that draws an audit of the hotkey by itself. */
export interface Suspicion {
  readonly reason: 'resemblance' | 'no-gain';
  readonly claim: Hash | null;
}

export interface PendingMerge {
  readonly outerStep: number;
  readonly fromVersion: number;
  /** Without those whose bytes were lost. */
  readonly claims: EventBody<'merge'>['claims'];
  readonly mergedAtMs: number;
}

export interface FragmentState {
  version: number;
  artifact: ArtifactRef;
  /** Null before the first merge: zeros. */
  momentum: ArtifactRef | null;
  lastMergeMs: number | null;
  /** Learners of the last published merge, in merge order. */
  contributors: readonly LearnerId[];
  mergesSinceRelease: number;
  merges: number;
  /** Of the last 8 published merges, oldest first: each claim's norm / √(inner steps). */
  recentNorms: (readonly number[])[];
  /** A merge without its `fragment-published`: a syncer that restarts does it again. */
  pendingMerge: PendingMerge | null;
}

/** One published merge, for people and for averages over the newest ones. */
export interface MergeRecord {
  readonly outerStep: number;
  readonly fragment: number;
  /** Of the fragment, after it. */
  readonly version: number;
  readonly learners: readonly LearnerId[];
  readonly cellTokens: number;
  readonly atMs: number;
}

export interface ReleaseRecord {
  /** Id of the `release` message. */
  readonly id: Hash;
  readonly body: EventBody<'release'>;
  readonly seq: number;
  readonly atMs: number;
  /** Merges published before it, over the run. */
  readonly merges: number;
  /** The run's phase then: what text it is evaluated on, and how long. */
  readonly phase: number;
  files: EventBody<'release-published'>['files'];
  /** Validators that recomputed the segment which it closes, in order. */
  readonly attestedBy: Hotkey[];
}

export interface AmendmentRecord {
  readonly body: EventBody<'amendment'>;
  readonly seq: number;
  readonly atMs: number;
  /** The outer step that it took effect with; null while that is not open. */
  inForceSince: number | null;
}

/** When a phase began: `outerStep` is the first that was opened in it. */
export interface PhaseRecord {
  readonly seq: number;
  readonly atMs: number;
  readonly outerStep: number;
}

export interface EvaluationRecord {
  readonly release: number;
  readonly hotkey: Hotkey;
  readonly losses: Readonly<Record<string, Decimal>>;
  readonly sequences: number;
  readonly routers?: NonNullable<EventBody<'evaluation'>['routers']>;
  readonly atMs: number;
}

/** A hotkey's standing; work of the open tempo and the score (with half-life) of the closed ones. */
export interface HotkeyState {
  readonly hotkey: Hotkey;
  /** Committed claims of all its learners. */
  claims: number;
  /** Claims with a smaller ordinal are all gain-tested (the first ones, and those after a refusal). */
  testAllBelow: number;
  /** Cell-tokens that became payable (merged, and in whole segments) in the open tempo. */
  tempoCellTokens: number;
  /** From earlier tempos and not paid yet: no audit has passed since, or their learner is away. */
  heldCellTokens: number;
  /** Verdicts of the open tempo that agreed with the settlement; a replay counts as many of them (`audits.ts`). */
  tempoVerdicts: number;
  /** Of the open tempo: audits drawn, and passed. */
  tempoAuditsDrawn: number;
  tempoAuditsPassed: number;
  openAudits: number;
  /** Audits that evidence asks for. */
  suspicions: Suspicion[];
  /** Proven frauds: each voided the work of a tempo. */
  forfeits: { readonly audit: number; readonly code: AuditCode; readonly atMs: number; readonly cellTokens: number }[];
  /** Time of the newest proven fraud that no audit drawn later was passed after; else null. Its claims wait unmerged. */
  probationFromMs: number | null;
  /** Sums over settled gain tests since the last one that ended in an audit: gains, their squared errors, tests. */
  gainSum: number;
  gainVariance: number;
  gainTests: number;
  /** Of the open tempo: appeals that were not upheld. */
  tempoAppealsLost: number;
  /** As a validator: accusations that the jury did not share; its stake (rao) in the newest draw that named it. */
  unsharedAccusations: number;
  drawnStakeRao: number;
  /** As a validator: what it told of its machine, and why it no longer may judge. */
  machineClass: string | null;
  servedAtMs: number;
  barred: { readonly sentence: string; readonly atMs: number } | null;
  score: number;
  verdictScore: number;
  /** Verdicts that agreed and disagreed with the settlement, over the run. */
  settledVerdicts: number;
  overruledVerdicts: number;
}

export interface TempoRecord {
  readonly tempo: number;
  readonly block: number;
  /** `cellTokens` were scored, `heldCellTokens` wait for an audit. */
  readonly work: readonly {
    readonly hotkey: Hotkey;
    readonly cellTokens: number;
    readonly heldCellTokens: number;
    readonly verdicts: number;
  }[];
}

export interface TreeHead {
  readonly size: number;
  readonly root: Hash;
}

export interface RunState {
  /** Null only before the first event. */
  run: {
    readonly id: Hash;
    readonly manifest: RunManifest;
    readonly start: readonly ArtifactRef[];
    /** Frozen tensors of the start checkpoint; absent where the recipe freezes none. */
    readonly frozen?: ArtifactRef;
  } | null;
  /** Events folded so far, hash of the last entry, and its time. */
  size: number;
  headHash: Hash;
  lastTimeMs: number;
  /** Peaks of the RFC 6962 tree over the entries, largest first (`merkle.ts`). */
  frontier: { readonly size: number; readonly root: Hash }[];
  readonly eventCounts: Map<EventKind, number>;
  /** By `role/hotkey/name`. */
  readonly delegations: Map<string, Delegation>;
  /** Session key → key of `delegations`. */
  readonly sessions: Map<SessionKey, string>;
  readonly learners: Map<LearnerId, Learner>;
  readonly hotkeys: Map<Hotkey, HotkeyState>;
  readonly leases: Map<number, Lease>;
  nextLease: number;
  /** The manifest with the amendments in force; null before the first. */
  amended: RunManifest | null;
  readonly amendments: AmendmentRecord[];
  phase: number;
  /** Of the phases that have begun, the first one included. */
  readonly phases: PhaseRecord[];
  /** Per phase: the first position of the order that was never leased. */
  readonly cursor: number[];
  /** Per phase: returned ranges below the cursor, in normal form. */
  readonly pool: Range[][];
  /** Per phase and fragment: sequences that some claim was ever committed for. */
  readonly claimedCells: Range[][][];
  due: DueStep | null;
  /** The next outer step to open; its fragment is `nextOuterStep mod P`. */
  nextOuterStep: number;
  readonly claims: Map<Hash, Claim>;
  /** Ids of claims that are neither merged, refused nor voided, in commit order. */
  readonly openClaims: Set<Hash>;
  /** Accepted claims whose recheck is awaited, and claims in dispute. */
  readonly openRechecks: Set<Hash>;
  readonly openDisputes: Set<Hash>;
  readonly audits: Map<number, Audit>;
  readonly openAudits: Set<number>;
  nextAudit: number;
  readonly fragments: FragmentState[];
  /** Merges published over the run. */
  merges: number;
  /** Cell-tokens of all merged claims, and of each phase. */
  cellTokens: number;
  readonly phaseCellTokens: number[];
  /** The last 64, oldest first. */
  recentMerges: readonly MergeRecord[];
  readonly releases: ReleaseRecord[];
  readonly evaluations: EvaluationRecord[];
  tempo: { index: number; block: number; history: TempoRecord[] };
  readonly treeHeads: (TreeHead & { readonly block: number; readonly seq: number })[];
}

export const zeroHash = '0'.repeat(64) as Hash;

/** The state before the first event. */
export function emptyState(): RunState {
  return {
    run: null,
    size: 0,
    headHash: zeroHash,
    lastTimeMs: 0,
    frontier: [],
    eventCounts: new Map(),
    delegations: new Map(),
    sessions: new Map(),
    learners: new Map(),
    hotkeys: new Map(),
    leases: new Map(),
    nextLease: 0,
    amended: null,
    amendments: [],
    phase: 0,
    phases: [],
    cursor: [],
    pool: [],
    claimedCells: [],
    due: null,
    nextOuterStep: 0,
    claims: new Map(),
    openClaims: new Set(),
    openRechecks: new Set(),
    openDisputes: new Set(),
    audits: new Map(),
    openAudits: new Set(),
    nextAudit: 0,
    fragments: [],
    merges: 0,
    cellTokens: 0,
    phaseCellTokens: [],
    recentMerges: [],
    releases: [],
    evaluations: [],
    tempo: { index: -1, block: 0, history: [] },
    treeHeads: [],
  };
}

export const delegationKeyOf = (role: Role, hotkey: Hotkey, name: string): string => `${role}/${hotkey}/${name}`;
