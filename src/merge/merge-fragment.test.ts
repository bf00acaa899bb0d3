/** @file Merges against written-out formulas, vectors from Python, and every order of arrival; bad input is refused. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ParameterContract } from '../tensor/contract.ts';
import { Rng } from '../util/rng.ts';
import { planFragments } from './fragment-plan.ts';
import { emptyFragment } from './fragment-values.ts';
import { type MergeClaim, type MergeInput, mergeFragment } from './merge-fragment.ts';
import { pieceElements, sumOfSquares, type WeightedNorm, weightedMedian } from './norms.ts';
import { splitEmbeddings } from './rules.ts';
import { Staging, sharedStaging } from './staging.ts';

const contract: ParameterContract = [
  { name: 'model.word_embeddings.weight', shape: [9, 7], dtype: 'F32', kind: 'param' },
  { name: 'l.dense.weight', shape: [31, 11], dtype: 'F32', kind: 'param' },
  { name: 'l.gate.weight', shape: [4, 11], dtype: 'F32', kind: 'param' },
  { name: 'l.gate.expert_bias', shape: [4], dtype: 'F32', kind: 'selection-bias' },
];
const fragment = planFragments(contract, 1).fragments[0]!;
const n = fragment.elementCount;
const f = Math.fround;

interface Vector {
  readonly rule: 'mean' | 'rda';
  readonly eta: number;
  readonly mu: number;
  readonly multiple: number;
  readonly smallCohort: number;
  readonly recent: readonly [number, number][];
  readonly theta: string;
  readonly momentum: string;
  readonly bias: string;
  readonly claims: readonly (Omit<MergeClaim, 'pseudoGradient' | 'selectionBias'> & { delta: string; bias: string })[];
  readonly expected: {
    readonly order: readonly string[];
    readonly shares: readonly number[];
    readonly clippedNorms: readonly number[];
    readonly theta: string;
    readonly momentum: string;
    readonly bias: string;
  };
}

/** Made by tests/vectors/merge/make.py; the fragment there is the one of `contract`. */
const vectors: readonly Vector[] = JSON.parse(
  readFileSync(new URL('../../tests/vectors/merge/merge.json', import.meta.url), 'utf8'),
);
const floats = (base64: string): Float32Array => new Float32Array(new Uint8Array(Buffer.from(base64, 'base64')).buffer);

const random = (rng: Rng, length: number, scale = 1): Float32Array =>
  Float32Array.from({ length }, () => (rng.uniform() - 0.5) * scale);

function claim(rng: Rng, fields: Partial<MergeClaim> = {}): MergeClaim {
  return {
    id: `claim ${rng.uint32()}`,
    hotkey: `5F${rng.below(1e6)}`,
    learner: `m${rng.below(1e6)}`,
    tokens: 1 + rng.below(10_000),
    staleness: rng.below(3),
    innerSteps: 1 + rng.below(20),
    pseudoGradient: random(rng, n, 0.01),
    selectionBias: random(rng, 4, 0.01),
    ...fields,
  };
}

function inputOf(rng: Rng, claims: readonly MergeClaim[], fields: Partial<MergeInput> = {}): MergeInput {
  return {
    fragment,
    theta: { params: random(rng, n), selectionBias: random(rng, 4) },
    momentum: random(rng, n, 0.1),
    claims,
    rule: 'mean',
    outer: { learningRate: 0.7, momentum: 0.9 },
    clip: { multiple: 3, smallCohort: 3 },
    recentNorms: [],
    ...fields,
  };
}

