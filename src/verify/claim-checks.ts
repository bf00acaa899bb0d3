/**
 * @file Claims: the bytes behind each revealed one, its trace, and that no cell is counted twice, by own books beside the
 * fold's. A trace that is not what its claim says is a divergence once the claim is merged.
 */
import { manifestOf } from '../journal/queries.ts';
import type { Claim, RunState } from '../journal/state.ts';
import type { Hash, LearnerId } from '../protocol/names.ts';
import { maxTraceBytes, type TraceLine } from '../protocol/trace.ts';
import { gatherLines, parseClaimTrace } from '../roles/claim-trace.ts';
import { checkTrace } from '../roles/validator/checks.ts';
import { countRanges, intersectRanges, normalizeRanges, type Range, unionRanges } from '../util/ranges.ts';
import { need } from './artifact-cache.ts';
import { type Check, divergenceAt, type Visit, type WalkContext, withArtifacts } from './check.ts';

export class ClaimChecks implements Check {
  /** Newest lines of each learner, by step: a claim's steps reach back to the fragment's last claim. */
  readonly #lines = new Map<LearnerId, TraceLine[]>();
  /** Open claims whose trace is not what they say. */
  readonly #untraced = new Map<Hash, string>();
  /** Those that rest on lines of an earlier claim that was not revealed before them: judged when they are merged. */
  readonly #early = new Set<Hash>();

  async after(visit: Visit, context: WalkContext): Promise<void> {
    if (visit.kind === 'claim-reveal') {
      const claim = context.state.claims.get(visit.body.claim)!;
      // Traces are read also before the part that is checked: later claims rest on their lines.
      await this.#readTrace(visit, claim, context);
      if (context.isHeavy) await this.#checkBytes(visit, claim, context);
    }
    if (visit.kind === 'verdict' && visit.body.details !== null && context.isHeavy)
      await this.#checkDetails(visit, context);
    if (visit.kind === 'merge') await this.#checkTraced(visit, context);
  }

  async #checkBytes(visit: Visit, claim: Claim, context: WalkContext): Promise<void> {
    const isThere = await withArtifacts('artifacts', visit, context, async () => {
      await need(context.cache, claim.body.artifact);
    });
    if (isThere) context.findings.count('artifacts', "claims' bytes as committed");
  }

  /** Not for payment, and kept as long as validators like: what is there must be what was signed. */
  async #checkDetails(visit: Extract<Visit, { kind: 'verdict' }>, context: WalkContext): Promise<void> {
    const { details } = visit.body;
    if (details === null) return;
    const answer = await context.record.artifact(details);
    if (answer.kind === 'found') context.findings.count('artifacts', "verdicts' details");
    if (answer.kind === 'damaged')
      context.findings.fail(divergenceAt('artifacts', visit, `details ${details.root}`, answer.found));
  }

  async #readTrace(visit: Visit, claim: Claim, context: WalkContext): Promise<void> {
    const { artifact } = claim.body.trace;
    if (artifact.sizeBytes > maxTraceBytes) {
      this.#untraced.set(claim.id, `a trace of ${artifact.sizeBytes} bytes`);
      return;
    }
    const isRead = await withArtifacts('traces', visit, context, async () => {
      const lines = parseClaimTrace(claim, await need(context.cache, artifact), context.state);
      if (typeof lines === 'string') {
        this.#untraced.set(claim.id, lines);
        return;
      }
      const held = this.#keep(claim, lines, context.state);
      const fault = checkTrace(claim, held, context.state);
      if (fault?.code === 'MISSING') this.#early.add(claim.id);
      else if (fault !== null) this.#untraced.set(claim.id, fault.sentence);
    });
    if (!isRead) return;
    context.findings.count('traces', 'intervals');
    context.findings.count('traces', 'lines', claim.body.trace.lines[1] - claim.body.trace.lines[0]);
  }

  #keep({ learner, body }: Claim, lines: readonly TraceLine[], state: RunState): readonly TraceLine[] {
    const open = [...state.openClaims].map((id) => state.claims.get(id)!).filter((each) => each.learner === learner);
    const oldest = Math.min(
      body.steps[0],
      ...state.learners.get(learner)!.claimedThrough,
      ...open.map((each) => each.body.steps[0]),
    );
    const before = (this.#lines.get(learner) ?? []).filter(({ step }) => step >= oldest);
    const held = [...before, ...lines];
    this.#lines.set(learner, held);
    return held;
  }

  async #checkTraced(visit: Extract<Visit, { kind: 'merge' }>, context: WalkContext): Promise<void> {
    for (const { claim } of visit.body.claims) {
      const why = this.#untraced.get(claim) ?? (this.#early.delete(claim) ? await this.#faultOf(claim, context) : null);
      if (why === null) continue;
      context.findings.fail(divergenceAt('traces', visit, `claim ${claim} to be refused: ${why}`, 'merged'));
    }
    if (this.#untraced.size > 1_024) this.#untraced.delete(this.#untraced.keys().next().value!);
    if (this.#early.size > 1_024) this.#early.delete(this.#early.keys().next().value!);
  }

  /** By all that the store has of the learner's trace, as validators judge: an earlier claim need not have been revealed. */
  async #faultOf(id: Hash, { state, record }: WalkContext): Promise<string | null> {
    const claim = state.claims.get(id)!;
    const lines = await gatherLines(state, claim.learner, claim.body.steps, async (each) => {
      const { artifact } = each.body.trace;
      const answer = artifact.sizeBytes > maxTraceBytes ? null : await record.artifact(artifact);
      if (answer?.kind !== 'found') return null;
      const read = parseClaimTrace(each, answer.bytes, state);
      return typeof read === 'string' ? null : read;
    });
    return checkTrace(claim, lines, state)?.sentence ?? null;
  }
}

/** Cells of merged claims, counted again without the fold's books. */
export class CellCheck implements Check {
  readonly #counted = new Map<string, Range[]>();
  #cellTokens = 0;

  async after(visit: Visit, { state, findings }: WalkContext): Promise<void> {
    if (visit.kind !== 'fragment-published') return;
    for (const { claim: id } of visit.body.shares) {
      const { body } = state.claims.get(id)!;
      const key = `${body.phase} ${body.fragment}`;
      const known = this.#counted.get(key) ?? [];
      const sequences = normalizeRanges(body.sequences);
      const twice = intersectRanges(sequences, known)[0];
      if (twice !== undefined)
        findings.fail(
          divergenceAt(
            'cells',
            visit,
            `every cell once`,
            `sequence ${twice[0]} twice for fragment ${body.fragment}, by claim ${id}`,
          ),
        );
      this.#counted.set(key, unionRanges(known, sequences));
      const cells = countRanges(sequences);
      findings.count('cells', 'cells counted once', cells);
      this.#cellTokens += cells * manifestOf(state).phases[body.phase]!.sequenceLength;
    }
    if (this.#cellTokens === state.cellTokens) return;
    findings.fail(divergenceAt('cells', visit, `${this.#cellTokens} cell-tokens`, `${state.cellTokens} in the fold`));
    this.#cellTokens = state.cellTokens;
  }
}
