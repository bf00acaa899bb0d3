/** @file The epoch's pure rules: consensus, clipping, permits, and payment to the rao. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type EpochNeuron, payEmission, runEpoch, splitRao, weightedMedian } from './epoch.ts';

const kappa = 32_767 / 65_535;
const params = { kappa: 32_767, maxValidators: 3, activityCutoffBlocks: 100 };

function neurons(stakes: readonly number[], rows: Readonly<Record<number, readonly number[]>>): EpochNeuron[] {
  return stakes.map((stake, uid) => ({
    uid,
    stakeRao: BigInt(stake),
    validatorPermit: rows[uid] !== undefined,
    weights: new Map((rows[uid] ?? []).map((weight, server) => [server, weight])),
    lastUpdateBlock: rows[uid] === undefined ? null : 50,
    registeredAtBlock: 1,
  }));
}

describe('weightedMedian', () => {
  it("follows the chain's tie rules", () => {
    const cases: [string, number[], number[], number][] = [
      ['one row', [1], [0.4], 0.4],
      ['two equal stakes: half is just enough', [0.5, 0.5], [0, 0.7], 0.7],
      ['a majority of zeros', [0.3, 0.7], [0.9, 0], 0],
      ['a majority agrees', [0.3, 0.7], [0.1, 0.6], 0.6],
      ['all equal', [0.2, 0.3, 0.5], [0.5, 0.5, 0.5], 0.5],
      ['rows without stake take no part', [0, 1, 0], [0.9, 0.2, 0.8], 0.2],
      ['nobody', [0, 0], [1, 1], 0],
    ];
    for (const [what, stake, score, expected] of cases) {
      expect(
        weightedMedian(stake, (row) => score[row]!, kappa),
        what,
      ).toBe(expected);
    }
  });
});

describe('runEpoch', () => {
  it('clips a validator that praises what the majority does not', () => {
    const result = runEpoch(
      neurons([40, 40, 20, 0, 0], { 0: [0, 0, 0, 1, 0], 1: [0, 0, 0, 1, 0], 2: [0, 0, 0, 0, 1] }),
      params,
      60,
    );
    expect(result.consensus).toEqual([0, 0, 0, 1, 0]);
    expect(result.incentive).toEqual([0, 0, 0, 1, 0]);
    expect(result.validatorTrust).toEqual([1, 1, 0, 0, 0]);
    expect(result.dividends).toEqual([0.5, 0.5, 0, 0, 0]);
  });

  it('drops rows without permit, stale rows, self-weights, and servers younger than the row', () => {
    const base = neurons([10, 10, 10, 0, 0], { 0: [0, 0, 0, 1, 1], 1: [0, 0, 0, 1, 1] });
    const incentiveOf = (changed: EpochNeuron[], atBlock = 60) => runEpoch(changed, params, atBlock).incentive;
    expect(incentiveOf(base)).toEqual([0, 0, 0, 0.5, 0.5]);
    expect(incentiveOf(base, 151)).toEqual([0, 0, 0, 0, 0]);
    const without = base.map((neuron) => ({ ...neuron, validatorPermit: false }));
    expect(incentiveOf(without)).toEqual([0, 0, 0, 0, 0]);
    const young = base.map((neuron) => (neuron.uid === 4 ? { ...neuron, registeredAtBlock: 50 } : neuron));
    expect(incentiveOf(young)).toEqual([0, 0, 0, 1, 0]);
    const selfish = neurons([10, 0], { 0: [1, 0] });
    expect(incentiveOf(selfish)).toEqual([0, 0]);
  });

  it('gives permits to the largest stakes, of equal ones to the higher uid, never to none', () => {
    expect(runEpoch(neurons([5, 9, 5, 5, 0], {}), params, 60).validatorPermits).toEqual([
      false,
      true,
      true,
      true,
      false,
    ]);
    expect(runEpoch(neurons([0, 0, 1], {}), params, 60).validatorPermits).toEqual([false, false, true]);
  });

  it('without weights validators are paid by stake', () => {
    const result = runEpoch(neurons([3, 1, 0], {}), params, 60);
    expect(result.incentive).toEqual([0, 0, 0]);
    expect(result.dividends).toEqual([0.75, 0.25, 0]);
    expect(payEmission(1_000n, result)).toEqual({
      ownerRao: 180n,
      serverRao: [0n, 0n, 0n],
      validatorRao: [615n, 205n, 0n],
    });
  });

  it('with nobody there the owner gets all', () => {
    expect(payEmission(1_001n, runEpoch([], params, 60)).ownerRao).toBe(1_001n);
    expect(payEmission(1_001n, runEpoch(neurons([0, 0], {}), params, 60)).ownerRao).toBe(1_001n);
  });
});

describe('payment', () => {
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