describe('mergeFragment', () => {
  it('mean: share-weighted sum in merge order, Nesterov, bias at rate 1; written out', () => {
    const rng = new Rng(1);
    const claims = Array.from({ length: 5 }, () => claim(rng));
    const input = inputOf(rng, claims, { clip: { multiple: 1e9, smallCohort: 3 } });
    const result = mergeFragment(input);
    const order = [...claims].sort((a, b) => (a.hotkey < b.hotkey ? -1 : 1));
    const weights = order.map(({ tokens, staleness }) => tokens / (1 + staleness));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    expect(result.claims.map(({ hotkey }) => hotkey)).toEqual(order.map(({ hotkey }) => hotkey));
    for (let i = 0; i < n; i++) {
      let sum = 0;
      for (const [m, { pseudoGradient }] of order.entries()) sum += (weights[m]! / total) * pseudoGradient[i]!;
      const delta = f(sum);
      const v = f(0.9 * input.momentum[i]! + delta);
      expect(result.momentum[i], `momentum ${i}`).toBe(v);
      expect(result.theta.params[i], `theta ${i}`).toBe(f(input.theta.params[i]! - 0.7 * (delta + 0.9 * v)));
    }
    for (let i = 0; i < 4; i++) {
      let sum = 0;
      for (const [m, { selectionBias }] of order.entries()) sum += (weights[m]! / total) * selectionBias![i]!;
      expect(result.theta.selectionBias[i]).toBe(f(input.theta.selectionBias[i]! - sum));
    }
  });

  it('does not depend on the order of arrival, for both rules', () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 9 }), fc.constantFrom('mean', 'rda'), (seed, count, rule) => {
        const rng = new Rng(seed);
        const claims = Array.from({ length: count }, () => claim(rng));
        const input = inputOf(rng, claims, { rule: rule as 'mean' | 'rda' });
        const shuffled = mergeFragment({ ...input, claims: rng.shuffle([...claims]) });
        expect(shuffled).toEqual(mergeFragment(input));
      }),
      { seed: 3, numRuns: 40 },
    );
  });

  it('gives the same bits for arrays in kernel memory, in place and into others', () => {
    const staging = new Staging(1 << 20);
    for (const rule of ['mean', 'rda'] as const) {
      const rng = new Rng(13);
      const claims = Array.from({ length: 5 }, () => claim(rng));
      const input = inputOf(rng, claims, { rule });
      const expected = mergeFragment(input);
      const resident = (array: Float32Array): Float32Array => {
        const copy = staging.residentArray(array.length);
        copy.set(array);
        return copy;
      };
      const theta = { params: resident(input.theta.params), selectionBias: resident(input.theta.selectionBias) };
      const momentum = resident(input.momentum);
      const moved = claims.map((one, i) => (i === 2 ? one : { ...one, pseudoGradient: resident(one.pseudoGradient) }));
      const inPlace = { ...input, theta, momentum, claims: moved, into: { theta, momentum } };
      const result = mergeFragment(inPlace, staging);
      expect(result.theta.params).toBe(theta.params);
      expect([...theta.params], rule).toEqual([...expected.theta.params]);
      expect([...theta.selectionBias], rule).toEqual([...expected.theta.selectionBias]);
      expect([...momentum], rule).toEqual([...expected.momentum]);
      const into = { theta: emptyFragment(fragment), momentum: new Float32Array(n) };
      mergeFragment({ ...input, into });
      expect(into, rule).toEqual({ theta: expected.theta, momentum: expected.momentum });
      staging.releaseResidents();
    }
  });

  it('gives the bits that Python gives', () => {
    expect(vectors.length).toBe(8);
    for (const [index, vector] of vectors.entries()) {
      const { rule, eta, mu, multiple, smallCohort, recent, expected } = vector;
      const result = mergeFragment({
        fragment,
        theta: { params: floats(vector.theta), selectionBias: floats(vector.bias) },
        momentum: floats(vector.momentum),
        claims: vector.claims.map(({ delta, bias, ...rest }) => ({
          ...rest,
          pseudoGradient: floats(delta),
          selectionBias: floats(bias),
        })),
        rule,
        outer: { learningRate: eta, momentum: mu },
        clip: { multiple, smallCohort },
        recentNorms: recent.map(([norm, tokens]) => ({ norm, tokens })),
      });
      const what = `case ${index}, ${rule}`;
      const { claims, theta, momentum } = result;
      expect(
        claims.map(({ id }) => id),
        what,
      ).toEqual(expected.order);
      expect(
        claims.map(({ share }) => share),
        what,
      ).toEqual(expected.shares);
      expect(
        claims.map(({ clippedNorm }) => clippedNorm),
        what,
      ).toEqual(expected.clippedNorms);
      expect([...theta.params], what).toEqual([...floats(expected.theta)]);
      expect([...momentum], what).toEqual([...floats(expected.momentum)]);
      expect([...theta.selectionBias], what).toEqual([...floats(expected.bias)]);
    }
  });

  it('rda: norm is the mean norm, direction that of the mean unit vector; embeddings averaged', () => {
    const rng = new Rng(6);
    const claims = [claim(rng), claim(rng), claim(rng)];
    const zero = { theta: emptyFragment(fragment), momentum: new Float32Array(n) };
    const outer = { learningRate: 1, momentum: 0 };
    const [rda, mean] = (['rda', 'mean'] as const).map((rule) =>
      mergeFragment(inputOf(rng, claims, { ...zero, outer, rule, clip: { multiple: 1e9, smallCohort: 3 } })),
    );
    const { embedding, other } = splitEmbeddings(fragment);
    expect([embedding, other]).toEqual([[{ from: 0, to: 63 }], [{ from: 63, to: n }]]);
    expect([...rda!.theta.params.subarray(0, 63)]).toEqual([...mean!.theta.params.subarray(0, 63)]);
    const norm = (x: Float32Array) => Math.sqrt(x.subarray(63).reduce((sum, value) => sum + value * value, 0));
    const shares = new Map(rda!.claims.map(({ hotkey, share }) => [hotkey, share]));
    const expectedNorm = claims.reduce((sum, c) => sum + shares.get(c.hotkey)! * norm(c.pseudoGradient), 0);
    expect(norm(rda!.theta.params)).toBeCloseTo(expectedNorm, 6);
    const direction = Float32Array.from({ length: n }, (_, i) =>
      claims.reduce((sum, c) => sum - (shares.get(c.hotkey)! * c.pseudoGradient[i]!) / norm(c.pseudoGradient), 0),
    );
    const dot = rda!.theta.params.subarray(63).reduce((sum, value, i) => sum + value * direction[i + 63]!, 0);
    expect(dot / (norm(rda!.theta.params) * norm(direction))).toBeCloseTo(1, 6);
  });

  it('clips an outlier to a multiple of the median per √(inner steps), with history when the cohort is small', () => {
    const rng = new Rng(8);
    const same = random(rng, n, 0.01);
    const claims = [1, 1, 100].map((factor, i) =>
      claim(rng, {
        hotkey: `h${i}`,
        tokens: 10,
        innerSteps: 4,
        staleness: 0,
        pseudoGradient: same.map((value) => value * factor),
      }),
    );
    const { claims: merged, cohort } = mergeFragment(inputOf(rng, claims));
    expect(merged[1]!.clippedNorm).toBe(merged[1]!.norm);
    expect(merged[2]!.clippedNorm / merged[0]!.norm).toBeCloseTo(3, 9);
    expect(cohort).toEqual({ norm: merged[0]!.norm / 2, tokens: 30 });
    const alone = (recentNorms: readonly WeightedNorm[]) =>
      mergeFragment(inputOf(rng, [claims[2]!], { recentNorms })).claims[0]!;
    expect(alone([]).clippedNorm).toBe(alone([]).norm);
    expect(alone([cohort]).clippedNorm / merged[0]!.norm).toBeCloseTo(3, 9);
  });

  it('takes a late claim of a learner beside its newer one', () => {
    const rng = new Rng(9);
    const claims = [0, 2].map((staleness) => claim(rng, { hotkey: 'h', learner: 'm', staleness, tokens: 30 }));
    const merged = mergeFragment(inputOf(rng, claims)).claims;
    expect(merged.map(({ staleness, share }) => [staleness, share])).toEqual([
      [2, 0.25],
      [0, 0.75],
    ]);
  });

  it('refuses bad input and leaves its arrays as they were', () => {
    const rng = new Rng(10);
    const good = claim(rng);
    const base = inputOf(rng, [good]);
    const before = [base.theta.params.slice(), base.momentum.slice()];
    const bad = good.pseudoGradient.slice();
    bad[200] = Number.NaN;
    const cases: readonly [Partial<MergeInput>, string][] = [
      [{ claims: [] }, 'NO_CLAIMS'],
      [{ claims: [good, good] }, 'DUPLICATE_CLAIM'],
      [{ claims: [{ ...good, tokens: 0 }] }, 'BAD_WEIGHT'],
      [{ claims: [{ ...good, tokens: Number.NaN }] }, 'BAD_WEIGHT'],
      [{ claims: [{ ...good, staleness: -1 }] }, 'BAD_WEIGHT'],
      [{ claims: [{ ...good, innerSteps: 0 }] }, 'BAD_WEIGHT'],
      [{ claims: [{ ...good, pseudoGradient: new Float32Array(n - 1) }] }, 'WRONG_LENGTH'],
      [{ claims: [{ ...good, selectionBias: new Float32Array(3) }] }, 'WRONG_LENGTH'],
      [{ claims: [{ ...good, pseudoGradient: bad }] }, 'NOT_FINITE'],
      [{ claims: [{ ...good, selectionBias: bad.subarray(198, 202) }] }, 'NOT_FINITE'],
      [
        {
          claims: [{ ...good, pseudoGradient: good.pseudoGradient.map(() => 3e38) }],
          outer: { ...base.outer, learningRate: 9 },
        },
        'NOT_FINITE',
      ],
      [{ momentum: new Float32Array(3) }, 'WRONG_LENGTH'],
    ];
    for (const [fields, code] of cases)
      expect(() => mergeFragment({ ...base, ...fields }), code).toThrowError(expect.objectContaining({ code }));
    mergeFragment(base);
    expect([base.theta.params, base.momentum]).toEqual(before);
  });
});

describe('norms', () => {
  it('16 lanes a piece, then pieces in order', () => {
    const rng = new Rng(12);
    const x = Float32Array.from({ length: pieceElements + 1234 }, () => rng.uniform() - 0.5);
    let expected = 0;
    for (let start = 0; start < x.length; start += pieceElements) {
      const lanes = new Float64Array(16);
      x.subarray(start, start + pieceElements).forEach((value, i) => {
        lanes[i & 15]! += value * value;
      });
      expected += lanes.reduce((sum, lane) => sum + lane, 0);
    }
    expect(sumOfSquares(sharedStaging(), x)).toBe(expected);
  });

  it('the weighted median is the least norm with half of the tokens', () => {
    const norms = [3, 1, 2].map((norm) => ({ norm, tokens: norm === 3 ? 5 : 2 }));
    expect(weightedMedian(norms)).toBe(3);
    expect(weightedMedian(norms.map(({ norm }) => ({ norm, tokens: 1 })))).toBe(2);
    expect(weightedMedian([])).toBe(0);
  });
});
