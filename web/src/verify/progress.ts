/** @file What the verification tells the page while it runs: each step with its state, counts and, where it failed, exactly why. */

export const stepNames = [
  'journal',
  'signatures',
  'delegations',
  'tree heads',
  'ledger',
  'anchors',
  'releases',
] as const;
export type StepName = (typeof stepNames)[number];

export type StepState = 'waiting' | 'running' | 'passed' | 'failed' | 'not checked';

export interface StepFault {
  /** Of the journal; null where the fault is elsewhere. */
  readonly seq: number | null;
  readonly event: string;
  readonly expected: string;
  readonly found: string;
}

export interface StepReport {
  readonly name: StepName;
  readonly state: StepState;
  readonly summary: string;
  readonly fault: StepFault | null;
}

export interface VerifyProgress {
  readonly steps: readonly StepReport[];
  readonly entries: number;
  /** As the server said when it began; a growing journal may bring more. */
  readonly expectedEntries: number | null;
  readonly elapsedMs: number;
  readonly isDone: boolean;
  /** Run and head that were recomputed: compare them with what others tell you. */
  readonly runId: string | null;
  readonly treeHead: string | null;
  /** The record could not be read; nothing is said of its truth. */
  readonly trouble: string | null;
}

/** Begins the worker. `base`: where `/journal`, `/ledger` and `/store` lie. */
export interface VerifyRequest {
  readonly base: string;
  readonly expectedEntries: number | null;
  /** Release whose files are hashed; null: the newest that the journal names. */
  readonly release: number | null;
  /** A snapshot's files in place of a server; null for a server. */
  readonly files: RecordFiles | null;
}

export interface RecordFiles {
  readonly journalPath: string | null;
  readonly hasLedger: boolean;
}
