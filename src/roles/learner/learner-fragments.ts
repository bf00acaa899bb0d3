/**
 * @file What a learner keeps for each fragment beside its parameters, and the two moves of synchronising: a claim hands
 * out what was learned since the last one, a take-in swaps the ground under it. Plain arrays; each element is computed
 * in float64 and rounded once, so that a replay gets the same bits.
 */
import { type CodecName, errorFeedback } from '../../merge/codecs/codec.ts';
import { encodeFragment } from '../../merge/codecs/fragment-file.ts';
import type { Fragment, FragmentPlan } from '../../merge/fragment-plan.ts';
import {
  checkFragmentValues,
  emptyFragment,
  type FragmentValues,
  packFragment,
  type TensorAccess,
  unpackFragment,
} from '../../merge/fragment-values.ts';
import type { TakenIn } from './learner-state.ts';

export class LearnerFragments {
  readonly #plan: FragmentPlan;
  readonly #access: TensorAccess;
  readonly #codec: CodecName;
  /** Per fragment: Θ of the version last taken in, or at the last claim θ and what of the residue stays in it, whichever is later. */
  readonly #anchors: FragmentValues[];
  /** Per fragment: what of the last claim's residue does not stay in the parameters (error feedback). */
  readonly #residues: Float32Array[];
  /** Per fragment: the version last taken in; empty where nobody asks for it. */
  readonly #taken: TakenIn[];

  /**
   * `access` gives live tensors; their values now are the first anchors. `versions`: by fragment, of these values, where the
   * versions taken in are to be kept; else null.
   */
  constructor(plan: FragmentPlan, access: TensorAccess, codec: CodecName, versions: readonly number[] | null = null) {
    this.#plan = plan;
    this.#access = access;
    this.#codec = codec;
    this.#anchors = plan.fragments.map((fragment) => packFragment(fragment, access));
    this.#taken = (versions ?? []).map((version, id) => ({ version, values: this.#anchors[id]! }));
    this.#residues = plan.fragments.map((fragment) => new Float32Array(fragment.elementCount));
  }

  /**
   * Δ = anchor − θ + β·residue; r = Δ − decode(encode(Δ)); anchor ← θ + κ·r, so that the next take-in leaves κ·r in θ; residue ← r − κ·r.
   * The selection bias travels dense, as anchor − bias.
   * @throws CodecError NOT_FINITE, OUT_OF_RANGE
   */
  claim(id: number): Uint8Array {
    const fragment = this.#fragment(id);
    const now = packFragment(fragment, this.#access);
    const anchor = this.#anchors[id]!.params;
    const residue = this.#residues[id]!;
    const delta = new Float32Array(fragment.elementCount);
    const { kept, decay } = errorFeedback[this.#codec];
    for (let i = 0; i < delta.length; i++) delta[i] = anchor[i]! - now.params[i]! + decay * residue[i]!;
    const anchorBias = this.#anchors[id]!.selectionBias;
    const selectionBias = now.selectionBias.map((bias, i) => anchorBias[i]! - bias);
    const { bytes } = encodeFragment(this.#codec, fragment, { params: delta, selectionBias }, undefined, residue);
    if (kept > 0) keep(kept, residue, now.params);
    this.#anchors[id] = now;
    return bytes;
  }

  /** θ ← Θ + (θ − anchor); anchor ← Θ. The optimiser's moments stay. */
  takeIn(id: number, version: number, published: FragmentValues): void {
    const fragment = this.#fragment(id);
    checkFragmentValues(fragment, published);
    const now = packFragment(fragment, this.#access);
    shift(now.params, published.params, this.#anchors[id]!.params);
    shift(now.selectionBias, published.selectionBias, this.#anchors[id]!.selectionBias);
    unpackFragment(fragment, now, this.#access);
    const values = copyOf(fragment, published);
    this.#anchors[id] = values;
    if (this.#taken.length > 0) this.#taken[id] = { version, values };
  }

  /** Versions that a saved state stands on, in place of the first anchors. */
  restoreTaken(taken: readonly TakenIn[]): void {
    this.#taken.splice(0, taken.length, ...taken);
  }

  /** By fragment, if they are kept. Values are those of the anchor, the very arrays, until the fragment's next claim. */
  get taken(): readonly TakenIn[] {
    return this.#taken;
  }

  /** By fragment; live until the next claim or take-in. */
  get anchors(): readonly FragmentValues[] {
    return this.#anchors;
  }

  /** By fragment; live until the next claim. */
  get residues(): readonly Float32Array[] {
    return this.#residues;
  }

  #fragment(id: number): Fragment {
    return this.#plan.fragments[id]!;
  }
}

/** anchor ← anchor + κ·residue; residue ← residue − κ·residue. */
function keep(share: number, residue: Float32Array, anchor: Float32Array): void {
  for (let i = 0; i < residue.length; i++) {
    const stays = Math.fround(share * residue[i]!);
    anchor[i]! += stays;
    residue[i]! -= stays;
  }
}

function shift(theta: Float32Array, published: Float32Array, anchor: Float32Array): void {
  for (let i = 0; i < theta.length; i++) theta[i] = published[i]! + (theta[i]! - anchor[i]!);
}

function copyOf(fragment: Fragment, { params, selectionBias }: FragmentValues): FragmentValues {
  const copy = emptyFragment(fragment);
  copy.params.set(params);
  copy.selectionBias.set(selectionBias);
  return copy;
}
