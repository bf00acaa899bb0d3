/**
 * @file A segment of a learner's trace as an audit hands it over, and the checks that need no computing: lines, leases,
 * claims, states. Every byte and line may come from a liar: sizes first, hashes before contents, and nothing is counted
 * up to that the trace does not bound.
 */
import { decodeFragment } from '../../merge/codecs/fragment-file.ts';
import { isArtifact } from '../../protocol/artifact.ts';
import type { Sha256 } from '../../protocol/hash.ts';
import type { ArtifactRef, Phase, RunManifest } from '../../protocol/manifest.ts';
import type { AuditCode } from '../../protocol/messages.ts';
import type { Hash } from '../../protocol/names.ts';
import { checkTraceLines, type TraceLine } from '../../protocol/trace.ts';
import { assert } from '../../util/errors.ts';
import type { Range } from '../../util/ranges.ts';
import { RoleError } from '../errors.ts';
import type { RunModel } from '../run-model.ts';
import type { PublishedFragment } from './learner.ts';
import type { LearnerState } from './learner-state.ts';
import { batchSequencesAt, batchTermsOf, type LeaseTerms } from './schedule-position.ts';
import { readAnyState, stateSizeBytes } from './state-format.ts';

/** A claim that the journal has, made between two steps of the segment. */
export interface SegmentClaim {
  readonly fragment: number;
  readonly outerStep: number;
  /** End of the claim's step interval: it was made before this step. */
  readonly beforeStep: number;
  readonly artifact: ArtifactRef;
  /** The artifact, if it is at hand; without it a learner of another class is not compared. */
  readonly bytes: Uint8Array | null;
}

export interface AuditedSegment {
  readonly steps: Range;
  /** Of these steps, as the learner committed to them. */
  readonly lines: readonly TraceLine[];
  /** The step at which the learner last joined; `steps[0]` if the segment begins there. */
  readonly joinedAtStep: number;
  /** State before the first step and its root in the line before; null where the segment begins with the join. */
  readonly start: { readonly root: Hash; readonly bytes: Uint8Array } | null;
  /** State after the last step. */
  readonly end: Uint8Array;
  /** All that the journal has of this learner with `beforeStep` in `steps`. */
  readonly claims: readonly SegmentClaim[];
  /** A lease of this learner; null for any other. */
  readonly leaseOf: (lease: number) => LeaseTerms | null;
  /** A fragment's published bytes, checked against the journal; null for a version that never was. */
  readonly published: (fragment: number, version: number) => Promise<Uint8Array | null>;
}

export interface ReplayFinding {
  readonly outcome: 'pass' | 'fail';
  readonly code: AuditCode;
  /** Empty for a pass. */
  readonly sentence: string;
  readonly measurements: Readonly<Record<string, number>>;
}

/** What ends a replay early; never leaves it. */
export class Failed extends Error {
  readonly code: AuditCode;
  readonly measurements: ReplayFinding['measurements'];

  constructor(code: AuditCode, sentence: string, measurements: ReplayFinding['measurements'] = {}) {
    super(sentence.slice(0, 500));
    this.code = code;
    this.measurements = measurements;
  }
}

/** What needs no computing. */
export function checkForm(
  { steps, lines, start, claims, leaseOf }: AuditedSegment,
  manifest: Omit<RunManifest, 'phases'> & { readonly phases: readonly Phase[] },
): void {
  const fault = checkTraceLines(lines, steps, {
    batchAt: (phase, tokens) => batchSequencesAt(batchTermsOf(manifest, phase), tokens),
    fragmentCount: manifest.fragments.count,
    stateRootEverySteps: manifest.sync.stateRootEverySteps,
    leaseOf,
  });
  if (fault !== null) throw new Failed('REPLAY', fault.sentence);
  assert(lines.at(-1)!.stateRoot !== null, `a segment ends at a state root, ${steps} does not`);
  if (start !== null && lines[0]!.start !== null)
    throw new Failed('START', `line ${steps[0]} begins from fragments, but the learner did not join there`);
  if (start === null && lines[0]!.start === null)
    throw new Failed('START', `line ${steps[0]} does not say what the learner began from when it joined`);
  for (const { fragment, outerStep, beforeStep } of claims) {
    const line = lines[beforeStep - steps[0]];
    if (line?.claimed.some(([f, t]) => f === fragment && t === outerStep) !== true)
      throw new Failed('CLAIM', `the trace has no claim for outer step ${outerStep} before step ${beforeStep}`);
  }
}

/** What a learner began from with its join. */
export async function startFragments({
  steps,
  lines,
  published,
}: AuditedSegment): Promise<readonly PublishedFragment[]> {
  const fragments: PublishedFragment[] = [];
  for (const [fragment, version] of lines[0]!.start!.entries()) {
    const bytes = await published(fragment, version);
    if (bytes === null)
      throw new Failed(
        'START',
        `line ${steps[0]} begins from version ${version} of fragment ${fragment}, which never was`,
      );
    fragments.push({ version, bytes });
  }
  return fragments;
}

export interface StateCheck {
  readonly name: string;
  readonly model: RunModel;
  readonly manifest: RunManifest;
  readonly published: AuditedSegment['published'];
  readonly hash: Sha256;
  readonly innerSteps: number;
  /** Since the join: no counter can be greater. */
  readonly mostSteps: number;
}

export async function checkState(
  { name, model, manifest, published, hash, innerSteps, mostSteps }: StateCheck,
  root: Hash,
  bytes: Uint8Array,
): Promise<LearnerState> {
  const sizeBytes = stateSizeBytes(model.plan, manifest);
  if (!isArtifact({ root, sizeBytes }, bytes, hash))
    throw new Failed('STATE', `${name} state is not the ${sizeBytes} bytes that the trace names ${root.slice(0, 12)}`);
  let state: LearnerState;
  try {
    state = await readAnyState(model, manifest, bytes, async (fragment, version) => {
      const taken = await published(fragment, version);
      if (taken !== null) return decodeFragment('f32', model.plan.fragments[fragment]!, taken);
      throw new RoleError('BAD_STATE', `it stands on version ${version} of fragment ${fragment}, which never was`);
    });
  } catch (error) {
    if (!(error instanceof RoleError)) throw error;
    throw new Failed('STATE', `${name} state: ${error.message}`);
  }
  const { counters } = state;
  if (counters.innerSteps !== innerSteps)
    throw new Failed(
      'STATE',
      `${name} state is after step ${counters.innerSteps}, the segment's is after ${innerSteps}`,
    );
  if (counters.optimizerSteps > mostSteps || counters.skippedInARow > mostSteps)
    throw new Failed('STATE', `${name} state counts more steps than were done since the join`);
  return state;
}
