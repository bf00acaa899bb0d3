/** @file How an epoch's emission is split, to the rao: owner, servers, validators. */
import { assert } from '../util/errors.ts';

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

const isZero = (values: readonly number[]): boolean => values.every((value) => value === 0);
