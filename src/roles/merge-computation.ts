/**
 * @file The computation of a merge from what the journal names, bit for bit: the syncer publishes its result, validators
 * attest it, outsiders verify it. Fetches and computes; stores nothing, and takes no clock. One fragment is in memory.
 */
import type { Claim, RunState } from '../journal/state.ts';
import type { CodecName } from '../merge/codecs/codec.ts';
import { decodeFragment, encodeStateInto } from '../merge/codecs/fragment-file.ts';
import { CodecError } from '../merge/errors.ts';
import type { Fragment } from '../merge/fragment-plan.ts';
import { emptyFragment, type FragmentValues } from '../merge/fragment-values.ts';
import {
  type ClaimTerms,
  type MergeClaim,
  type MergeResult,
  type MergeTerms,
  mergeFragment,
} from '../merge/merge-fragment.ts';
import type { ArtifactRef, RunManifest } from '../protocol/manifest.ts';
import type { EventBody } from '../protocol/messages.ts';
import { fromDecimal, type Hash, toDecimal } from '../protocol/names.ts';
import { StoreError } from '../store/errors.ts';
import type { Store } from '../store/port.ts';
import { assert, BaseError } from '../util/errors.ts';

/** With fewer claims, the norms of the fragment's recent merges are pooled with theirs before clipping. */
const smallCohort = 3;

/** A merge as the journal has it before its result: plain data, so that the fold may move on. */
export interface MergeInput {
  readonly outerStep: number;
  readonly fragment: number;
  readonly fromVersion: number;
  readonly artifact: ArtifactRef;
  /** Null before the fragment's first merge: zeros. */
  readonly momentum: ArtifactRef | null;
  /** In the order of the `merge` event. */
  readonly claims: readonly {
    readonly claim: Pick<Claim, 'id' | 'body' | 'hotkey' | 'name' | 'cellTokens'>;
    readonly staleness: number;
  }[];
  readonly recentNorms: readonly (readonly number[])[];
}

/** What `fragment-published` says of a merge, with the bytes. */
export interface MergeOutput {
  readonly theta: Uint8Array;
  readonly momentum: Uint8Array;
  readonly shares: EventBody<'fragment-published'>['shares'];
}

/** The bytes of a claim that is to be merged are gone, damaged, or do not decode: nothing but leaving it out can help. */
export class LostClaimError extends BaseError<'LOST'> {
  readonly claim: Hash;

  constructor(claim: Hash, cause: unknown) {
    super('LOST', `claim ${claim.slice(0, 12)} cannot be merged: ${cause instanceof Error ? cause.message : cause}`, {
      cause,
    });
    this.claim = claim;
  }
}

/** Taken out of the fold at once: the fragment's pending merge. */
export function pendingMergeInput(run: RunState, fragment: number): MergeInput {
  const { pendingMerge, artifact, momentum, recentNorms } = run.fragments[fragment]!;
  assert(pendingMerge !== null, `fragment ${fragment} has no pending merge`);
  const { outerStep, fromVersion } = pendingMerge;
  const claims = pendingMerge.claims.map(({ claim, staleness }) => ({ claim: run.claims.get(claim)!, staleness }));
  return { outerStep, fragment, fromVersion, artifact, momentum, claims, recentNorms };
}

/** @throws LostClaimError; StoreError and CodecError for the fragment's own bytes; MergeError */
export async function computeMerge(
  input: MergeInput,
  options: {
    readonly manifest: RunManifest;
    readonly fragment: Fragment;
    readonly store: Pick<Store, 'get'>;
    readonly signal?: AbortSignal;
    /** Memory to compute in, default new: the output is good until its next use. */
    readonly workspace?: MergeWorkspace;
  },
): Promise<MergeOutput> {
  const { manifest, fragment, store, signal, workspace = new MergeWorkspace() } = options;
  workspace.reset();
  const get = (artifact: ArtifactRef): Promise<Uint8Array> =>
    store.get(artifact, signal === undefined ? {} : { signal });
  const { momentum } = input;
  const { claims: named, ...terms } = termsOf(input, manifest);
  const decode = (codec: CodecName, bytes: Uint8Array): FragmentValues =>
    decodeFragment(codec, fragment, bytes, undefined, workspace.values(fragment));
  const theta = decode('f32', await get(input.artifact));
  const velocity = momentum === null ? emptyFragment(fragment) : decode('f32', await get(momentum));
  const claims: MergeClaim[] = [];
  for (const { artifact, ...claim } of named) {
    const values = await decodeOrLose(claim.id, async () => decode(manifest.codec, await get(artifact)));
    claims.push({ ...claim, pseudoGradient: values.params, selectionBias: values.selectionBias });
  }
  const merged = mergeFragment({
    ...{ fragment, theta, momentum: velocity.params, claims, ...terms },
    into: { theta, momentum: velocity.params },
  });
  const selectionBias = new Float32Array(fragment.selectionBiasCount);
  return {
    theta: encodeStateInto(fragment, merged.theta, workspace.bytes),
    momentum: encodeStateInto(fragment, { params: merged.momentum, selectionBias }, workspace.bytes),
    shares: sharesOf(merged.claims, input),
  };
}

