/**
 * @file Merge rules: from shares, clip factors and norms to one coefficient per learner and range. What is merged is
 * then Σ coefficient·Δ in float64 in merge order, rounded to float32 once.
 *
 * - `mean`: coefficient = share × clip.
 * - `rda` (radial-directional averaging, arXiv:2604.21428): the merged norm is the weighted mean of the clipped norms,
 *   the direction that of the weighted mean of the unit pseudo-gradients, over the fragment without its embeddings;
 *   embeddings are averaged directly, since their rows are touched by different learners' tokens.
 */
import type { Fragment } from './fragment-plan.ts';
import type { Range } from './norms.ts';

export type LinearRule = 'mean' | 'rda';
export const robustRules = ['trimmed-mean', 'median', 'centred-clip'] as const;
export type RobustRule = (typeof robustRules)[number];
/** The others give no coefficients: `robust.ts`. */
export type MergeRule = LinearRule | RobustRule;

/** A learner's part in the merge, in merge order. */
export interface Weighed {
  /** Normalised: tokens / (1 + staleness) over the sum of all. */
  readonly share: number;
  readonly clip: number;
}

export interface MergeSegment extends Range {
  /** In merge order. */
  readonly coefficients: readonly number[];
}

/** Sums over ranges of the packed fragment that rda asks for. */
export interface NormOracle {
  /** Σ over ranges of learner m's squares. */
  squares(learner: number, ranges: readonly Range[]): number;
  /** Σ over ranges of the squares of Σ_m w_m·Δ_m. */
  combinedSquares(weights: readonly number[], ranges: readonly Range[]): number;
}

const isEmbedding = (name: string): boolean => /(^|\.)(word_embeddings\.weight|embed_tables)$/.test(name);

/** The packed fragment cut into embedding and other ranges; neighbours of one sort are joined. */
export function splitEmbeddings(fragment: Fragment): { readonly embedding: Range[]; readonly other: Range[] } {
  const split = { embedding: [] as Range[], other: [] as Range[] };
  for (const { name, offset, length } of fragment.slices) {
    const list = isEmbedding(name) ? split.embedding : split.other;
    const last = list.at(-1);
    if (last?.to === offset) list[list.length - 1] = { from: last.from, to: offset + length };
    else list.push({ from: offset, to: offset + length });
  }
  return split;
}

export function planSegments(
  rule: LinearRule,
  fragment: Fragment,
  learners: readonly Weighed[],
  oracle: NormOracle,
): readonly MergeSegment[] {
  const means = learners.map(({ share, clip }) => share * clip);
  if (rule === 'mean') return [{ from: 0, to: fragment.elementCount, coefficients: means }];
  const { embedding, other } = splitEmbeddings(fragment);
  const directed = other.length === 0 ? [] : directedCoefficients(learners, other, oracle);
  return [
    ...embedding.map((range) => ({ ...range, coefficients: means })),
    ...other.map((range) => ({ ...range, coefficients: directed })),
  ];
}

/** s_m / n_m · N / ‖Σ s_m Δ_m / n_m‖ with N = Σ s_m c_m n_m; a zero pseudo-gradient has no direction and adds none. */
function directedCoefficients(
  learners: readonly Weighed[],
  ranges: readonly Range[],
  oracle: NormOracle,
): readonly number[] {
  const norms = learners.map((_, m) => Math.sqrt(oracle.squares(m, ranges)));
  const units = unitShares(learners, norms);
  const scale = directedScale(learners, norms, Math.sqrt(oracle.combinedSquares(units, ranges)));
  return units.map((unit) => unit * scale);
}

/** s_m / n_m */
export const unitShares = (learners: readonly Weighed[], norms: readonly number[]): number[] =>
  learners.map(({ share }, m) => (norms[m]! > 0 ? share / norms[m]! : 0));

/** N / `length`, the length of the sum of the unit pseudo-gradients times their shares. */
export function directedScale(learners: readonly Weighed[], norms: readonly number[], length: number): number {
  let meanNorm = 0;
  learners.forEach(({ share, clip }, m) => {
    meanNorm += share * clip * norms[m]!;
  });
  return length > 0 ? meanNorm / length : 0; // opposed directions that cancel merge to nothing
}
