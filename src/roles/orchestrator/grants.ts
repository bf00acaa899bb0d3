/**
 * @file Who may store which bytes: what an open claim names, details of who may judge, states that an open audit asks for. Sizes
 * are bounded by what each can need, so that nobody fills the store. Pure.
 */
import { isUnderAudit } from '../../journal/audits.ts';
import type { Delegation, RunState } from '../../journal/state.ts';
import { maxDetailsBytes } from '../../protocol/details.ts';
import type { ArtifactRef, RunManifest } from '../../protocol/manifest.ts';
import type { WireBody } from '../../protocol/messages.ts';
import { type Hotkey, type LearnerId, learnerIdOf } from '../../protocol/names.ts';
import { maxTraceBytes } from '../../protocol/trace.ts';
import { runModelOf } from '../run-model.ts';
import { largestArtifactBytes } from '../validator/checks.ts';

export interface GrantRules {
  readonly stakeRao: ReadonlyMap<Hotkey, number>;
  /** Exact size of a learner's state as an artifact; null where the run takes none. */
  readonly stateSizeBytes: ((manifest: RunManifest) => number) | null;
}

/** Null if the bytes may be stored, else the sentence for who asked. */
export function refuseGrant(
  run: RunState,
  { hotkey, name, role }: Delegation,
  { artifact, purpose }: WireBody<'grant-request'>,
  { stakeRao, stateSizeBytes }: GrantRules,
): string | null {
  const { root, sizeBytes } = artifact;
  const learner = learnerIdOf(hotkey, name);
  switch (purpose) {
    case 'claim':
      return isClaimed(run, learner, artifact)
        ? null
        : `no open claim of ${learner} names ${root} of ${sizeBytes} bytes, or it is larger than any`;
    case 'trace':
      return isTraced(run, learner, artifact)
        ? null
        : `no open claim or audit of ${learner} names the trace ${root} of ${sizeBytes} bytes, or it is larger than any`;
    case 'details':
      // Delegating costs nothing; only stake makes a validator whose details are worth storing.
      if (role !== 'validator' || !((stakeRao.get(hotkey) ?? 0) > 0)) return `${hotkey} is no validator with stake`;
      if (run.hotkeys.get(hotkey)?.barred) return `${hotkey} may no longer judge`;
      return sizeBytes <= maxDetailsBytes ? null : `details have at most ${maxDetailsBytes} bytes, got ${sizeBytes}`;
    case 'state': {
      if (role !== 'miner' || !isUnderAudit(run, learner)) return `no audit of ${learner} is open`;
      const expected = stateSizeBytes?.(run.run!.manifest) ?? null;
      if (expected === null) return 'this run takes no states of learners';
      return sizeBytes === expected ? null : `a learner's state has ${expected} bytes, got ${sizeBytes}`;
    }
  }
}

/** Named by an open claim of the learner, and no larger than what a claim of its fragment can need. */
function isClaimed(run: RunState, learner: LearnerId, artifact: ArtifactRef): boolean {
  const { manifest } = run.run!;
  for (const id of run.openClaims) {
    const { body, learner: holder } = run.claims.get(id)!;
    if (holder !== learner || !isSame(body.artifact, artifact)) continue;
    const fragment = runModelOf(manifest).plan.fragments[body.fragment]!;
    if (artifact.sizeBytes <= largestArtifactBytes(manifest.codec, fragment)) return true;
  }
  return false;
}

/** The trace of an open claim, or of any claim that committed lines of a segment under audit. */
function isTraced(run: RunState, learner: LearnerId, artifact: ArtifactRef): boolean {
  if (artifact.sizeBytes > maxTraceBytes) return false;
  const open = [...run.openClaims].map((id) => run.claims.get(id)!);
  if (open.some(({ learner: holder, body }) => holder === learner && isSame(body.trace.artifact, artifact)))
    return true;
  return [...run.openAudits].some(
    (id) => run.audits.get(id)!.learner === learner && tracesOfAudit(run, id).some((named) => isSame(named, artifact)),
  );
}

/** Traces that redoing an audited segment needs, whatever became of their claims. */
export function tracesOfAudit(run: RunState, id: number): ArtifactRef[] {
  const { learner, body } = run.audits.get(id)!;
  const [from, to] = body.steps;
  return [...run.claims.values()]
    .filter((claim) => claim.learner === learner && claim.body.trace.lines[0] < to && claim.body.trace.lines[1] > from)
    .map((claim) => claim.body.trace.artifact);
}

const isSame = (a: ArtifactRef, b: ArtifactRef): boolean => a.root === b.root && a.sizeBytes === b.sizeBytes;
