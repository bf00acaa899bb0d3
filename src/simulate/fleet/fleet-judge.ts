/**
 * @file What a validator of an attacked fleet finds: it reads what lies under the roots that a claim or an answer names, and
 * applies the real checks of form, size and norm; a replay goes through the trace's lines again and compares roots, in the order
 * of `roles/learner/replay.ts`. It knows of nobody whether he attacks.
 */
import { manifestOf } from '../../journal/queries.ts';
import type { Audit, Claim, ClaimVerdict, RunState } from '../../journal/state.ts';
import type { EventBody } from '../../protocol/messages.ts';
import { type Hash, type Hotkey, toDecimal } from '../../protocol/names.ts';
import { runModelOf } from '../../roles/run-model.ts';
import { accepted, checkNorm, checkSize, decodeClaim, type Finding, refused } from '../../roles/validator/checks.ts';
import { isNormWrong, needsDetails } from '../../roles/validator/details-check.ts';
import { claimRoot, type SimulatedBytes, startRoot, stepRoot } from './simulated-bytes.ts';
import type { SyntheticRoots } from './synthetic-roots.ts';

export type AuditFinding = Omit<EventBody<'audit-verdict'>, 'audit'>;
type Verdict = EventBody<'verdict'>;

/** Resemblance of a copy with a little noise, as the real attack measures it about; of others' work: none. */
const copyResemblance = 0.99;
/** Earlier claims that one is compared with, as `claim-judge.ts` has it. */
const comparedClaims = 8;
const gainError = 0.0001;
const detailsBytes = 2_048;
const passed: AuditFinding = { outcome: 'pass', code: 'OK', sentence: '', measurements: {} };
const garbage = Uint8Array.from({ length: 64 }, (_, i) => (37 * i) % 251);

export class FleetJudge {
  readonly #run: RunState;
  readonly #bytes: SimulatedBytes;
  readonly #roots: SyntheticRoots;

  constructor(options: { readonly run: RunState; readonly bytes: SimulatedBytes; readonly roots: SyntheticRoots }) {
    this.#run = options.run;
    this.#bytes = options.bytes;
    this.#roots = options.roots;
  }

  verdict(claim: Claim, { round, validator }: { round: Verdict['round']; validator: Hotkey }): Verdict {
    const { outcome, code, sentence, measurements } = this.#find(claim);
    const isTested = outcome === 'accept' && claim.beacon!.gainTested;
    const { norm } = measurements;
    return {
      ...{ claim: claim.id, round, outcome, code, sentence },
      measurements: Object.fromEntries(Object.entries(measurements).map(([name, x]) => [name, toDecimal(x)])),
      details: isTested ? this.#publishDetails(claim.id, validator) : null,
      accused: round === 'committee' || norm === undefined ? [] : this.#liars(claim, norm, validator),
    };
  }

  #find(claim: Claim): Finding {
    const fragment = runModelOf(manifestOf(this.#run)).plan.fragments[claim.body.fragment]!;
    const oversized = checkSize(this.#run, claim, fragment);
    if (oversized !== null) return oversized;
    const content = this.#bytes.claims.get(claim.body.artifact.root);
    if (content === undefined) return refused('MISSING', 'its artifact is not in the store');
    if (!content.isFragment) {
      const decoded = decodeClaim(this.#run, fragment, garbage);
      if ('finding' in decoded) return decoded.finding;
    }
    const [from, to] = claim.body.steps;
    const params = Float32Array.of(content.norm * Math.sqrt(to - from));
    const checked = checkNorm(this.#run, claim, { params, selectionBias: new Float32Array(0) });
    if (checked.outcome !== 'accept') return checked;
    const isCopy = content.copyOf !== null && this.#isCompared(claim, content.copyOf);
    return accepted({
      ...checked.measurements,
      ...(isCopy ? { resemblance: copyResemblance } : {}),
      ...(claim.beacon!.gainTested ? { gain: content.gain, gainError } : {}),
    });
  }

  /** Is the copied claim among the newest of the fragment that others revealed before? */
  #isCompared(claim: Claim, copied: Hash): boolean {
    const isEarlier = (other: Claim): boolean =>
      other.hotkey !== claim.hotkey &&
      other.body.fragment === claim.body.fragment &&
      other.revealedAtMs !== null &&
      other.revealedAtMs <= claim.committedAtMs &&
      other.commitSeq < claim.commitSeq;
    const earlier = [...this.#run.claims.values()].filter(isEarlier).slice(-comparedClaims);
    return earlier.some(({ id }) => id === copied);
  }

  #publishDetails(claim: Hash, validator: Hotkey): Verdict['details'] {
    const artifact = this.#roots.next(detailsBytes);
    this.#bytes.details.set(artifact.root, { claim, validator });
    return artifact;
  }

  #liars(claim: Claim, norm: number, validator: Hotkey): Hotkey[] {
    const said = [...claim.verdicts, ...(claim.rechecked === null ? [] : [claim.rechecked])];
    const isLie = (verdict: ClaimVerdict): boolean => {
      if (verdict.hotkey === validator) return false;
      if (isNormWrong(verdict, norm)) return true;
      if (!needsDetails(verdict, claim.beacon!.gainTested)) return false;
      const named = verdict.details === null ? undefined : this.#bytes.details.get(verdict.details.root);
      return named?.claim !== claim.id || named.validator !== verdict.hotkey;
    };
    return said
      .filter(isLie)
      .map(({ hotkey }) => hotkey)
      .sort();
  }

  redo(audit: Audit): AuditFinding {
    const { learner, body, answer, isFirst } = audit;
    const [from, to] = body.steps;
    const failed = (code: AuditFinding['code'], sentence: string): AuditFinding => ({
      ...{ outcome: 'fail', code, sentence, measurements: {} },
    });
    for (const [root, step] of [[answer!.start?.root, from] as const, [answer!.end.root, to] as const]) {
      if (root === undefined) continue;
      if (root !== this.#bytes.lineOf(learner, step - 1)?.stateRoot || this.#bytes.states.get(root) !== step)
        return failed('STATE', `what was answered is not the state after step ${step} that the trace names`);
    }
    const versions = this.#bytes.lineOf(learner, from)?.start ?? [];
    let state = isFirst ? startRoot(versions) : answer!.start!.root;
    const claims = this.#claimsOf(audit);
    for (let step = from; step < to; step++) {
      const line = this.#bytes.lineOf(learner, step)!;
      const takenIn = new Map(line.takenIn);
      for (const [fragment, outerStep] of line.claimed) {
        const claimed = claims.get(outerStep)?.body.artifact.root;
        if (claimed !== undefined && claimed !== claimRoot(state, fragment, takenIn.get(fragment)))
          return failed('CLAIM', `the claim of fragment ${fragment} before step ${step} is not what the steps give`);
      }
      state = stepRoot(state, line);
    }
    return state === answer!.end.root ? passed : failed('REPLAY', 'redoing the steps leads elsewhere');
  }

  /** Claims of the learner between two steps of the segment, by outer step. */
  #claimsOf({ learner, body: { steps } }: Audit): Map<number, Claim> {
    const own = new Map<number, Claim>();
    for (const claim of this.#run.claims.values()) {
      const at = claim.body.steps[1];
      if (claim.learner === learner && at >= steps[0] && at < steps[1]) own.set(claim.body.outerStep, claim);
    }
    return own;
  }
}
