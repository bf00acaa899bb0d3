/**
 * @file Are two states of a learner the same work? Between machines of one class they have the same bits, and nobody
 * asks here. Between classes the order of sums differs, and with it the last bits of every gradient; a router's choice
 * or the sign of a small gradient may then fall otherwise. What honest machines differ by was measured (docs/experiments.md).
 */
import type { Fragment, FragmentPlan, TensorSlice } from '../../merge/fragment-plan.ts';
import type { FlatEntry } from '../../tensor/flat-params.ts';
import { gatherRanges, type Range } from '../../util/ranges.ts';
import type { LearnerBuffers } from './learner-state.ts';

export interface ReplayBounds {
  /** Least cosine of a fragment's two updates. */
  readonly minCosine: number;
  /** Greatest ratio of their norms, either way. */
  readonly maxNormRatio: number;
}

/**
 * Moments remember the last gradients only: where machines have come apart they point elsewhere (cosines of 0.4 were
 * seen between honest ones), but are as large. Whoever lies about them alone has done the work all the same.
 */
export const maxMomentRatio = 4;
/** What a codec lost of a claim: as much on either machine, other numbers. */
export const maxResidueRatio = 1.5;
/** Mean difference of a fragment's selection biases, as a part of what they can move in the segment's steps. */
export const maxBiasDrift = 0.5;

/** Of two vectors beside a common base: how alike is what was added to it? */
export interface Likeness {
  /** 1 where both are 0, 0 where one is. */
  readonly cosine: number;
  /** At least 1; the greater norm over the smaller. */
  readonly normRatio: number;
  /** ‖a − b‖ over ‖base‖. */
  readonly difference: number;
}

/** Parts of flat buffers that belong to one fragment. */
export interface FragmentRanges {
  readonly params: readonly Range[];
  readonly selectionBiases: readonly Range[];
}

/** `params`, `biases`: the layouts of the flat buffers. */
export function fragmentRanges(
  plan: FragmentPlan,
  params: readonly FlatEntry[],
  biases: readonly FlatEntry[],
): readonly FragmentRanges[] {
  const offsets = new Map([...params, ...biases].map(({ name, offset }) => [name, offset]));
  const rangesOf = (slices: readonly TensorSlice[]): Range[] =>
    slices.map(({ name, tensorOffset, length }) => {
      const from = offsets.get(name)! + tensorOffset;
      return [from, from + length];
    });
  return plan.fragments.map(({ slices, selectionBiases }) => ({
    params: rangesOf(slices),
    selectionBiases: rangesOf(selectionBiases),
  }));
}

/** a and b with `base` taken off (nothing where it is null), over `ranges`. */
export function likenessOf(
  a: Float32Array,
  b: Float32Array,
  base: Float32Array | null,
  ranges: readonly Range[] = [[0, a.length]],
): Likeness {
  let [dot, aa, bb, apart, size] = [0, 0, 0, 0, 0];
  for (const [from, to] of ranges)
    for (let i = from; i < to; i++) {
      const origin = base === null ? 0 : base[i]!;
      const [x, y] = [a[i]! - origin, b[i]! - origin];
      dot += x * y;
      aa += x * x;
      bb += y * y;
      apart += (x - y) * (x - y);
      size += origin * origin;
    }
  // A redone state may have overflowed; an answered one was found finite.
  if (!Number.isFinite(aa + bb)) return { cosine: 0, normRatio: maxRatio, difference: maxRatio };
  const [low, high] = aa < bb ? [aa, bb] : [bb, aa];
  const cosine = high === 0 ? 1 : low === 0 ? 0 : dot / Math.sqrt(aa) / Math.sqrt(bb);
  const normRatio = high === 0 ? 1 : low === 0 ? maxRatio : Math.min(maxRatio, Math.sqrt(high / low));
  return { cosine, normRatio, difference: Math.sqrt(apart / (size === 0 ? 1 : size)) };
}

/** What a verdict's decimal can carry. */
const maxRatio = 1e9;

/** Rounding of a float32 sum after n steps, as a part of its size: below, two updates cannot be told apart. */
const roundingOf = (steps: number): number => 4 * 2 ** -24 * Math.sqrt(steps);

export interface StatesCompared {
  readonly plan: FragmentPlan;
  readonly ranges: readonly FragmentRanges[];
  /** Parameters before the segment, moved by what was taken in. */
  readonly base: Float32Array;
  readonly replayed: LearnerBuffers;
  readonly answered: LearnerBuffers;
  /** Last of a claim and a take-in by fragment; `claim` also where a take-in followed is `claim-then-take-in`. */
  readonly moves: ReadonlyMap<number, 'claim' | 'claim-then-take-in'>;
  readonly steps: number;
  /** u of the balancing rule. */
  readonly selectionBiasRate: number;
  readonly bounds: ReplayBounds;
}

