/**
 * @file A fragment's new version by redoing the merge that made it, where its claims are fewer bytes than the version: with
 * `topk` eight claims are an eighteenth of it. The version before and, where the run has outer momentum, its momentum must be
 * at hand; the result counts only if it hashes to the published name, and everything else comes from the store.
 */
import type { RunState } from '../journal/state.ts';
import type { FragmentPlan } from '../merge/fragment-plan.ts';
import type { ArtifactRef, RunManifest } from '../protocol/manifest.ts';
import type { EventBody, JournalEntry } from '../protocol/messages.ts';
import { fromDecimal, type Hash } from '../protocol/names.ts';
import type { Store } from '../store/port.ts';
import { BaseError } from '../util/errors.ts';
import { computeMerge, type MergeInput } from './merge-computation.ts';
import { MergeHistory } from './merge-history.ts';

/** States and momenta of all fragments beyond this are not kept at hand: whoever has less memory fetches. */
const mostHeldBytes = 512 * 2 ** 20;

export interface RedoneVersionsDeps {
  readonly manifest: RunManifest;
  readonly plan: FragmentPlan;
  readonly store: Pick<Store, 'get'>;
  readonly artifactOf: (bytes: Uint8Array) => ArtifactRef;
}

export interface FetchedVersion {
  readonly bytes: Uint8Array;
  /** Claims that it was made of; 0: it came from the store. */
  readonly redoneFrom: number;
  /** That were fetched for it. */
  readonly fetchedBytes: number;
}

interface Held {
  readonly root: Hash;
  readonly bytes: Uint8Array;
}

export class RedoneVersions {
  readonly #deps: RedoneVersionsDeps;
  readonly #hasMomentum: boolean;
  readonly #isHolding: boolean;
  /** The newest of each fragment. */
  readonly #merges = new Map<number, { readonly input: MergeInput; readonly made: ArtifactRef }>();
  /** By fragment. */
  readonly #states = new Map<number, Held>();
  readonly #momenta = new Map<number, Held>();
  readonly #history = new MergeHistory();

  constructor(deps: RedoneVersionsDeps) {
    this.#deps = deps;
    this.#hasMomentum = fromDecimal(deps.manifest.merge.outerMomentum) !== 0;
    this.#isHolding = 4 * deps.plan.elementCount * (this.#hasMomentum ? 2 : 1) <= mostHeldBytes;
  }

  /** To be called after each entry was folded into `state`. */
  readonly onFold = (state: RunState, entry: JournalEntry): void => {
    const { kind, body } = entry.message;
    if (kind === 'fragment-published') {
      const { fragment, artifact } = body as EventBody<'fragment-published'>;
      const input = this.#history.pendingOf(fragment);
      if (input !== null) this.#merges.set(fragment, { input, made: artifact });
    }
    this.#history.onFold(state, entry);
  };

  /** A version that came in another way is at hand for the next. */
  hold(fragment: number, artifact: ArtifactRef, bytes: Uint8Array): void {
    if (this.#isHolding) this.#states.set(fragment, { root: artifact.root, bytes });
  }

  /** Checked bytes of a version. @throws StoreError */
  async get(fragment: number, artifact: ArtifactRef, signal: AbortSignal): Promise<FetchedVersion> {
    const redone = await this.#redo(fragment, artifact, signal);
    if (redone !== null) return redone;
    const bytes = await this.#deps.store.get(artifact, { signal });
    this.#momenta.delete(fragment);
    this.hold(fragment, artifact, bytes);
    return { bytes, redoneFrom: 0, fetchedBytes: artifact.sizeBytes };
  }

  /** Null where it cannot be redone, or not with fewer bytes. */
  async #redo(fragment: number, artifact: ArtifactRef, signal: AbortSignal): Promise<FetchedVersion | null> {
    const merge = this.#merges.get(fragment);
    const state = this.#states.get(fragment);
    if (merge?.made.root !== artifact.root || state?.root !== merge.input.artifact.root) return null;
    const { input } = merge;
    const momentum = this.#hasMomentum ? input.momentum : null;
    const held = new Map([[state.root, state.bytes]]);
    const velocity = this.#momenta.get(fragment);
    if (velocity !== undefined) held.set(velocity.root, velocity.bytes);
    const wanted = [...input.claims.map(({ claim }) => claim.body.artifact), ...(momentum === null ? [] : [momentum])];
    const missing = wanted.filter(({ root }) => !held.has(root));
    const fetchedBytes = missing.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    if (fetchedBytes >= artifact.sizeBytes) return null;
    const store = {
      get: async (ref: ArtifactRef) => held.get(ref.root) ?? (await this.#deps.store.get(ref, { signal })),
    };
    const { manifest, plan, artifactOf } = this.#deps;
    try {
      const made = await computeMerge(
        { ...input, momentum },
        { manifest, fragment: plan.fragments[fragment]!, store, signal },
      );
      if (artifactOf(made.theta).root !== artifact.root) return null;
      this.hold(fragment, artifact, made.theta);
      if (this.#hasMomentum)
        this.#momenta.set(fragment, { root: artifactOf(made.momentum).root, bytes: made.momentum });
      return { bytes: made.theta, redoneFrom: input.claims.length, fetchedBytes };
    } catch (error) {
      signal.throwIfAborted();
      // A claim that is gone or damaged: the version itself will do.
      if (!(error instanceof BaseError)) throw error;
      return null;
    }
  }
}
