/**
 * @file Vector files of Yuma consensus: sequences of epochs, single epochs recorded from the chain, weighted medians. Runs each through
 * `runYuma` and gives what deviates. Recorded u16 results must be exact, trust and bonds within 1.
 */
import { z } from 'zod';
import type { SparseRow } from './bonds.ts';
import { runYuma, u16sOf, type YumaNeuron, type YumaParams, type YumaResult } from './epoch.ts';
import { fromU16, one, shareOfRao, toNumber } from './fixed.ts';
import { weightedMedian } from './median.ts';

const u16 = z.int().min(0).max(65_535);
const maxNeurons = 1_024;
const share = z.number().min(0).max(1);
const rows = <T extends z.ZodType>(entry: T) => z.array(z.array(entry).max(maxNeurons)).max(maxNeurons);
const sparseRows = rows(z.tuple([u16, u16]));
const stakes = z
  .array(z.union([z.string().regex(/^\d{1,19}$/), z.int().min(0)]))
  .min(1)
  .max(maxNeurons);
const paramsSchema = z.object({
  yuma3: z.boolean(),
  liquid: z.boolean().default(false),
  kappa: u16,
  bonds_penalty: u16,
  bonds_moving_average: z.int().min(0).max(1_000_000),
  alpha_low: share.optional(),
  alpha_high: share.optional(),
  alpha_low_u16: u16.optional(),
  alpha_high_u16: u16.optional(),
  steepness: z.int().min(0).max(32_767).default(1_000),
});

const epochSchema = z.object({
  weights_u16: rows(u16).optional(),
  weights_sparse_u16: sparseRows.optional(),
  expect_bonds_validators_to_servers: rows(z.number()).optional(),
  expect_dividends: z.array(z.number()).optional(),
  expect_consensus: z.array(z.number()).optional(),
  expect_validator_trust: z.array(z.number()).optional(),
  expect_incentive: z.array(z.number()).optional(),
  expect_emission_rao: z.array(z.int()).optional(),
  assert_bonds_u16: z.array(z.tuple([u16, u16, u16])).optional(),
});
const common = { id: z.string().min(1).max(200), source: z.string().default('') };
const sequenceSchema = z.object({
  ...common,
  kind: z.literal('epoch_sequence'),
  n: z.int().min(1).max(maxNeurons),
  validators: z.array(u16).optional(),
  servers: z.array(u16).optional(),
  stake: stakes,
  params: paramsSchema,
  rao_emission: z.int().optional(),
  tolerance: z.number().min(0).default(1e-8),
  tolerance_bonds_u16: z.int().min(0).default(1),
  epochs: z.array(epochSchema).min(1).max(1_000),
});
const u16s = z.array(u16).max(maxNeurons);
const singleSchema = z.object({
  ...common,
  kind: z.literal('epoch_single_exact'),
  n: z.int().min(1).max(maxNeurons),
  owner_uid: u16.nullable().default(null),
  stake: stakes,
  validator_permit_before: z.array(z.boolean()),
  weights_sparse_u16: sparseRows,
  bonds_before_sparse_u16: sparseRows,
  params: paramsSchema,
  expect: z.object({
    incentive_u16: u16s,
    dividends_u16: u16s,
    consensus_u16: u16s,
    validator_trust_u16: u16s,
    bonds_sparse_u16: sparseRows,
    emission_rao: z.array(z.int().min(0)).optional(),
  }),
});
const medianSchema = z.object({
  ...common,
  kind: z.literal('weighted_median'),
  cases: z.array(
    z.object({ stake: z.array(share).min(1), score: z.array(share).min(1), majority: share, expect: share }),
  ),
});
const vectorSchema = z
  .discriminatedUnion('kind', [sequenceSchema, singleSchema, medianSchema])
  .superRefine((vector, context) => {
    const fault = faultOf(vector);
    if (fault !== null) context.addIssue({ code: 'custom', message: fault });
  });
export const vectorFileSchema = z.object({ vectors: z.array(vectorSchema).min(1).max(10_000) });
export type YumaVector = z.infer<typeof vectorSchema>;
type Sequence = z.infer<typeof sequenceSchema>;
type Single = z.infer<typeof singleSchema>;
type Median = z.infer<typeof medianSchema>;

