/**
 * @file One outer step of a fragment that does not fit into memory: what `mergeFragment` computes, to the bit, from readers
 * of ranges to sinks of bytes. A window of each learner is in memory at a time.
 *
 * Passes: the norms of all claims (which read every number and check it); for `rda` two more over the numbers; then the
 * outer step, in the order in which a state's file has its tensors. `centred-clip` looks at all of a claim at once and is refused.
 */

import { f32BytesOf } from './codecs/f32.ts';
import { stateLayout } from './codecs/fragment-file.ts';
import type { FragmentReader } from './codecs/fragment-reader.ts';

import { MergeError } from './errors.ts';
import type { Fragment, TensorSlice } from './fragment-plan.ts';
import { LearnerBlocks } from './learner-blocks.ts';
import {
  applySegment,
  type ClaimTerms,
  checkTerms,
  inMergeOrder,
  type MergeResult,
  type MergeTerms,
  mergeSelectionBias,
  normOf,
  reportOf,
  weigh,
} from './merge-fragment.ts';
import { pieceElements, type Range, sumLanes } from './norms.ts';
import { combineRobustly, type ElementwiseRule, elementwiseRules } from './robust.ts';
import { directedScale, type MergeRule, splitEmbeddings, unitShares, type Weighed } from './rules.ts';
import { Staging } from './staging.ts';

/** Takes the bytes of a file in order. */
export interface ByteSink {
  write(bytes: Uint8Array): Promise<void>;
}

/** Numbers of a fragment by range; of `FragmentReader`. */
export type RangeReader = Pick<FragmentReader, 'read' | 'selectionBias'>;

export interface StreamedClaim extends ClaimTerms {
  readonly reader: RangeReader;
}

export interface StreamedMerge extends MergeTerms {
  readonly fragment: Fragment;
  readonly theta: RangeReader;
  /** Null: zeros. */
  readonly momentum: RangeReader | null;
  readonly claims: readonly StreamedClaim[];
  /** Called once the norms are known and every claim was read once: the readers' bytes are then known to be theirs. */
  readonly onRead?: () => Promise<void>;
  readonly sinks: { readonly theta: ByteSink; readonly momentum: ByteSink };
}

/** Bytes of all windows together. */
const windowBudgetBytes = 64 * 2 ** 20;
const leastWindow = 4096;

/** Elements of a window where `count` of them are in memory: a multiple of 4,096, at most a piece. */
export function windowElements(count: number, budgetBytes = windowBudgetBytes): number {
  const fit = Math.floor(budgetBytes / 4 / count / leastWindow) * leastWindow;
  return Math.min(pieceElements, Math.max(leastWindow, fit));
}

/** As `mergeFragment`. The sinks may be half written after an error. @throws MergeError; CodecError of a claim's values */
export async function mergeStreamed(
  merge: StreamedMerge,
  windowLength = windowElements(merge.claims.length + 2),
): Promise<Pick<MergeResult, 'claims' | 'cohort'>> {
  if (merge.rule === 'centred-clip')
    throw new MergeError(
      'TOO_LARGE',
      'centred-clip needs all of its claims in memory; choose another rule, or smaller fragments',
    );
  const claims = inMergeOrder(merge.claims);
  for (const claim of claims) checkTerms(claim);
  const windows = new Windows(claims, windowLength);
  const norms: number[] = [];
  for (const claim of claims) norms.push(normOf(claim, await windows.squares(claim, merge.fragment)));
  const weighed = weigh(claims, norms, merge);
  await merge.onRead?.();
  const coefficients = await coefficientsOf(merge, weighed.weighed, windows);
  const biases = await biasesOf(merge, claims, weighed.weighed, windows.staging);
  await writeStates(merge, { windows, weighed: weighed.weighed, coefficients, biases });
  return reportOf(claims, weighed);
}

/** Coefficients for embeddings and for the rest; null where a robust rule makes one pseudo-gradient first. */
type Coefficients = { readonly embedding: readonly number[]; readonly other: readonly number[] } | null;

const isElementwise = (rule: MergeRule): rule is ElementwiseRule =>
  (elementwiseRules as readonly string[]).includes(rule);

async function coefficientsOf(
  merge: StreamedMerge,
  weighed: readonly Weighed[],
  windows: Windows,
): Promise<Coefficients> {
  if (isElementwise(merge.rule)) return null;
  const means = weighed.map(({ share, clip }) => share * clip);
  if (merge.rule === 'mean') return { embedding: means, other: means };
  const { other } = splitEmbeddings(merge.fragment);
  if (other.length === 0) return { embedding: means, other: means };
  const norms = (await windows.squaresOver(other)).map(Math.sqrt);
  const units = unitShares(weighed, norms);
  const length = Math.sqrt(await windows.combinedSquares(units, other));
  return { embedding: means, other: units.map((unit) => unit * directedScale(weighed, norms, length)) };
}

async function biasesOf(
  { fragment: { selectionBiasCount }, theta }: StreamedMerge,
  claims: readonly StreamedClaim[],
  weighed: readonly Weighed[],
  staging: Staging,
): Promise<Float32Array> {
  const merged = await theta.selectionBias(selectionBiasCount);
  const own: Float32Array[] = [];
  for (const { reader } of claims) own.push(await reader.selectionBias(selectionBiasCount));
  mergeSelectionBias(staging, merged, own, weighed);
  return merged;
}

