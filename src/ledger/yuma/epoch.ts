/**
 * @file An epoch of Yuma consensus as Bittensor's runtime computes it, in its fixed point and its order of steps: from stake,
 * weights and bonds to consensus, trust, incentive, dividends, bonds and permits. Pure. Legend, as in the chain's `run_epoch`:
 * S stake, s active stake, W weights, W̄ weights clipped to the consensus C, R ranks, I incentive, B bonds, D dividends.
 */
import { type BondParams, moveBonds, type Row, type SparseRow } from './bonds.ts';
import { fromU16, mul, normalise, normaliseRao, one, sum, toU16 } from './fixed.ts';
import { weightedMedian } from './median.ts';

export interface YumaNeuron {
  readonly stakeRao: bigint;
  /** Permit in force during this epoch. */
  readonly validatorPermit: boolean;
  /** The row that this neuron set last, u16 by uid. */
  readonly weights: SparseRow;
  readonly bonds: SparseRow;
  /** Block of that row; of the registration if it set none. */
  readonly lastUpdateBlock: number;
  readonly registeredAtBlock: number;
  /** Of the earliest commit that can still be revealed, where weights are committed first. */
  readonly commitBlock: number | null;
}

export interface YumaParams extends BondParams {
  readonly kappa: number;
  readonly maxValidators: number;
  readonly activityCutoffBlocks: number;
  readonly stakeThresholdRao: bigint;
  /** Its permit is forced, and it may weigh itself. */
  readonly ownerUid: number | null;
}

/** One entry per neuron, I32F32 where nothing else is said. */
export interface YumaResult {
  readonly consensus: Float64Array;
  readonly validatorTrust: Float64Array;
  readonly incentive: Float64Array;
  readonly dividends: Float64Array;
  /** Shares of the epoch's emission: servers' and validators' halves; sum at most 1. */
  readonly serverShare: Float64Array;
  readonly validatorShare: Float64Array;
  /** u16; empty for who has no permit after this epoch. */
  readonly bonds: readonly SparseRow[];
  readonly validatorPermits: readonly boolean[];
  readonly isActive: readonly boolean[];
}

export interface EpochTime {
  readonly atBlock: number;
  /** Bonds in servers that registered at or after this block are dropped. */
  readonly lastTempoBlock: number;
}

export function runYuma(neurons: readonly YumaNeuron[], params: YumaParams, time: EpochTime): YumaResult {
  const n = neurons.length;
  const { ownerUid } = params;
  const isActive = neurons.map(({ lastUpdateBlock }) => lastUpdateBlock + params.activityCutoffBlocks >= time.atBlock);
  const stake = normaliseRao(
    neurons.map(({ stakeRao }, i) => (stakeRao >= params.stakeThresholdRao || i === ownerUid ? stakeRao : 0n)),
  );
  const mayWeigh = neurons.map(({ validatorPermit }, i) => validatorPermit || i === ownerUid);
  const active = normalise(stake.map((s, i) => (isActive[i]! && mayWeigh[i]! ? s : 0)));
  const weights = neurons.map((_, i) => (mayWeigh[i]! ? weightRow(neurons, i, ownerUid) : null));
  const consensus = consensusOf(weights, active, params.kappa);
  const clipped = weights.map((row): Row => row?.map((w, j) => Math.min(w, consensus[j]!)) ?? null);
  const incentive = normalise(weightedColumns(clipped, active));
  const before = neurons.map(({ bonds }) =>
    bonds.filter(([j]) => j < n && time.lastTempoBlock > neurons[j]!.registeredAtBlock),
  );
  const bonds = moveBonds({ n, weights, clipped, stake: active, consensus, before }, params);
  const dividends = dividendsOf(bonds.normalised, { incentive, active, version: params.version });
  const validatorPermits = largestStakes(stake, params.maxValidators, ownerUid);
  return {
    ...{ consensus, incentive, dividends, validatorPermits, isActive },
    validatorTrust: Float64Array.from(clipped, (row) => (row === null ? 0 : sum(row))),
    ...emissionShares({ incentive, dividends, active, stake }),
    bonds: bonds.stored.map((row, i) => (validatorPermits[i]! ? row : [])),
  };
}

