/** @file What a check sees of the walk through a journal, and what it may answer. */
import type { RunState } from '../journal/state.ts';
import type { ArtifactRef } from '../protocol/manifest.ts';
import type { EventBody, EventKind } from '../protocol/messages.ts';
import type { Hash } from '../protocol/names.ts';
import type { RunModel } from '../roles/run-model.ts';
import { type ArtifactCache, Unavailable } from './artifact-cache.ts';
import type { CheckName, Divergence, Findings } from './findings.ts';
import type { GoneBytes } from './gone.ts';
import type { PublicRecord } from './record.ts';

export interface WalkContext {
  readonly record: PublicRecord;
  /** The fold so far. */
  readonly state: RunState;
  readonly findings: Findings;
  readonly cache: ArtifactCache;
  readonly gone: GoneBytes;
  /** Null until the run event, and if this program builds another model than the run's. */
  readonly model: RunModel | null;
  readonly artifactOf: (bytes: Uint8Array) => ArtifactRef;
  /** Whether bytes are fetched and recomputed for this entry: not before `--from`, not what an earlier session did. */
  readonly isHeavy: boolean;
}

/** One admitted entry. */
export type Visit = {
  [K in EventKind]: {
    readonly kind: K;
    readonly body: EventBody<K>;
    readonly seq: number;
    readonly timeMs: number;
    /** Of the message. */
    readonly id: Hash;
  };
}[EventKind];

export interface Check {
  /** The fold is as before the entry, which is admitted. */
  before?(visit: Visit, context: WalkContext): void;
  /** The fold holds the entry. */
  after?(visit: Visit, context: WalkContext): Promise<void>;
  /**
   * The journal was read to its end: time to look at everything else that grows. The journal is read on after it, so that what
   * was seen there and stands in the journal is in it.
   */
  beforeEnd?(context: WalkContext): Promise<void>;
  /** Instead of `end`, where the journal could not be folded to its end: what the entries so far leave open. */
  cut?(context: WalkContext): Promise<void>;
  /** The journal is at its end, for good. */
  end?(context: WalkContext): Promise<void>;
}

export const divergenceAt = (check: CheckName, { seq, kind }: Visit, expected: string, found: string): Divergence => ({
  check,
  seq,
  event: kind,
  expected,
  found,
});

/**
 * Does work that needs artifacts. Bytes that are missing are noted for `gone.ts` to judge; damaged ones are a divergence of
 * `check`. False if the work was not done.
 */
export async function withArtifacts(
  check: CheckName,
  visit: Visit,
  context: WalkContext,
  work: () => Promise<void>,
  segment: number = context.state.releases.length,
): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error;
    const { artifact, answer } = error;
    if (answer.kind === 'missing') context.gone.note(check, visit, segment, artifact);
    else
      context.findings.fail(
        divergenceAt(check, visit, `artifact ${artifact.root} of ${artifact.sizeBytes} bytes`, answer.found),
      );
    return false;
  }
}
