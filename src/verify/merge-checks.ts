/**
 * @file Merges made again bit for bit, momentum included, and the stored bytes of every fragment version. One merge's
 * tensors are in memory at a time.
 */
import type { ArtifactRef } from '../protocol/manifest.ts';
import type { EventBody } from '../protocol/messages.ts';
import {
  computeMerge,
  type MergeInput,
  type MergeOutput,
  MergeWorkspace,
  pendingMergeInput,
} from '../roles/merge-computation.ts';
import { equalBytes } from '../util/bytes.ts';
import { BaseError } from '../util/errors.ts';
import { need, Unavailable } from './artifact-cache.ts';
import { type Check, divergenceAt, type Visit, type WalkContext, withArtifacts } from './check.ts';

type Published = Extract<Visit, { kind: 'fragment-published' }>;

export class MergeChecks implements Check {
  #inputs: MergeInput | null = null;
  readonly #workspace = new MergeWorkspace();

  before(visit: Visit, { state }: WalkContext): void {
    if (visit.kind === 'fragment-published') this.#inputs = pendingMergeInput(state, visit.body.fragment);
  }

  async after(visit: Visit, context: WalkContext): Promise<void> {
    if (visit.kind !== 'fragment-published' || !context.isHeavy || context.model === null) return;
    const { artifact, momentum } = visit.body;
    const stored = [await this.#readStored(visit, artifact, context), await this.#readStored(visit, momentum, context)];
    const made = await this.#recompute(visit, this.#inputs!, context);
    if (made === null) return;
    context.findings.count('merges', 'recomputed');
    compare(visit, 'parameters', made.theta, stored[0]!, artifact, context);
    compare(visit, 'momentum', made.momentum, stored[1]!, momentum, context);
    compareShares(visit, made.shares, context);
  }

  /** The present versions must be there: nothing could go on without them. */
  async end({ state, findings, record }: WalkContext): Promise<void> {
    for (const [id, { artifact, momentum, version }] of state.fragments.entries())
      for (const each of momentum === null ? [artifact] : [artifact, momentum]) {
        const answer = await record.artifact(each);
        if (answer.kind === 'missing')
          findings.fail({
            check: 'fragments',
            seq: null,
            event: `fragment ${id}, version ${version}`,
            expected: `artifact ${each.root} of ${each.sizeBytes} bytes`,
            found: 'nothing in the store',
          });
      }
  }

  /** Null if it is gone (then the merge must give its root) or damaged. */
  async #readStored(visit: Published, artifact: ArtifactRef, context: WalkContext): Promise<Uint8Array | null> {
    const answer = await context.cache.get(artifact);
    if (answer.kind === 'found') {
      context.findings.count('fragments', 'stored states hashed');
      return answer.bytes;
    }
    if (answer.kind === 'damaged')
      context.findings.fail(
        divergenceAt('fragments', visit, `artifact ${artifact.root} of ${artifact.sizeBytes} bytes`, answer.found),
      );
    return null;
  }

  async #recompute(visit: Published, inputs: MergeInput, context: WalkContext): Promise<MergeOutput | null> {
    let made: MergeOutput | null = null;
    try {
      const read = (artifact: ArtifactRef): Promise<Uint8Array> => need(context.cache, artifact);
      await withArtifacts('merges', visit, context, async () => {
        const get = async (artifact: ArtifactRef): Promise<Uint8Array> => {
          try {
            return await read(artifact);
          } catch (error) {
            // Damaged bytes are a divergence of the check that reads them first.
            if (error instanceof Unavailable && error.answer.kind === 'damaged') throw new DamagedInput();
            throw error;
          }
        };
        const { manifest } = context.state.run!;
        const fragment = context.model!.plan.fragments[inputs.fragment]!;
        made = await computeMerge(inputs, { manifest, fragment, store: { get }, workspace: this.#workspace });
      });
    } catch (error) {
      if (error instanceof DamagedInput) {
        context.findings.unchecked(
          'merges',
          `outer step ${inputs.outerStep} cannot be recomputed: damaged bytes go in`,
        );
        return null;
      }
      if (!(error instanceof BaseError) || error.code === 'ASSERTION') throw error;
      const found = `${error.code}: ${error.message}`;
      context.findings.fail(divergenceAt('merges', visit, 'claims that can be merged', found));
    }
    return made;
  }
}

class DamagedInput extends Error {}

function compare(
  visit: Published,
  what: string,
  made: Uint8Array,
  stored: Uint8Array | null,
  named: ArtifactRef,
  { artifactOf, findings }: WalkContext,
): void {
  if (stored !== null && equalBytes(made, stored)) return;
  const { root, sizeBytes } = artifactOf(made);
  if (root === named.root && sizeBytes === named.sizeBytes) return;
  const { fragment, version } = visit.body;
  const expected = `${what} of fragment ${fragment}, version ${version}: ${root}`;
  findings.fail(divergenceAt('merges', visit, expected, named.root));
}

type Shares = EventBody<'fragment-published'>['shares'];

function compareShares(visit: Published, made: Shares, { findings }: WalkContext): void {
  for (const [i, { claim, share, norm, clippedNorm }] of made.entries()) {
    const said = visit.body.shares[i]!;
    const [expected, found] = [
      [share, norm, clippedNorm],
      [said.share, said.norm, said.clippedNorm],
    ].map((numbers) => numbers.join(', '));
    if (expected === found) continue;
    findings.fail(divergenceAt('merges', visit, `share, norm, clipped norm of claim ${claim}: ${expected}`, found!));
  }
}
