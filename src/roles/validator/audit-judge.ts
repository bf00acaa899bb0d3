/** @file What a validator needs to redo an audited segment: lines, claims, states and versions, fetched and handed over. */
import type { Audit, RunState } from '../../journal/state.ts';
import type { ArtifactRef, RunManifest } from '../../protocol/manifest.ts';
import type { LearnerId } from '../../protocol/names.ts';
import type { TraceLine } from '../../protocol/trace.ts';
import { nodeSha256 } from '../../util/node-sha256.ts';
import type { Range } from '../../util/ranges.ts';
import type { AuditedSegment, ReplayFinding, SegmentClaim } from '../learner/audited-segment.ts';
import { isSameMachineClass } from '../learner/machine-class.ts';
import { Replayer } from '../learner/replay.ts';
import { type PhaseTerms, type RunText, readingOf } from '../run-data.ts';

/** A segment of a learner's trace and the states at its ends. */
export interface SegmentAsked extends Pick<Audit, 'learner' | 'isFirst' | 'joinedAtStep'> {
  readonly steps: Range;
  readonly start: ArtifactRef | null;
  readonly end: ArtifactRef;
}

export interface AuditJudgeDeps {
  readonly manifest: RunManifest;
  readonly text: RunText;
  /** Phases as they are now, and what each has drawn. */
  readonly terms: () => PhaseTerms;
  readonly frozen: Uint8Array | null;
  readonly threads: number;
  readonly machineClass: string;
  /** Bytes of an artifact; null if the store does not have it. Other failures are the environment's. */
  readonly fetch: (artifact: ArtifactRef) => Promise<Uint8Array | null>;
  /** Artifact of a published fragment version; null for one that never was. */
  readonly versionOf: (fragment: number, version: number) => ArtifactRef | null;
  /** Lines of a learner's trace, in order, checked against their claims; those that are gone are missing. */
  readonly linesOf: (learner: LearnerId, steps: Range) => Promise<readonly TraceLine[]>;
  readonly signal: AbortSignal;
}

/** Without bytes that the fault of nobody in particular has taken away nothing can be said. */
export class GoneError extends Error {}

export class AuditJudge {
  readonly #deps: AuditJudgeDeps;
  readonly #replayer: Replayer;

  constructor(deps: AuditJudgeDeps) {
    const { manifest, text, frozen, threads, terms } = deps;
    this.#deps = deps;
    this.#replayer = new Replayer({
      ...{ manifest, loaded: text.loaded, frozen, threads, terms, hash: nodeSha256 },
      reading: readingOf(text),
    });
  }

  /** @throws GoneError; EngineError, StoreError */
  judge(state: RunState, { learner, isFirst, joinedAtStep, body, answer }: Audit): Promise<ReplayFinding> {
    const { start, end } = answer!;
    return this.redo(state, { learner, isFirst, joinedAtStep, steps: body.steps, start, end });
  }

  /** @throws GoneError; EngineError, StoreError */
  async redo(state: RunState, asked: SegmentAsked): Promise<ReplayFinding> {
    const { machineClass, signal } = this.#deps;
    // Taken before the first await: the fold moves on.
    const theirs = state.learners.get(asked.learner)!.capabilities.machineClass;
    const [from, to] = asked.steps;
    const claims = segmentClaims(state, asked.learner, [from, to]);
    const leaseOf: AuditedSegment['leaseOf'] = (id) => {
      const lease = state.leases.get(id);
      return lease?.learner === asked.learner ? lease : null;
    };
    const failed = (code: ReplayFinding['code'], sentence: string): ReplayFinding => ({
      ...{ outcome: 'fail', code, sentence, measurements: {} },
    });
    const { start, end, isFirst, joinedAtStep } = asked;
    const sizeBytes = this.#replayer.stateSizeBytes;
    for (const artifact of [start, end])
      if (artifact !== null && artifact.sizeBytes !== sizeBytes)
        return failed('STATE', `a state has ${sizeBytes} bytes, the answer names ${artifact.sizeBytes}`);
    const lines = await this.#deps.linesOf(asked.learner, [isFirst ? from : from - 1, to]);
    const before = isFirst ? null : lines[0];
    const own = isFirst ? lines : lines.slice(1);
    if (own.length !== to - from || (before !== null && before?.step !== from - 1))
      throw new GoneError(`${own.length} of ${to - from} lines of the segment are in the store`);
    if (before?.stateRoot === null) return failed('STATE', `line ${from - 1} names no state`);
    const bytesOf = async (artifact: ArtifactRef): Promise<Uint8Array> => {
      const bytes = await this.#deps.fetch(artifact);
      if (bytes === null) throw new GoneError(`artifact ${artifact.root} is not in the store`);
      return bytes;
    };
    const segment: AuditedSegment = {
      steps: [from, to],
      lines: own,
      joinedAtStep,
      start: start === null ? null : { root: before!.stateRoot!, bytes: await bytesOf(start) },
      end: await bytesOf(end),
      claims: await Promise.all(
        claims.map(async (each) => ({ ...each, bytes: await this.#deps.fetch(each.artifact) })),
      ),
      leaseOf,
      published: async (fragment, version) => {
        const artifact = this.#deps.versionOf(fragment, version);
        return artifact === null ? null : bytesOf(artifact);
      },
    };
    return this.#replayer.replay(segment, { isSameClass: isSameMachineClass(machineClass, theirs), signal });
  }

  close(): Promise<void> {
    return this.#replayer.close();
  }
}

/** Claims that were made between two steps of the segment. */
function segmentClaims(state: RunState, learner: LearnerId, [from, to]: Range): Omit<SegmentClaim, 'bytes'>[] {
  return [...state.claims.values()]
    .filter((claim) => claim.learner === learner && claim.body.steps[1] >= from && claim.body.steps[1] < to)
    .map(({ body }) => ({
      fragment: body.fragment,
      outerStep: body.outerStep,
      beforeStep: body.steps[1],
      artifact: body.artifact,
    }));
}