/** What the manifest and the journal say of a merge, with the artifacts of its claims. */
export function termsOf(
  { claims, recentNorms }: MergeInput,
  { merge }: RunManifest,
): MergeTerms & { readonly claims: readonly (ClaimTerms & { readonly id: Hash; readonly artifact: ArtifactRef })[] } {
  // The journal keeps norms without tokens: an earlier merge counts as much as the mean claim of this one.
  const tokens = claims.reduce((sum, { claim }) => sum + claim.cellTokens, 0) / claims.length;
  return {
    claims: claims.map(({ claim, staleness }) => ({
      ...{ id: claim.id, hotkey: claim.hotkey, learner: claim.name, tokens: claim.cellTokens, staleness },
      innerSteps: claim.body.steps[1] - claim.body.steps[0],
      artifact: claim.body.artifact,
    })),
    rule: merge.rule,
    ...(merge.trim === undefined ? {} : { trim: fromDecimal(merge.trim) }),
    outer: { learningRate: fromDecimal(merge.outerLearningRate), momentum: fromDecimal(merge.outerMomentum) },
    clip: { multiple: fromDecimal(merge.normClip), smallCohort },
    recentNorms: recentNorms.map((norms) => ({ norm: median(norms), tokens })),
  };
}

/** Absolute float32 values as a fragment file. */
export const encodeState = (fragment: Fragment, values: FragmentValues): Uint8Array =>
  encodeStateInto(fragment, values, (byteLength) => new Uint8Array(byteLength));

/**
 * Memory of one merge, for the next to use again: whoever recomputes a whole run otherwise allocates ten arrays of a fragment's size a merge,
 * and the collector took a quarter of its time.
 */
export class MergeWorkspace {
  readonly #floats: Float32Array[] = [];
  readonly #files: Uint8Array[] = [];
  #usedFloats = 0;
  #usedFiles = 0;

  /** What was handed out is free. */
  reset(): void {
    this.#usedFloats = 0;
    this.#usedFiles = 0;
  }

  /** Of unspecified content. */
  values({ elementCount, selectionBiasCount }: Fragment): FragmentValues {
    const at = this.#usedFloats++;
    if ((this.#floats[at]?.length ?? 0) < elementCount) this.#floats[at] = new Float32Array(elementCount);
    return {
      params: this.#floats[at]!.subarray(0, elementCount),
      selectionBias: new Float32Array(selectionBiasCount),
    };
  }

  readonly bytes = (byteLength: number): Uint8Array => {
    const at = this.#usedFiles++;
    if ((this.#files[at]?.length ?? 0) < byteLength) this.#files[at] = new Uint8Array(byteLength);
    return this.#files[at]!.subarray(0, byteLength);
  };
}

/** A store that is away, or an end that is asked for, says nothing about the claim. */
export async function decodeOrLose<T>(claim: Hash, decode: () => Promise<T>): Promise<T> {
  try {
    return await decode();
  } catch (error) {
    const isGone = error instanceof StoreError && ['NOT_FOUND', 'HASH_MISMATCH', 'SIZE_MISMATCH'].includes(error.code);
    throw isGone || error instanceof CodecError ? new LostClaimError(claim, error) : error;
  }
}

/** In the order of the `merge` event, which for two claims of one learner may be another than that of the sums. */
export function sharesOf(merged: MergeResult['claims'], { claims }: MergeInput): MergeOutput['shares'] {
  return claims.map(({ claim: { id } }) => {
    const { share, norm, clippedNorm } = merged.find((each) => each.id === id)!;
    return { claim: id, share: toDecimal(share), norm: toDecimal(norm), clippedNorm: toDecimal(clippedNorm) };
  });
}

const median = (norms: readonly number[]): number => [...norms].sort((a, b) => a - b)[norms.length >> 1] ?? 0;
