/**
 * @file Replay audits: the answered states are those that the trace names, and the newest N whose bytes are still in the store
 * are redone. Redoing itself is handed in (`ReplaySegment`): it needs an engine.
 */
import { runOf } from '../journal/queries.ts';
import type { Audit, Claim, RunState } from '../journal/state.ts';
import type { ArtifactRef, RunManifest } from '../protocol/manifest.ts';
import type { AuditCode } from '../protocol/messages.ts';
import type { Hash, LearnerId } from '../protocol/names.ts';
import type { TraceLine } from '../protocol/trace.ts';
import type { ReadPart } from '../roles/artifact-reader.ts';
import { gatherLines, parseClaimTrace } from '../roles/claim-trace.ts';
import type { LeaseTerms } from '../roles/learner/schedule-position.ts';
import { type PhaseTerms, phaseTermsOf } from '../roles/run-data.ts';
import type { Range } from '../util/ranges.ts';
import { need, Unavailable } from './artifact-cache.ts';
import { type Check, divergenceAt, type Visit, type WalkContext, withArtifacts } from './check.ts';

/** Everything that redoing one segment of a trace needs. */
export interface ReplayJob {
  readonly audit: Audit;
  /** As the run began with it; `terms` has the phases as they are now. */
  readonly manifest: RunManifest;
  readonly terms: PhaseTerms;
  readonly learner: LearnerId;
  readonly machineClass: string;
  readonly steps: Range;
  /** State before the first step; null where the segment begins with a join. */
  readonly start: Uint8Array | null;
  /** State after the last step, as answered. */
  readonly end: Uint8Array;
  /** Lines of exactly these steps, in order. */
  readonly lines: readonly TraceLine[];
  /** The learner's claims of which a pseudo-gradient was taken within the steps. */
  readonly claims: readonly Claim[];
  /** Bytes of a fragment at a version, as published; null for one that never was. */
  readonly fragmentAt: (fragment: number, version: number) => Promise<Uint8Array | null>;
  /** Bytes of any other artifact: shards, claims. */
  readonly artifact: (artifact: ArtifactRef) => Promise<Uint8Array>;
  /** A part of one, unchecked; null: whole artifacts only. */
  readonly part: ReadPart | null;
  /** A lease of the learner. */
  readonly leaseOf: (lease: number) => LeaseTerms | null;
  /** Frozen tensors of the start checkpoint; null where the recipe freezes none. */
  readonly frozen: Uint8Array | null;
}

export interface ReplayResult {
  readonly outcome: 'pass' | 'fail';
  readonly code: AuditCode;
  readonly sentence: string;
}

/**
 * Redoes a segment and judges it. Throws Unavailable where the text is not there or not what the manifest names; else it fails only
 * where the machine does, not for what the job holds.
 */
export type ReplaySegment = (job: ReplayJob) => Promise<ReplayResult>;

export class AuditChecks implements Check {
  readonly #wanted: number;
  readonly #replay: ReplaySegment | null;
  /** Entries of the newest answers, oldest first; twice as many as wanted, as some bytes may be gone. */
  readonly #answers: { readonly audit: number; readonly visit: Visit }[] = [];
  /** Published versions of each fragment, by `fragment version`; only where something is redone. */
  readonly #versions = new Map<string, ArtifactRef>();

  constructor(options: { readonly count: number; readonly replay: ReplaySegment | null }) {
    this.#wanted = options.count;
    this.#replay = options.replay;
  }