export interface Comparison {
  /** Null if the two are the same work. */
  readonly sentence: string | null;
  /** The worst over all fragments. */
  readonly measurements: Readonly<Record<string, number>>;
}

export function compareStates(compared: StatesCompared): Comparison {
  const worst = new Worst();
  const sentences = compared.plan.fragments.map((fragment) => {
    const wrong = compareFragment(compared, fragment, worst);
    return wrong === null ? null : `fragment ${fragment.id}: ${wrong}`;
  });
  return { sentence: sentences.find((sentence) => sentence !== null) ?? null, measurements: worst.measurements };
}

function compareFragment(compared: StatesCompared, fragment: Fragment, worst: Worst): string | null {
  const { replayed, answered, base, bounds, steps } = compared;
  const { params, selectionBiases } = compared.ranges[fragment.id]!;
  const update = likenessOf(replayed.params, answered.params, base, params);
  const first = likenessOf(replayed.firstMoments, answered.firstMoments, null, params);
  const second = likenessOf(replayed.secondMoments, answered.secondMoments, null, params);
  const drift = driftOf(replayed.selectionBiases, answered.selectionBiases, selectionBiases);
  const reach = compared.selectionBiasRate * steps;
  const biasDrift = drift === 0 ? 0 : drift < maxRatio * reach ? drift / reach : maxRatio;
  worst.low('cosine', update.cosine);
  worst.high('normRatio', update.normRatio);
  worst.low('momentCosine', Math.min(first.cosine, second.cosine));
  worst.high('momentRatio', Math.max(first.normRatio, second.normRatio));
  worst.high('biasDrift', biasDrift);
  const faults = [
    unlike('its update', update, bounds, steps),
    apart('the first moments', first),
    apart('the second moments', second),
    biasDrift <= maxBiasDrift ? null : `selection biases lie ${biasDrift.toPrecision(3)} of their reach apart`,
    compareSnapshots(compared, fragment, worst),
  ];
  return faults.find((sentence) => sentence !== null) ?? null;
}

const apart = (what: string, { normRatio }: Likeness): string | null =>
  normRatio <= maxMomentRatio ? null : `norms of ${what} differ ${normRatio.toPrecision(4)} times`;

/** Anchor and residue, which only a claim makes another machine's. */
function compareSnapshots(compared: StatesCompared, fragment: Fragment, worst: Worst): string | null {
  const { id } = fragment;
  const move = compared.moves.get(id);
  const [mine, theirs] = [compared.replayed.anchors[id]!, compared.answered.anchors[id]!];
  const [residue, theirResidue] = [compared.replayed.residues[id]!, compared.answered.residues[id]!];
  const isAnchorKnown = move !== 'claim';
  if (isAnchorKnown && !(isEqual(mine.params, theirs.params) && isEqual(mine.selectionBias, theirs.selectionBias)))
    return 'its anchor is not the version that was taken in';
  if (move === undefined)
    return isEqual(residue, theirResidue) ? null : 'its residue changed although nothing was claimed';
  const rest = likenessOf(residue, theirResidue, null);
  worst.high('residueRatio', rest.normRatio);
  if (rest.normRatio > maxResidueRatio) return `norms of the residue differ ${rest.normRatio.toPrecision(4)} times`;
  if (isAnchorKnown) return null;
  const base = gatherRanges(compared.base, compared.ranges[id]!.params, fragment.elementCount);
  const anchor = likenessOf(mine.params, theirs.params, base);
  return unlike('its anchor', anchor, compared.bounds, compared.steps);
}

function unlike(what: string, likeness: Likeness, bounds: ReplayBounds, steps: number): string | null {
  const { cosine, normRatio, difference } = likeness;
  if (difference <= roundingOf(steps)) return null;
  if (cosine < bounds.minCosine)
    return `${what} has cosine ${cosine.toPrecision(4)}, at least ${bounds.minCosine} is due`;
  if (normRatio > bounds.maxNormRatio)
    return `norms of ${what} differ ${normRatio.toPrecision(4)} times, at most ${bounds.maxNormRatio} is allowed`;
  return null;
}

function driftOf(a: Float32Array, b: Float32Array, ranges: readonly Range[]): number {
  let [sum, count] = [0, 0];
  for (const [from, to] of ranges) {
    for (let i = from; i < to; i++) sum += Math.abs(a[i]! - b[i]!);
    count += to - from;
  }
  return count === 0 ? 0 : sum / count;
}

/** Bit for bit but for the sign of zero. */
const isEqual = (a: Float32Array, b: Float32Array): boolean => a.every((value, i) => value === b[i]);

class Worst {
  readonly #values: Record<string, number> = {};

  get measurements(): Readonly<Record<string, number>> {
    return this.#values;
  }

  low(name: string, value: number): void {
    this.#values[name] = Math.min(value, this.#values[name] ?? value);
  }

  high(name: string, value: number): void {
    this.#values[name] = Math.max(value, this.#values[name] ?? value);
  }
}