/** W_i normalised: without the diagonal, and without servers that registered after the row was set or committed. */
function weightRow(neurons: readonly YumaNeuron[], i: number, ownerUid: number | null): Row {
  const { weights, lastUpdateBlock, commitBlock } = neurons[i]!;
  if (weights.length === 0) return null;
  const row = new Float64Array(neurons.length);
  for (const [j, value] of weights) {
    const server = neurons[j];
    if (server === undefined || (i === j && i !== ownerUid)) continue;
    if (lastUpdateBlock <= server.registeredAtBlock) continue;
    if (commitBlock !== null && commitBlock < server.registeredAtBlock) continue;
    row[j] = value;
  }
  return normalise(row);
}

function consensusOf(weights: readonly Row[], active: Float64Array, kappa: number): Float64Array {
  const n = weights.length;
  const voters = [...active.keys()].filter((i) => active[i]! > 0);
  const stake = normalise(Float64Array.from(voters, (i) => active[i]!));
  const minority = sum(stake) - fromU16(kappa);
  const score = new Float64Array(voters.length);
  return Float64Array.from({ length: n }, (_, j) => {
    voters.forEach((i, k) => {
      score[k] = weights[i]?.[j] ?? 0;
    });
    return weightedMedian(stake, score, minority);
  });
}

/** Σ_i s_i W_ij */
function weightedColumns(rows: readonly Row[], stake: Float64Array): Float64Array {
  const columns = new Float64Array(rows.length);
  rows.forEach((row, i) => {
    row?.forEach((w, j) => {
      columns[j]! += mul(stake[i]!, w);
    });
  });
  return columns;
}

interface DividendInputs {
  readonly incentive: Float64Array;
  readonly active: Float64Array;
  readonly version: 2 | 3;
}

/** D_i = Σ_j E_ij I_j; version 3, whose bonds hold no stake, times s_i. */
function dividendsOf(bonds: readonly Row[], { incentive, active, version }: DividendInputs): Float64Array {
  const earned = Float64Array.from(bonds, (row, i) => {
    let total = 0;
    row?.forEach((bond, j) => {
      total += mul(bond, incentive[j]!);
    });
    return version === 2 ? total : mul(total, active[i]!);
  });
  return normalise(earned);
}

interface ShareInputs {
  readonly incentive: Float64Array;
  readonly dividends: Float64Array;
  readonly active: Float64Array;
  readonly stake: Float64Array;
}

/** Each by the sum of both; if nobody earned anything, validators share all by (active) stake. */
function emissionShares({ incentive, dividends, active, stake }: ShareInputs) {
  const total = sum(incentive) + sum(dividends);
  if (total === 0) {
    return { serverShare: incentive.slice(), validatorShare: (sum(active) === 0 ? stake : active).slice() };
  }
  const half = (values: Float64Array) => values.map((value) => divideBy(value, total));
  return { serverShare: half(incentive), validatorShare: half(dividends) };
}

const divideBy = (value: number, total: number): number => Number((BigInt(value) << 32n) / BigInt(total));

/** Permits go to the K largest stakes above zero; of equal ones the higher uid wins; the owner has one always. */
function largestStakes(stake: Float64Array, count: number, ownerUid: number | null): boolean[] {
  const ranked = [...stake.keys()]
    .filter((uid) => stake[uid]! > 0)
    .sort((a, b) => (stake[a]! === stake[b]! ? b - a : stake[b]! - stake[a]!));
  const permitted = new Set(ranked.slice(0, count));
  return [...stake.keys()].map((uid) => permitted.has(uid) || uid === ownerUid);
}

/** A vector as the chain stores it. */
export const u16sOf = (values: Float64Array): number[] => Array.from(values, toU16);

/** A vector as shares of 1, for those who read. */
export const sharesOf = (values: Float64Array): number[] => Array.from(values, (value) => value / one);
