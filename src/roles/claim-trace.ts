/**
 * @file The lines of a learner's trace as its claims committed to them: bytes against what a claim and the journal say, and
 * the lines of many claims put together. Whoever calls says where bytes come from and what missing ones mean.
 */
import { manifestOf } from '../journal/queries.ts';
import type { Claim, RunState } from '../journal/state.ts';
import type { LearnerId } from '../protocol/names.ts';
import { checkTraceInterval, parseTrace, type TraceLine } from '../protocol/trace.ts';
import type { Range } from '../util/ranges.ts';
import { batchSequencesAt, batchTermsOf } from './learner/schedule-position.ts';

/** The lines that a claim committed to, or why they are not what it says. */
export function parseClaimTrace(claim: Claim, bytes: Uint8Array, state: RunState): readonly TraceLine[] | string {
  const { lines, previousHead, head } = claim.body.trace;
  const manifest = manifestOf(state);
  const { fragments, sync } = manifest;
  const parsed = parseTrace(bytes, lines[1] - lines[0]);
  if (!parsed.ok) return parsed.sentence;
  const fault = checkTraceInterval(parsed.lines, {
    lines,
    previousHead,
    head,
    batchAt: (phase, tokens) => batchSequencesAt(batchTermsOf(manifest, phase), tokens),
    fragmentCount: fragments.count,
    stateRootEverySteps: sync.stateRootEverySteps,
    leaseOf: (id) => {
      const lease = state.leases.get(id);
      return lease?.learner === claim.learner ? lease : null;
    },
  });
  return fault === null ? parsed.lines : fault.sentence;
}

/** Lines [from, to) of a learner, in order; without those of claims for which `read` has null. */
export async function gatherLines(
  state: RunState,
  learner: LearnerId,
  [from, to]: Range,
  read: (claim: Claim) => Promise<readonly TraceLine[] | null>,
): Promise<readonly TraceLine[]> {
  const lines: TraceLine[] = [];
  for (const claim of state.claims.values()) {
    const range = claim.body.trace.lines;
    if (claim.learner !== learner || range[1] <= from || range[0] >= to) continue;
    lines.push(...((await read(claim)) ?? []));
  }
  return lines.filter(({ step }) => step >= from && step < to).sort((a, b) => a.step - b.step);
}
