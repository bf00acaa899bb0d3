/** @file The split of an epoch's emission, to the rao. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { payEmission, splitRao } from './emission.ts';

describe('payment', () => {
  it('gives 18 % to the owner and a half of the rest to each side; without servers validators get all', () => {
    expect(payEmission(1_000n, { incentive: [0, 1], dividends: [1, 0] })).toEqual({
      ownerRao: 180n,
      serverRao: [0n, 410n],
      validatorRao: [410n, 0n],
    });
    expect(payEmission(1_000n, { incentive: [0, 0, 0], dividends: [0.75, 0.25, 0] })).toEqual({
      ownerRao: 180n,
      serverRao: [0n, 0n, 0n],
      validatorRao: [615n, 205n, 0n],
    });
    expect(payEmission(1_001n, { incentive: [0], dividends: [0] }).ownerRao).toBe(1_001n);
  });

  it('loses no rao and pays no share of zero, whatever the shares', () => {
    const shares = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 10n ** 16n }), shares, shares, (emission, incentive, dividends) => {
        const size = Math.min(incentive.length, dividends.length);
        const rounded = (values: number[]) => values.slice(0, size).map((v) => (v < 1e-6 ? 0 : v));
        const split = { incentive: rounded(incentive), dividends: rounded(dividends) };
        const paid = payEmission(emission, split);
        const total = [paid.ownerRao, ...paid.serverRao, ...paid.validatorRao].reduce((a, b) => a + b, 0n);
        expect(total).toBe(emission);
        for (const [i, share] of split.incentive.entries()) if (share === 0) expect(paid.serverRao[i]).toBe(0n);
        for (const rao of [...paid.serverRao, ...paid.validatorRao]) expect(rao >= 0n).toBe(true);
      }),
      { seed: 24, numRuns: 200 },
    );
  });

  it('gives what rounding leaves to the largest remainders, lower uid first', () => {
    expect(splitRao(10n, [1, 1, 1])).toEqual([4n, 3n, 3n]);
    expect(splitRao(5n, [0.5, 0, 0.25, 0.25])).toEqual([3n, 0n, 1n, 1n]);
    expect(splitRao(0n, [1, 2])).toEqual([0n, 0n]);
  });
});