interface Prepared {
  readonly windows: Windows;
  readonly weighed: readonly Weighed[];
  readonly coefficients: Coefficients;
  readonly biases: Float32Array;
}

async function writeStates(merge: StreamedMerge, { windows, weighed, coefficients, biases }: Prepared): Promise<void> {
  const { fragment, sinks } = merge;
  const { header, order } = stateLayout(fragment);
  const embeddings = splitEmbeddings(fragment).embedding;
  for (const sink of [sinks.theta, sinks.momentum]) await sink.write(header);
  for (const { slice, isBias } of order) {
    if (isBias) {
      await sinks.theta.write(f32BytesOf(biases.subarray(slice.offset, slice.offset + slice.length)));
      await sinks.momentum.write(new Uint8Array(4 * slice.length));
      continue;
    }
    const isEmbedding = embeddings.some(({ from, to }) => slice.offset >= from && slice.offset < to);
    const own = coefficients === null ? null : isEmbedding ? coefficients.embedding : coefficients.other;
    await writeSlice(merge, slice, { windows, weighed, coefficients: own });
  }
}

async function writeSlice(
  merge: StreamedMerge,
  { offset, length }: TensorSlice,
  {
    windows,
    weighed,
    coefficients,
  }: Pick<Prepared, 'windows' | 'weighed'> & { readonly coefficients: readonly number[] | null },
): Promise<void> {
  const end = offset + length;
  for (let from = offset; from < end; from += windows.length) {
    const to = Math.min(end, from + windows.length);
    const learners = await windows.load({ from, to });
    const [theta, momentum] = windows.targets(to - from);
    await merge.theta.read(from, theta);
    if (merge.momentum === null) momentum.fill(0);
    else await merge.momentum.read(from, momentum);
    const combined =
      coefficients === null
        ? [
            combineRobustly(merge.rule as ElementwiseRule, {
              pseudoGradients: learners,
              learners: weighed,
              trim: merge.trim ?? 0,
            }),
          ]
        : learners;
    const segment = { from: 0, to: to - from, coefficients: coefficients ?? [1] };
    applySegment(new LearnerBlocks(windows.staging, combined), segment, theta, momentum, merge.outer);
    await merge.sinks.theta.write(f32BytesOf(theta));
    await merge.sinks.momentum.write(f32BytesOf(momentum));
  }
}

/** One window of each claim and of what is written, in kernel memory. */
class Windows {
  readonly length: number;
  readonly staging: Staging;
  readonly #claims: readonly StreamedClaim[];
  readonly #learners: readonly Float32Array[];
  readonly #targets: readonly [Float32Array, Float32Array];

  constructor(claims: readonly StreamedClaim[], length: number) {
    this.length = length;
    this.#claims = claims;
    this.staging = new Staging((claims.length + 2) * (4 * length + 64));
    this.#learners = claims.map(() => this.staging.residentArray(length));
    this.#targets = [this.staging.residentArray(length), this.staging.residentArray(length)];
  }

  targets(length: number): readonly [Float32Array, Float32Array] {
    return [this.#targets[0].subarray(0, length), this.#targets[1].subarray(0, length)];
  }

  async load({ from, to }: Range): Promise<readonly Float32Array[]> {
    const windows = this.#learners.map((window) => window.subarray(0, to - from));
    for (const [m, { reader }] of this.#claims.entries()) await reader.read(from, windows[m]!);
    return windows;
  }

  /** Σ x² of one claim over the whole fragment. */
  squares({ reader }: StreamedClaim, { elementCount }: Fragment): Promise<number> {
    const [window] = this.#targets;
    return this.#sum([{ from: 0, to: elementCount }], async ({ from, to }) => {
      const x = window.subarray(0, to - from);
      await reader.read(from, x);
      return { x: [x], weights: [1] };
    });
  }

  /** Of each claim over the ranges. */
  async squaresOver(ranges: readonly Range[]): Promise<number[]> {
    const [window] = this.#targets;
    const sums: number[] = [];
    for (const { reader } of this.#claims)
      sums.push(
        await this.#sum(ranges, async ({ from, to }) => {
          const x = window.subarray(0, to - from);
          await reader.read(from, x);
          return { x: [x], weights: [1] };
        }),
      );
    return sums;
  }

  /** Σ over the ranges of the squares of Σ_m w_m·Δ_m. */
  combinedSquares(weights: readonly number[], ranges: readonly Range[]): Promise<number> {
    return this.#sum(ranges, async (range) => ({ x: await this.load(range), weights }));
  }

  /** In the pieces and lanes of `norms.ts`. */
  async #sum(
    ranges: readonly Range[],
    load: (window: Range) => Promise<{ readonly x: readonly Float32Array[]; readonly weights: readonly number[] }>,
  ): Promise<number> {
    let total = 0;
    for (const range of ranges) {
      let sum = 0;
      for (let piece = range.from; piece < range.to; piece += pieceElements) {
        const end = Math.min(range.to, piece + pieceElements);
        const lanes = new Float64Array(16);
        for (let from = piece; from < end; from += this.length) {
          const to = Math.min(end, from + this.length);
          const { x, weights } = await load({ from, to });
          new LearnerBlocks(this.staging, x).addSquares(weights, { from: 0, to: to - from }, lanes);
        }
        sum += sumLanes(lanes);
      }
      total += sum;
    }
    return total;
  }
}