/** Lengths that do not fit each other, uids that are not there; null if all is well. */
function faultOf(vector: YumaVector): string | null {
  if (vector.kind === 'weighted_median') {
    const wrong = vector.cases.findIndex(({ stake, score }) => stake.length !== score.length);
    return wrong < 0 ? null : `${vector.id}: case ${wrong}: as many scores as stakes are needed`;
  }
  const { n, id, stake } = vector;
  const length = (name: string, found: number): string | null =>
    found === n ? null : `${id}: ${name}: expected ${n} entries, got ${found}`;
  const uids = (name: string, sparse: readonly SparseRow[]): string | null =>
    sparse.flat().some(([uid]) => uid >= n) ? `${id}: ${name}: an uid is not below n = ${n}` : null;
  const checks =
    vector.kind === 'epoch_single_exact'
      ? [
          length('validator_permit_before', vector.validator_permit_before.length),
          length('weights_sparse_u16', vector.weights_sparse_u16.length),
          length('bonds_before_sparse_u16', vector.bonds_before_sparse_u16.length),
          uids('weights_sparse_u16', vector.weights_sparse_u16),
          uids('bonds_before_sparse_u16', vector.bonds_before_sparse_u16),
          length('incentive_u16', vector.expect.incentive_u16.length),
          length('dividends_u16', vector.expect.dividends_u16.length),
        ]
      : vector.epochs.flatMap((epoch, i) => [
          (epoch.weights_u16 ?? epoch.weights_sparse_u16) === undefined ? `${id}: epoch ${i} has no weights` : null,
          uids(`epoch ${i}`, epoch.weights_sparse_u16 ?? []),
        ]);
  return [length('stake', stake.length), ...checks].find((fault) => fault !== null) ?? null;
}

/** One number that was looked at. */
export interface Comparison {
  readonly what: string;
  readonly expected: number;
  readonly found: number;
  readonly tolerance: number;
}
export interface VectorReport {
  readonly id: string;
  readonly compared: number;
  /** The largest deviation in units of its tolerance, or in whole units where none is allowed. */
  readonly largest: Comparison | null;
  readonly beyond: readonly Comparison[];
}

export const deviationOf = ({ expected, found }: Comparison): number => Math.abs(expected - found);

export function checkVector(vector: YumaVector): VectorReport {
  const compared = comparisonsOf(vector);
  const isBeyond = (c: Comparison): boolean => !(deviationOf(c) <= c.tolerance);
  const largest = compared.reduce<Comparison | null>(
    (worst, c) => (worst === null || deviationOf(c) > deviationOf(worst) ? c : worst),
    null,
  );
  return { id: vector.id, compared: compared.length, largest, beyond: compared.filter(isBeyond) };
}

function comparisonsOf(vector: YumaVector): readonly Comparison[] {
  switch (vector.kind) {
    case 'weighted_median':
      return medians(vector);
    case 'epoch_single_exact':
      return single(vector);
    case 'epoch_sequence':
      return sequence(vector);
  }
}

const toFixed = (x: number): number => Math.floor(x * one);

function medians({ cases }: Median): Comparison[] {
  return cases.map(({ stake, score, majority, expect }, i) => {
    // The chain's first case is not normalised in the table, but in its test.
    const total = stake.reduce((a, b) => a + b, 0);
    const found = weightedMedian(
      stake.map((s) => toFixed(s / total)),
      score.map(toFixed),
      toFixed(1 - majority),
    );
    return { what: `case ${i}`, expected: expect, found: toNumber(found), tolerance: 2 ** -31 };
  });
}

type Params = z.infer<typeof paramsSchema>;

function yumaParams(params: Params, options: Pick<YumaParams, 'ownerUid' | 'path' | 'maxValidators'>): YumaParams {
  const u16Of = (exact: number | undefined, part: number | undefined, chain: number): number =>
    exact ?? (part === undefined ? chain : Math.round(part * 65_535));
  return {
    version: params.yuma3 ? 3 : 2,
    liquidAlpha: params.liquid,
    kappa: params.kappa,
    bondsPenalty: params.bonds_penalty,
    bondsMovingAverage: params.bonds_moving_average,
    alphaLow: u16Of(params.alpha_low_u16, params.alpha_low, 45_875),
    alphaHigh: u16Of(params.alpha_high_u16, params.alpha_high, 58_982),
    alphaSigmoidSteepness: params.steepness,
    activityCutoffBlocks: 5_000,
    stakeThresholdRao: 0n,
    ...options,
  };
}

const time = { atBlock: 10, lastTempoBlock: 5 };
const neuronOf = (stake: string | number, validatorPermit: boolean): YumaNeuron => ({
  ...{ stakeRao: BigInt(stake), validatorPermit, weights: [], bonds: [] },
  ...{ lastUpdateBlock: 9, registeredAtBlock: 0, commitBlock: null },
});

