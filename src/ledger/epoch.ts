/**
 * @file The epoch of one subnet, pure: from stake and weights to consensus, incentive, dividends, permits and payment.
 * Names and order of steps follow Bittensor's `run_epoch.rs`. Here now: stake-weighted median, clipping, ranks. Bonds without
 * memory: a validator's bond to a server is its clipped weight times its stake of this epoch alone.
 */
import { assert } from '../util/errors.ts';

export interface EpochNeuron {
  readonly uid: number;
  readonly stakeRao: bigint;
  /** Permit in force during this epoch. */
  readonly validatorPermit: boolean;
  /** The row this neuron set last: u16 by uid; empty if it set none. */
  readonly weights: ReadonlyMap<number, number>;
  /** Block of that row; null if it set none. */
  readonly lastUpdateBlock: number | null;
  readonly registeredAtBlock: number;
}

export interface EpochParams {
  /** Consensus majority, as u16: a weight counts as far as stake of this share agrees. */
  readonly kappa: number;
  /** Validator permits that are given, to the largest stakes. */
  readonly maxValidators: number;
  /** Rows set earlier than this many blocks ago no longer count. */
  readonly activityCutoffBlocks: number;
}

/** One entry per neuron, in the order given. */
export interface EpochResult {
  readonly consensus: readonly number[];
  readonly validatorTrust: readonly number[];
  /** Sums to 1, or all zero. */
  readonly incentive: readonly number[];
  /** Sums to 1, or all zero when nobody has stake. */
  readonly dividends: readonly number[];
  readonly validatorPermits: readonly boolean[];
}

export function runEpoch(neurons: readonly EpochNeuron[], params: EpochParams, atBlock: number): EpochResult {
  const stake = normalise(neurons.map(({ stakeRao }) => Number(stakeRao)));
  const isActive = ({ lastUpdateBlock }: EpochNeuron) =>
    lastUpdateBlock !== null && lastUpdateBlock + params.activityCutoffBlocks >= atBlock;
  const activeStake = normalise(stake.map((s, i) => (neurons[i]!.validatorPermit && isActive(neurons[i]!) ? s : 0)));
  const rows = neurons.map((neuron, i) => (activeStake[i]! > 0 ? weightRow(neuron, neurons) : null));

  const kappa = params.kappa / 65_535;
  const consensus = neurons.map((_, j) => weightedMedian(activeStake, (i) => rows[i]?.[j] ?? 0, kappa));
  const clipped = rows.map((row) => row?.map((w, j) => Math.min(w, consensus[j]!)) ?? null);
  const rank = neurons.map((_, j) => sum(clipped.map((row, i) => activeStake[i]! * (row?.[j] ?? 0))));
  const incentive = normalise(rank);
  const bonds = clipped.map((row, i) => sum((row ?? []).map((w, j) => activeStake[i]! * w * incentive[j]!)));
  const earned = normalise(bonds);
  const dividends = isZero(earned) ? (isZero(activeStake) ? stake : activeStake) : earned;
  return {
    consensus,
    validatorTrust: clipped.map((row) => sum(row ?? [])),
    incentive,
    dividends,
    validatorPermits: largestStakes(neurons, params.maxValidators),
  };
}

/** W_i normalised; without the diagonal, and without servers that registered after the row was set. */
function weightRow(neuron: EpochNeuron, neurons: readonly EpochNeuron[]): number[] {
  return normalise(
    neurons.map((server) =>
      server.uid === neuron.uid || neuron.lastUpdateBlock! <= server.registeredAtBlock
        ? 0
        : (neuron.weights.get(server.uid) ?? 0),
    ),
  );
}

/**
 * The largest w such that stake of at least kappa gives w or more; stakes are normalised to sum 1. Tie rules of
 * the chain: the first score, from below, at which the stake up to and with it exceeds 1 − kappa.
 */
export function weightedMedian(stake: readonly number[], score: (row: number) => number, kappa: number): number {
  const rows = stake.flatMap((s, i) => (s > 0 ? [{ s, w: score(i) }] : [])).sort((a, b) => a.w - b.w);
  const minority = sum(rows.map(({ s }) => s)) - kappa;
  let below = 0;
  for (const { s, w } of rows) {
    below += s;
    if (below > minority) return w;
  }
  return rows.at(-1)?.w ?? 0;
}

/** Permits go to the K largest stakes above zero; of equal ones the higher uid wins, as on the chain. */
function largestStakes(neurons: readonly EpochNeuron[], count: number): boolean[] {
  const ranked = neurons
    .filter(({ stakeRao }) => stakeRao > 0n)
    .sort((a, b) => (a.stakeRao === b.stakeRao ? b.uid - a.uid : a.stakeRao < b.stakeRao ? 1 : -1));
  const permitted = new Set(ranked.slice(0, count).map(({ uid }) => uid));
  return neurons.map(({ uid }) => permitted.has(uid));
}

export interface Payment {
  readonly ownerRao: bigint;
  /** What each neuron gets for serving and for validating, in the order of the shares. */
  readonly serverRao: readonly bigint[];
  readonly validatorRao: readonly bigint[];
}

/**
 * 18 % to the owner, the rest in halves to servers by incentive and to validators by dividends. Without any incentive
 * validators get the servers' half too; with nobody to pay the owner gets all. The parts sum to `emissionRao` exactly.
 */
export function payEmission(
  emissionRao: bigint,
  shares: { readonly incentive: readonly number[]; readonly dividends: readonly number[] },
): Payment {
  const { incentive, dividends } = shares;
  const none = incentive.map(() => 0n);
  if (isZero(dividends) && isZero(incentive)) {
    return { ownerRao: emissionRao, serverRao: none, validatorRao: none };
  }
  const ownerRao = (emissionRao * 18n) / 100n;
  const half = (emissionRao - ownerRao) / 2n;
  const serversRao = isZero(incentive) ? 0n : isZero(dividends) ? emissionRao - ownerRao : half;
  const validatorsRao = emissionRao - ownerRao - serversRao;
  return {
    ownerRao,
    serverRao: isZero(incentive) ? none : splitRao(serversRao, incentive),
    validatorRao: isZero(dividends) ? none : splitRao(validatorsRao, dividends),
  };
}

/** Splits by shares, without losing a rao: what rounding leaves goes to the largest remainders, lower index first. */
export function splitRao(totalRao: bigint, shares: readonly number[]): bigint[] {
  const parts = shares.map((share) => BigInt(Math.round(share * 2 ** 40)));
  const whole = parts.reduce((a, b) => a + b, 0n);
  assert(whole > 0n, 'splitRao: at least one share must be above 0');
  const paid = parts.map((part) => (totalRao * part) / whole);
  let left = totalRao - paid.reduce((a, b) => a + b, 0n);
  const byRemainder = parts
    .map((part, i) => ({ i, remainder: (totalRao * part) % whole }))
    .sort((a, b) => (a.remainder === b.remainder ? a.i - b.i : a.remainder < b.remainder ? 1 : -1));
  for (const { i } of byRemainder) {
    if (left === 0n) break;
    paid[i]! += 1n;
    left--;
  }
  return paid;
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
const isZero = (values: readonly number[]): boolean => values.every((value) => value === 0);

/** Scaled to sum 1; all zero stays so. */
function normalise(values: readonly number[]): number[] {
  const total = sum(values);
  return values.map((value) => (total > 0 ? value / total : 0));
}
