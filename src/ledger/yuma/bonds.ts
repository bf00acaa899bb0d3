/**
 * @file Bonds of Yuma consensus: a validator's standing in each server, as a moving average. Version 2 averages shares of
 * stake per server, version 3 the weights themselves, with liquid alpha at a rate for each pair. Rows are dense,
 * I32F32, null for who has none.
 */
import { div, fromU16, mul, one, safeExp, toU16 } from './fixed.ts';

export type Row = Float64Array | null;
/** A row as the chain stores it: u16 by uid, ascending. */
export type SparseRow = readonly (readonly [uid: number, value: number])[];

export interface BondParams {
  readonly version: 2 | 3;
  readonly liquidAlpha: boolean;
  /** β as u16: how far bonds follow clipped weights. */
  readonly bondsPenalty: number;
  /** Of 1,000,000: what is kept of the old bonds. */
  readonly bondsMovingAverage: number;
  readonly alphaLow: number;
  readonly alphaHigh: number;
  /** In hundredths. */
  readonly alphaSigmoidSteepness: number;
  /**
   * The chain's code has two: its live one, `sparse`, drops an old bond at once when liquid alpha is on and the server is no longer
   * weighted; the one of its test tables, `dense`, lets it decay.
   */
  readonly path: 'sparse' | 'dense';
}

export interface BondInputs {
  readonly n: number;
  readonly weights: readonly Row[];
  readonly clipped: readonly Row[];
  readonly stake: Float64Array;
  readonly consensus: Float64Array;
  /** As stored, without columns that registered since the last epoch. */
  readonly before: readonly SparseRow[];
}

/** Σ over validators per column. */
function columnSums(rows: readonly Row[], n: number): Float64Array {
  const sums = new Float64Array(n);
  for (const row of rows) if (row !== null) for (let j = 0; j < n; j++) sums[j]! += row[j]!;
  return sums;
}

const mapRows = (rows: readonly Row[], map: (value: number, j: number, i: number) => number): Row[] =>
  rows.map((row, i) => row?.map((value, j) => (value === 0 ? 0 : map(value, j, i))) ?? null);

export function columnNormalise(rows: readonly Row[], n: number): Row[] {
  const sums = columnSums(rows, n);
  return mapRows(rows, (value, j) => div(value, sums[j]!));
}

/** W + β(W̄ − W), floored towards W̄ as the chain's signed product is. */
function weightsForBonds({ weights, clipped }: BondInputs, bondsPenalty: number): readonly Row[] {
  const beta = fromU16(bondsPenalty);
  if (beta === 0) return weights;
  if (beta === one) return clipped;
  return mapRows(weights, (w, j, i) => {
    const cut = w - clipped[i]![j]!;
    const product = mul(beta, cut);
    // The chain floors −β·cut: away from zero unless it is whole.
    const isWhole = (BigInt(beta) * BigInt(cut)) % BigInt(one) === 0n;
    return w - product - (isWhole ? 0 : 1);
  });
}

const rateOf = (bondsMovingAverage: number): number => one - div(bondsMovingAverage, 1_000_000);

/** E = (1 − α)B + αN, at one rate or at one for each pair. */
function average(
  fresh: readonly Row[],
  before: readonly Row[],
  n: number,
  rate: (i: number, j: number, fresh: number, old: number) => number,
): Row[] {
  return fresh.map((row, i) => {
    const old = before[i] ?? null;
    if (row === null && old === null) return null;
    const result = new Float64Array(n);
    for (let j = 0; j < n; j++) {
      const [now, then] = [row?.[j] ?? 0, old?.[j] ?? 0];
      if (now === 0 && then === 0) continue;
      const alpha = rate(i, j, now, then);
      result[j] = Math.min(one, mul(one - alpha, then) + mul(alpha, now));
    }
    return result;
  });
}

/** lo + σ(d)·(hi − lo): fast where a weight rises above consensus, or falls below its bond. */
function liquidAlpha(params: BondParams): (weight: number, bond: number, consensus: number) => number {
  const [low, high] = [fromU16(params.alphaLow), fromU16(params.alphaHigh)];
  const steepness = params.alphaSigmoidSteepness / 100;
  return (weight, bond, consensus) => {
    const difference = weight >= bond ? weight - consensus : bond - weight;
    const d = Math.min(one, Math.max(0, difference)) / one;
    const sigmoid = Math.floor(one / (1 + safeExp(-steepness * (d - 0.5))));
    return Math.min(high, Math.max(low, low + mul(sigmoid, high - low)));
  };
}

export interface BondOutcome {
  /** E, for dividends: normalised by column. */
  readonly normalised: readonly Row[];
  /** What is stored. */
  readonly stored: readonly SparseRow[];
}

export function moveBonds(inputs: BondInputs, params: BondParams): BondOutcome {
  return params.version === 2 ? moveShares(inputs, params) : moveWeights(inputs, params);
}

/** Version 2: B and s∘W̄ are shares of a column's whole; stored so that a column's largest is 65535. */
function moveShares(inputs: BondInputs, params: BondParams): BondOutcome {
  const { n, stake } = inputs;
  const before = columnNormalise(denseRows(inputs.before, n), n);
  const delta = mapRows(weightsForBonds(inputs, params.bondsPenalty), (w, _j, i) => mul(w, stake[i]!));
  const rate = rateOf(params.bondsMovingAverage);
  const normalised = columnNormalise(
    average(columnNormalise(delta, n), before, n, () => rate),
    n,
  );
  const largest = new Float64Array(n);
  for (const row of normalised)
    row?.forEach((value, j) => {
      largest[j] = Math.max(largest[j]!, value);
    });
  return { normalised, stored: sparseRows(mapRows(normalised, (value, j) => div(value, largest[j]!))) };
}

/** Version 3: B and W as proportions of 65535. */
function moveWeights(inputs: BondInputs, params: BondParams): BondOutcome {
  const { n, consensus } = inputs;
  const before = mapRows(denseRows(inputs.before, n), fromU16);
  const fresh = weightsForBonds(inputs, params.bondsPenalty);
  const isLiquid = params.liquidAlpha && consensus.some((c) => c !== 0);
  const fixed = rateOf(params.bondsMovingAverage);
  const alphaOf = liquidAlpha(params);
  const moved = average(fresh, before, n, (_i, j, now, then) => (isLiquid ? alphaOf(now, then, consensus[j]!) : fixed));
  if (isLiquid && params.path === 'sparse') {
    // Only pairs of the new weights survive (`mat_ema_alpha_sparse`).
    moved.forEach((row, i) => {
      row?.forEach((_, j) => {
        if ((fresh[i]?.[j] ?? 0) === 0) row[j] = 0;
      });
    });
  }
  return { normalised: columnNormalise(moved, n), stored: sparseRows(moved) };
}

/** u16 counts as they are: their scale falls out of a normalisation. */
function denseRows(rows: readonly SparseRow[], n: number): Row[] {
  return rows.map((row) => {
    if (row.length === 0) return null;
    const dense = new Float64Array(n);
    for (const [j, value] of row) dense[j] = value;
    return dense;
  });
}

const sparseRows = (rows: readonly Row[]): SparseRow[] =>
  rows.map((row) => {
    const entries: [number, number][] = [];
    row?.forEach((value, j) => {
      const stored = toU16(value);
      if (stored > 0) entries.push([j, stored]);
    });
    return entries;
  });