function single(vector: Single): Comparison[] {
  const neurons = vector.stake.map((stake, i) => ({
    ...neuronOf(stake, vector.validator_permit_before[i]!),
    weights: vector.weights_sparse_u16[i]!,
    bonds: vector.bonds_before_sparse_u16[i]!,
  }));
  const options = { ownerUid: vector.owner_uid, path: 'sparse', maxValidators: vector.n } as const;
  const result = runYuma(neurons, yumaParams(vector.params, options), time);
  const { expect } = vector;
  return [
    ...vectorOf('incentive', expect.incentive_u16, u16sOf(result.incentive), 0),
    ...vectorOf('dividends', expect.dividends_u16, u16sOf(result.dividends), 0),
    ...vectorOf('consensus', expect.consensus_u16, u16sOf(result.consensus), 0),
    ...vectorOf('validator trust', expect.validator_trust_u16, u16sOf(result.validatorTrust), 1),
    ...expect.bonds_sparse_u16.flatMap((row, i) =>
      vectorOf(`bonds of ${i}`, dense(row, vector.n), dense(result.bonds[i]!, vector.n), 1),
    ),
    ...(expect.emission_rao === undefined ? [] : recordedEmission(expect.emission_rao, result)),
  ];
}

/** The record does not say what was split: the amount follows from the largest share, the others are compared with it. */
function recordedEmission(expected: readonly number[], result: YumaResult): Comparison[] {
  const shares = result.serverShare.map((server, i) => server + result.validatorShare[i]!);
  const top = shares.indexOf(Math.max(...shares));
  if (top < 0 || shares[top] === 0) return [];
  const total = expected[top]! / shares[top]!;
  // 2⁻³² of the amount a share, both of whose ends are floored.
  const tolerance = Math.ceil(total * 2) + 2;
  return vectorOf(
    'emission (rao)',
    expected,
    Array.from(shares, (part) => Math.floor(part * total)),
    tolerance,
  );
}

function sequence(vector: Sequence): Comparison[] {
  const { n, params, epochs, tolerance, tolerance_bonds_u16: bondsTolerance } = vector;
  let bonds: readonly SparseRow[] = vector.stake.map(() => []);
  const validators = new Set(vector.validators ?? vector.stake.keys());
  const options = { ownerUid: null, path: 'dense', maxValidators: n } as const;
  return epochs.flatMap((epoch, e) => {
    const neurons = vector.stake.map((stake, i) => ({
      ...neuronOf(stake, validators.has(i)),
      weights: epoch.weights_sparse_u16?.[i] ?? sparse(epoch.weights_u16?.[i] ?? []),
      bonds: bonds[i]!,
    }));
    const result = runYuma(neurons, yumaParams(params, options), time);
    bonds = result.bonds;
    const near = (name: string, expected: readonly number[] | undefined, found: Float64Array): Comparison[] =>
      vectorOf(`epoch ${e}: ${name}`, expected ?? [], Array.from(found, toNumber), tolerance);
    return [
      ...near('dividends', epoch.expect_dividends, result.dividends),
      ...near('incentive', epoch.expect_incentive, result.incentive),
      ...near('consensus', epoch.expect_consensus, result.consensus),
      ...near('validator trust', epoch.expect_validator_trust, result.validatorTrust),
      ...bondTable(vector, e, bonds),
      ...(epoch.assert_bonds_u16 ?? []).map(([i, j, expected]) => ({
        ...{ what: `epoch ${e}: bond ${i}→${j} (u16)`, expected, tolerance: bondsTolerance },
        found: dense(bonds[i] ?? [], n)[j] ?? 0,
      })),
      ...emission(vector, e, result),
    ];
  });
}

function bondTable({ validators, servers, n, epochs, tolerance }: Sequence, e: number, bonds: readonly SparseRow[]) {
  const table = epochs[e]!.expect_bonds_validators_to_servers ?? [];
  return table.flatMap((row, k) =>
    row.map((expected, l): Comparison => {
      const [i, j] = [validators?.[k] ?? k, servers?.[l] ?? l];
      const found = toNumber(fromU16(dense(bonds[i] ?? [], n)[j] ?? 0));
      return { what: `epoch ${e}: bond ${i}→${j}`, expected, found, tolerance };
    }),
  );
}

/** The amount is known: to the rao, give or take what the I32F32 of a share holds. */
function emission({ rao_emission: total, epochs }: Sequence, e: number, result: YumaResult): Comparison[] {
  if (total === undefined) return [];
  const found = Array.from(result.serverShare, (server, i) =>
    Number(shareOfRao(server, BigInt(total)) + shareOfRao(result.validatorShare[i]!, BigInt(total))),
  );
  return vectorOf(`epoch ${e}: emission (rao)`, epochs[e]!.expect_emission_rao ?? [], found, 1);
}

function vectorOf(what: string, expected: readonly number[], found: readonly number[], tolerance: number) {
  return expected.map((value, i): Comparison => {
    return { what: `${what}[${i}]`, expected: value, found: found[i] ?? Number.NaN, tolerance };
  });
}

function dense(row: SparseRow, n: number): number[] {
  const values = new Array<number>(n).fill(0);
  for (const [uid, value] of row) values[uid] = value;
  return values;
}

const sparse = (row: readonly number[]): SparseRow =>
  row.flatMap((value, uid) => (value === 0 ? [] : [[uid, value] as const]));
