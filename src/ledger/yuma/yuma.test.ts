/** @file Yuma consensus beside vectors of the chain itself, its fixed point beside bigint, and properties of an epoch. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { SparseRow } from './bonds.ts';
import { runYuma, u16sOf, type YumaNeuron, type YumaParams } from './epoch.ts';
import { div, mul, one, safeExp, sum } from './fixed.ts';
import { weightedMedian } from './median.ts';
import { checkVector, vectorFileSchema } from './vectors.ts';

const path = join(import.meta.dirname, '../../../tests/vectors/ledger/yuma.json');
const file = vectorFileSchema.parse(JSON.parse(readFileSync(path, 'utf8')));

describe('vectors of the chain', () => {
  for (const vector of file.vectors) {
    it(`${vector.id} (${vector.source})`, () => {
      const report = checkVector(vector);
      expect(report.beyond).toEqual([]);
      expect(report.compared).toBeGreaterThan(5);
    });
  }

  it('a changed expectation is seen', () => {
    const changed = structuredClone(file.vectors.find(({ id }) => id === 'runtime293_epoch_1_yuma2_B')!);
    if (changed.kind !== 'epoch_single_exact') throw new Error('expected a recorded epoch');
    changed.expect.incentive_u16[3]! += 1;
    changed.expect.validator_trust_u16[1]! -= 2;
    expect(checkVector(changed).beyond.map(({ what }) => what)).toEqual(['incentive[3]', 'validator trust[1]']);
  });
});

describe('fixed point', () => {
  it('floors as exact integers do', () => {
    const value = fc.integer({ min: 0, max: one });
    const divisor = fc.integer({ min: 1, max: 2 ** 42 - 1 });
    fc.assert(
      fc.property(value, value, divisor, (a, b, c) => {
        expect(mul(a, b)).toBe(Number((BigInt(a) * BigInt(b)) >> 32n));
        expect(div(a, c)).toBe(Number((BigInt(a) << 32n) / BigInt(c)));
      }),
      { seed: 7, numRuns: 500 },
    );
    expect([div(5, 0), div(0, 5), div(one, one), mul(one, one)]).toEqual([0, 0, one, one]);
  });

  it('e^x from additions and multiplications is e^x', () => {
    for (let x = -20; x <= 20; x += 0.37) expect(Math.abs(safeExp(x) / Math.exp(x) - 1), `x ${x}`).toBeLessThan(1e-14);
    expect(safeExp(99)).toBe(safeExp(20));
  });

  it('the weighted median is the largest score that enough stake reaches', () => {
    const rows = fc.array(fc.tuple(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 0, max: 9 })), { minLength: 1 });
    fc.assert(
      fc.property(rows, fc.integer({ min: 0, max: 100 }), (entries, part) => {
        const stake = entries.map(([s]) => s);
        const total = sum(stake);
        const minority = Math.floor((total * part) / 101);
        const found = weightedMedian(
          stake,
          entries.map(([, score]) => score),
          minority,
        );
        const reach = (w: number) => entries.reduce((a, [s, score]) => a + (score >= w ? s : 0), 0);
        const scores = [...new Set(entries.map(([, score]) => score))].sort((a, b) => b - a);
        expect(found).toBe(scores.find((w) => reach(w) >= total - minority));
      }),
      { seed: 7, numRuns: 100 },
    );
  });
});

const params: YumaParams = {
  ...{ version: 2, liquidAlpha: false, path: 'sparse', kappa: 32_767, maxValidators: 3, activityCutoffBlocks: 100 },
  ...{ bondsPenalty: 65_535, bondsMovingAverage: 900_000, alphaLow: 45_875, alphaHigh: 58_982 },
  ...{ alphaSigmoidSteepness: 1_000, stakeThresholdRao: 0n, ownerUid: null },
};
const time = { atBlock: 60, lastTempoBlock: 40 };

function neurons(stakes: readonly number[], rows: Readonly<Record<number, SparseRow>>): YumaNeuron[] {
  return stakes.map((stake, uid) => ({
    stakeRao: BigInt(stake),
    validatorPermit: rows[uid] !== undefined,
    weights: rows[uid] ?? [],
    bonds: [],
    lastUpdateBlock: 50,
    registeredAtBlock: 1,
    commitBlock: null,
  }));
}

describe('an epoch', () => {
  it('clips a validator that praises what the majority does not', () => {
    const result = runYuma(neurons([40, 40, 20, 0, 0], { 0: [[3, 1]], 1: [[3, 1]], 2: [[4, 1]] }), params, time);
    expect(u16sOf(result.consensus)).toEqual([0, 0, 0, 65_535, 0]);
    expect(u16sOf(result.incentive)).toEqual([0, 0, 0, 65_535, 0]);
    expect(u16sOf(result.validatorTrust)).toEqual([65_535, 65_535, 0, 0, 0]);
    expect(u16sOf(result.dividends)).toEqual([32_767, 32_767, 0, 0, 0]);
  });

  it('drops rows without permit, stale rows, self-weights, and servers younger than the row or its commit', () => {
    const both: SparseRow = [
      [3, 1],
      [4, 1],
    ];
    const base = neurons([10, 10, 10, 0, 0], { 0: both, 1: both });
    const incentiveOf = (changed: YumaNeuron[], atBlock = 60, more: Partial<YumaParams> = {}) =>
      u16sOf(runYuma(changed, { ...params, ...more }, { ...time, atBlock }).incentive);
    expect(incentiveOf(base)).toEqual([0, 0, 0, 32_767, 32_767]);
    expect(incentiveOf(base, 151)).toEqual([0, 0, 0, 0, 0]);
    expect(incentiveOf(base.map((neuron) => ({ ...neuron, validatorPermit: false })))).toEqual([0, 0, 0, 0, 0]);
    const young = base.map((neuron, uid) => (uid === 4 ? { ...neuron, registeredAtBlock: 50 } : neuron));
    expect(incentiveOf(young)).toEqual([0, 0, 0, 65_535, 0]);
    const committed = base.map((neuron, uid) => ({
      ...neuron,
      commitBlock: 20,
      registeredAtBlock: uid === 4 ? 21 : 1,
    }));
    expect(incentiveOf(committed)).toEqual([0, 0, 0, 65_535, 0]);
    const selfish = neurons([10, 0], { 0: [[0, 1]] });
    expect(incentiveOf(selfish)).toEqual([0, 0]);
    expect(incentiveOf(selfish, 60, { ownerUid: 0 })).toEqual([65_535, 0]);
  });

  it('an active validator without weights votes zero', () => {
    const rows = { 0: [[3, 1]], 1: [], 2: [] } as const;
    expect(sum(runYuma(neurons([10, 10, 10, 0], rows), params, time).incentive)).toBe(0);
    expect(u16sOf(runYuma(neurons([30, 10, 10, 0], rows), params, time).incentive)[3]).toBe(65_535);
  });

  it('gives permits to the largest stakes, of equal ones to the higher uid, to the owner always, never to none', () => {
    const permits = (stakes: number[], ownerUid: number | null = null) =>
      runYuma(neurons(stakes, {}), { ...params, ownerUid }, time).validatorPermits;
    expect(permits([5, 9, 5, 5, 0])).toEqual([false, true, true, true, false]);
    expect(permits([0, 0, 1])).toEqual([false, false, true]);
    expect(permits([0, 0, 1], 0)).toEqual([true, false, true]);
  });

  it('without weights validators share the emission by stake', () => {
    const staked = neurons([3, 1, 0], {});
    const result = runYuma(staked, params, time);
    expect(Array.from(result.validatorShare, (x) => x / one)).toEqual([0.75, 0.25, 0]);
    expect(sum(result.serverShare) + sum(result.dividends)).toBe(0);
    const active = runYuma(
      staked.map((neuron, uid) => ({ ...neuron, validatorPermit: uid === 1 })),
      params,
      time,
    );
    expect(Array.from(active.validatorShare, (x) => x / one)).toEqual([0, 1, 0]);
  });

  it('bonds in a server that registered since the last epoch are forgotten', () => {
    const [a, b, c] = neurons([10, 10, 0], { 0: [[2, 1]], 1: [] });
    const bonded = [a!, { ...b!, bonds: [[2, 65_535]] as SparseRow }, c!];
    const kept = runYuma(bonded, params, time).dividends;
    expect(kept[1]!).toBeGreaterThan(kept[0]!);
    const replaced = bonded.map((neuron, uid) => (uid === 2 ? { ...neuron, registeredAtBlock: 45 } : neuron));
    const forgotten = runYuma(replaced, params, time).dividends;
    expect(forgotten[1]).toBe(0);
  });

  it('shares never exceed the whole, whatever the inputs, in both versions', () => {
    const neuron = fc.record({
      stakeRao: fc.bigInt({ min: 0n, max: 10n ** 18n }),
      validatorPermit: fc.boolean(),
      weights: fc.uniqueArray(fc.tuple(fc.nat(7), fc.nat(65_535)), { selector: ([uid]) => uid, maxLength: 8 }),
      bonds: fc.uniqueArray(fc.tuple(fc.nat(7), fc.nat(65_535)), { selector: ([uid]) => uid, maxLength: 8 }),
      lastUpdateBlock: fc.nat(60),
      registeredAtBlock: fc.nat(60),
      commitBlock: fc.option(fc.nat(60)),
    });
    const version = fc.record({
      version: fc.constantFrom(2 as const, 3 as const),
      liquidAlpha: fc.boolean(),
      bondsPenalty: fc.nat(65_535),
      path: fc.constantFrom('sparse' as const, 'dense' as const),
      ownerUid: fc.option(fc.nat(7)),
    });
    fc.assert(
      fc.property(fc.array(neuron, { minLength: 8, maxLength: 8 }), version, (all, chosen) => {
        const result = runYuma(all, { ...params, ...chosen }, time);
        expect(sum(result.serverShare) + sum(result.validatorShare)).toBeLessThanOrEqual(one);
        const { consensus, validatorTrust, incentive, dividends, bonds } = result;
        const shares = [consensus, validatorTrust, incentive, dividends].flatMap((vector) => [...vector]);
        expect(shares.filter((value) => !(Number.isSafeInteger(value) && value >= 0 && value <= one))).toEqual([]);
        expect(bonds.flat().filter(([, value]) => !(value > 0 && value <= 65_535))).toEqual([]);
      }),
      { seed: 7, numRuns: 100 },
    );
  });
});