  async after(visit: Visit, { state }: WalkContext): Promise<void> {
    if (this.#wanted === 0) return;
    if (visit.kind === 'run')
      for (const [id, artifact] of visit.body.start.entries()) this.#versions.set(`${id} 0`, artifact);
    if (visit.kind === 'fragment-published')
      this.#versions.set(`${visit.body.fragment} ${visit.body.version}`, visit.body.artifact);
    if (visit.kind !== 'audit-answer' || state.audits.get(visit.body.audit)!.answer === null) return;
    this.#answers.push({ audit: visit.body.audit, visit });
    if (this.#answers.length > 8 * this.#wanted) this.#answers.shift();
  }

  async end(context: WalkContext): Promise<void> {
    const { findings, state } = context;
    if (this.#wanted === 0) {
      if (state.audits.size > 0) findings.note('audits', 'none redone (--replay N)');
      return;
    }
    let redone = 0;
    for (const { audit, visit } of this.#answers.toReversed()) {
      if (redone === this.#wanted) break;
      if (await this.#check(state.audits.get(audit)!, visit, context)) redone++;
    }
    if (redone < this.#wanted)
      findings.note(
        'audits',
        `${redone} of ${this.#wanted} redone: the others' bytes are no longer in the store, or there are none`,
      );
  }

  /** False if the bytes are not there any more. */
  async #check(audit: Audit, visit: Visit, context: WalkContext): Promise<boolean> {
    const { answer } = audit;
    for (const state of [answer!.start, answer!.end]) {
      if (state === null) continue;
      const found = await context.record.artifact(state);
      if (found.kind === 'missing') return false;
      if (found.kind === 'found') continue;
      context.findings.fail(divergenceAt('audits', visit, `state ${state.root} of audit ${audit.id}`, found.found));
      return true;
    }
    return await withBytes(visit, context, async () => {
      const job = await this.#jobOf(audit, context);
      const result = checkRoots(job) ?? (this.#replay === null ? null : await this.#replay(job));
      if (result === null) {
        context.findings.unchecked('audits', `audit ${audit.id}: this program cannot redo segments`);
        return;
      }
      context.findings.count('audits', 'redone');
      compare(audit, visit, result, context);
    });
  }

  async #jobOf(audit: Audit, context: WalkContext): Promise<ReplayJob> {
    const { state, cache } = context;
    const { steps } = audit.body;
    const claims = [...state.claims.values()].filter(({ learner }) => learner === audit.learner);
    const answer = audit.answer!;
    // One line before the segment names its start state.
    const lines = await gatherLines(state, audit.learner, [steps[0] - 1, steps[1]], async (claim) => {
      const read = parseClaimTrace(claim, await need(cache, claim.body.trace.artifact), state);
      return typeof read === 'string' ? null : read;
    });
    return {
      audit,
      manifest: runOf(state).manifest,
      terms: phaseTermsOf(state),
      learner: audit.learner,
      machineClass: state.learners.get(audit.learner)!.capabilities.machineClass,
      steps,
      start: answer.start === null ? null : await need(cache, answer.start),
      end: await need(cache, answer.end),
      lines,
      claims: claims.filter(({ body }) => body.steps[1] > steps[0] && body.steps[1] <= steps[1]),
      fragmentAt: async (fragment, version) => {
        const artifact = this.#versions.get(`${fragment} ${version}`);
        return artifact === undefined ? null : need(cache, artifact);
      },
      artifact: (artifact) => need(cache, artifact),
      part: cache.part,
      leaseOf: (lease) => leaseOf(state, lease, audit.learner),
      frozen: state.run!.frozen === undefined ? null : await need(cache, state.run!.frozen),
    };
  }
}

function leaseOf(state: RunState, id: number, learner: LearnerId): LeaseTerms | null {
  const lease = state.leases.get(id);
  return lease?.learner === learner ? lease : null;
}

/** What retention has dropped since cannot be redone; what is damaged is a divergence. False if bytes are gone. */
async function withBytes(visit: Visit, context: WalkContext, work: () => Promise<void>): Promise<boolean> {
  let isGone = false;
  await withArtifacts('audits', visit, context, () =>
    work().catch((error) => {
      if (!(error instanceof Unavailable) || error.answer.kind !== 'missing') throw error;
      isGone = true;
    }),
  );
  return !isGone;
}

/** The answered states must be the ones that the trace names; this needs no engine. Null if they are. */
function checkRoots({ audit, lines, steps }: ReplayJob): ReplayResult | null {
  const rootAfter = (step: number): Hash | null => lines.find((line) => line.step === step)?.stateRoot ?? null;
  const { start, end } = audit.answer!;
  const wrong = (what: string, named: Hash | null, given: Hash): ReplayResult => ({
    outcome: 'fail',
    code: 'STATE',
    sentence: `the trace names state ${named ?? '(none)'} ${what}, the answer is ${given}`,
  });
  if (rootAfter(steps[1] - 1) !== end.root)
    return wrong(`after step ${steps[1] - 1}`, rootAfter(steps[1] - 1), end.root);
  if (start !== null && rootAfter(steps[0] - 1) !== start.root)
    return wrong(`before step ${steps[0]}`, rootAfter(steps[0] - 1), start.root);
  return null;
}

/** An audit that was not decided (`unchecked`, still open) only has to hold. */
function compare(audit: Audit, visit: Visit, result: ReplayResult, { findings }: WalkContext): void {
  const wasFound = audit.status === 'failed' ? 'fail' : 'pass';
  if (result.outcome === wasFound) return;
  const what = `audit ${audit.id}, steps ${audit.body.steps.join(' to ')} of ${audit.learner}`;
  const [expected, found] = [
    `${result.outcome} ${result.code} ${result.sentence}`.trim(),
    `${audit.status} ${audit.code ?? ''}`.trim(),
  ];
  findings.fail(divergenceAt('audits', visit, `${what}: ${expected}`, found));
}
