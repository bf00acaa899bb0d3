/**
 * @file One merge made again, momentum included, and held against what the journal says of it and against the stored bytes.
 * Plain data in and out, so that a thread of its own can do it (`merge-thread.ts`). One merge's tensors are in memory at a time.
 */
import type { ArtifactRef, RunManifest } from '../protocol/manifest.ts';
import type { EventBody } from '../protocol/messages.ts';
import { computeMerge, type MergeInput, type MergeOutput, MergeWorkspace } from '../roles/merge-computation.ts';
import { runModelOf } from '../roles/run-model.ts';
import { equalBytes } from '../util/bytes.ts';
import { BaseError } from '../util/errors.ts';
import { type ArtifactCache, need, Unavailable } from './artifact-cache.ts';

export interface MergeJob {
  readonly input: MergeInput;
  readonly published: Pick<
    EventBody<'fragment-published'>,
    'fragment' | 'version' | 'artifact' | 'momentum' | 'shares'
  >;
}

export interface MergeFault {
  readonly check: 'merges' | 'fragments';
  readonly expected: string;
  readonly found: string;
}

export interface MergeJudgement {
  /** Of the stored parameters and momentum, so many were there and hash to their names. */
  readonly storedStates: number;
  readonly isRecomputed: boolean;
  readonly faults: readonly MergeFault[];
  /** An input that is no longer in the store: the merge could not be made again. */
  readonly missing: ArtifactRef | null;
  /** Why it could not be made again though all is there. */
  readonly unchecked: string | null;
}

/** Rejects only where the record cannot be read at all. */
export type MergeJudge = (job: MergeJob) => Promise<MergeJudgement>;

export interface MergeJudgeParts {
  readonly manifest: RunManifest;
  readonly cache: ArtifactCache;
  readonly artifactOf: (bytes: Uint8Array) => ArtifactRef;
}

/** Jobs are done one at a time: the next may begin once the last has ended. */
export function createMergeJudge({ manifest, cache, artifactOf }: MergeJudgeParts): MergeJudge {
  const { plan } = runModelOf(manifest);
  const workspace = new MergeWorkspace();
  return async ({ input, published }) => {
    const faults: MergeFault[] = [];
    const stored: (Uint8Array | null)[] = [];
    for (const artifact of [published.artifact, published.momentum]) {
      const answer = await cache.get(artifact);
      stored.push(answer.kind === 'found' ? answer.bytes : null);
      if (answer.kind === 'damaged')
        faults.push({ check: 'fragments', expected: describe(artifact), found: answer.found });
    }
    const fragment = plan.fragments[input.fragment]!;
    const made = await remake(() =>
      computeMerge(input, { manifest, fragment, store: { get: (artifact) => need(cache, artifact) }, workspace }),
    );
    const storedStates = stored.filter((bytes) => bytes !== null).length;
    if (made.kind === 'failed') {
      const { fault, ...rest } = made;
      return { storedStates, isRecomputed: false, ...rest, faults: fault === null ? faults : [...faults, fault] };
    }
    const { theta, momentum, shares } = made.output;
    faults.push(
      ...compare('parameters', theta, stored[0]!, published, published.artifact, artifactOf),
      ...compare('momentum', momentum, stored[1]!, published, published.momentum, artifactOf),
      ...compareShares(shares, published.shares),
    );
    return { storedStates, isRecomputed: true, faults, missing: null, unchecked: null };
  };
}

type Remade =
  | { readonly kind: 'made'; readonly output: MergeOutput }
  | ({ readonly kind: 'failed'; readonly fault: MergeFault | null } & Pick<MergeJudgement, 'missing' | 'unchecked'>);

async function remake(compute: () => Promise<MergeOutput>): Promise<Remade> {
  const failed = { kind: 'failed', fault: null, missing: null, unchecked: null } as const;
  try {
    return { kind: 'made', output: await compute() };
  } catch (error) {
    if (error instanceof Unavailable) {
      if (error.answer.kind === 'missing') return { ...failed, missing: error.artifact };
      // Damaged bytes are a divergence of the check that reads them first.
      return { ...failed, unchecked: 'damaged bytes go in' };
    }
    if (!(error instanceof BaseError) || error.code === 'ASSERTION') throw error;
    const found = `${error.code}: ${error.message}`;
    return { ...failed, fault: { check: 'merges', expected: 'claims that can be merged', found } };
  }
}

const describe = ({ root, sizeBytes }: ArtifactRef): string => `artifact ${root} of ${sizeBytes} bytes`;

function compare(
  what: string,
  made: Uint8Array,
  stored: Uint8Array | null,
  { fragment, version }: MergeJob['published'],
  named: ArtifactRef,
  artifactOf: MergeJudgeParts['artifactOf'],
): MergeFault[] {
  if (stored !== null && equalBytes(made, stored)) return [];
  const { root, sizeBytes } = artifactOf(made);
  if (root === named.root && sizeBytes === named.sizeBytes) return [];
  const expected = `${what} of fragment ${fragment}, version ${version}: ${root}`;
  return [{ check: 'merges', expected, found: named.root }];
}

type Shares = MergeJob['published']['shares'];

function compareShares(made: Shares, said: Shares): MergeFault[] {
  return made.flatMap((share, i): MergeFault[] => {
    const [expected, found] = [share, said[i]!].map((each) => [each.share, each.norm, each.clippedNorm].join(', '));
    if (expected === found) return [];
    return [
      { check: 'merges', expected: `share, norm, clipped norm of claim ${share.claim}: ${expected}`, found: found! },
    ];
  });
}
