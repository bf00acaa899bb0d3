/**
 * @file One merge made again, momentum included, and held against what the journal says of it and against the stored bytes.
 * Plain data in and out, so that a thread of its own can do it (`merge-thread.ts`). One merge's tensors are in memory at a time.
 */
import type { Fragment } from '../merge/fragment-plan.ts';
import type { ArtifactRef, RunManifest } from '../protocol/manifest.ts';
import type { EventBody } from '../protocol/messages.ts';
import { ArtifactReader, type ReadPart } from '../roles/artifact-reader.ts';
import { computeMerge, LostClaimError, type MergeInput, MergeWorkspace } from '../roles/merge-computation.ts';
import { runModelOf } from '../roles/run-model.ts';
import { isMergedInParts, namingWriter, type StreamedMergeOutput, streamMerge } from '../roles/streamed-merge.ts';
import { StoreError } from '../store/errors.ts';
import { equalBytes } from '../util/bytes.ts';
import { BaseError } from '../util/errors.ts';
import { nodeSha256 } from '../util/node-sha256.ts';
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
  /** Default: those that are too large to be in memory ten times. */
  readonly isInParts?: (fragment: Fragment) => boolean;
}

/** Jobs are done one at a time: the next may begin once the last has ended. */
export function createMergeJudge({
  manifest,
  cache,
  artifactOf,
  isInParts = isMergedInParts,
}: MergeJudgeParts): MergeJudge {
  const { plan } = runModelOf(manifest);
  const workspace = new MergeWorkspace();
  return async ({ input, published }) => {
    const fragment = plan.fragments[input.fragment]!;
    const read = isInParts(fragment) ? cache.part : null;
    const stored: StoredState[] = [];
    for (const artifact of [published.artifact, published.momentum])
      stored.push(read === null ? await storedState(cache, artifact) : await settledState(read, artifact));
    const faults = stored.flatMap(({ faults }) => faults);
    const made = await remake(async () => {
      if (read !== null) return await streamMerge(input, { manifest, fragment, read, create: namingWriter });
      const get = (artifact: ArtifactRef): Promise<Uint8Array> => need(cache, artifact);
      const { theta, momentum, shares } = await computeMerge(input, { manifest, fragment, store: { get }, workspace });
      const nameOf = (bytes: Uint8Array, state: StoredState, named: ArtifactRef): ArtifactRef =>
        state.bytes !== null && equalBytes(bytes, state.bytes) ? named : artifactOf(bytes);
      return {
        theta: nameOf(theta, stored[0]!, published.artifact),
        momentum: nameOf(momentum, stored[1]!, published.momentum),
        shares,
      };
    });
    const storedStates = stored.filter(({ isThere }) => isThere).length;
    if (made.kind === 'failed') {
      const { fault, ...rest } = made;
      return { storedStates, isRecomputed: false, ...rest, faults: fault === null ? faults : [...faults, fault] };
    }
    const { theta, momentum, shares } = made.output;
    faults.push(
      ...compare('parameters', theta, published, published.artifact),
      ...compare('momentum', momentum, published, published.momentum),
      ...compareShares(shares, published.shares),
    );
    return { storedStates, isRecomputed: true, faults, missing: null, unchecked: null };
  };
}

/** Stored bytes of a published state, which hash to its name. */
interface StoredState {
  readonly isThere: boolean;
  /** Null where they are not there, or were read in parts. */
  readonly bytes: Uint8Array | null;
  readonly faults: readonly MergeFault[];
}

async function storedState(cache: ArtifactCache, artifact: ArtifactRef): Promise<StoredState> {
  const answer = await cache.get(artifact);
  if (answer.kind === 'found') return { isThere: true, bytes: answer.bytes, faults: [] };
  return { isThere: false, bytes: null, faults: answer.kind === 'damaged' ? [damaged(artifact, answer.found)] : [] };
}

async function settledState(read: ReadPart, artifact: ArtifactRef): Promise<StoredState> {
  try {
    await new ArtifactReader(artifact, read, nodeSha256).settle();
    return { isThere: true, bytes: null, faults: [] };
  } catch (error) {
    if (error instanceof Unavailable) return { isThere: false, bytes: null, faults: [] };
    if (!isDamage(error)) throw error;
    return { isThere: false, bytes: null, faults: [damaged(artifact, (error as Error).message)] };
  }
}

const damaged = (artifact: ArtifactRef, found: string): MergeFault => ({
  check: 'fragments',
  expected: describe(artifact),
  found,
});

const isDamage = (error: unknown): boolean =>
  error instanceof StoreError && (error.code === 'HASH_MISMATCH' || error.code === 'SIZE_MISMATCH');

type Remade =
  | { readonly kind: 'made'; readonly output: StreamedMergeOutput }
  | ({ readonly kind: 'failed'; readonly fault: MergeFault | null } & Pick<MergeJudgement, 'missing' | 'unchecked'>);

async function remake(compute: () => Promise<StreamedMergeOutput>): Promise<Remade> {
  const failed = { kind: 'failed', fault: null, missing: null, unchecked: null } as const;
  try {
    return { kind: 'made', output: await compute() };
  } catch (error) {
    if (error instanceof Unavailable) {
      if (error.answer.kind === 'missing') return { ...failed, missing: error.artifact };
      // Damaged bytes are a divergence of the check that reads them first.
      return { ...failed, unchecked: 'damaged bytes go in' };
    }
    if (isDamage(error instanceof LostClaimError ? error.cause : error))
      return { ...failed, unchecked: 'damaged bytes go in' };
    if (!(error instanceof BaseError) || error.code === 'ASSERTION') throw error;
    const found = `${error.code}: ${error.message}`;
    return { ...failed, fault: { check: 'merges', expected: 'claims that can be merged', found } };
  }
}

const describe = ({ root, sizeBytes }: ArtifactRef): string => `artifact ${root} of ${sizeBytes} bytes`;

function compare(
  what: string,
  made: ArtifactRef,
  { fragment, version }: MergeJob['published'],
  named: ArtifactRef,
): MergeFault[] {
  if (made.root === named.root && made.sizeBytes === named.sizeBytes) return [];
  const expected = `${what} of fragment ${fragment}, version ${version}: ${made.root}`;
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
