/**
 * @file Attention of cached decoding: the tokens of one run see each other and those of earlier runs, whose keys and
 * values are read where they lie. Earlier keys come in segments, taken in one after the other with a running maximum,
 * sum and weighted sum (online softmax, arXiv:1805.02867), so that no run holds scores against a whole long past.
 */
import type { GraphBuilder, Tensor } from '../../engine/graph.ts';
import type { AttentionInputs } from './blocked-attention.ts';
import type { CacheSegment, Carry, Scope } from './scope.ts';

/** The result has the shape of the queries. One row (batch 1). */
export function cachedAttention(
  scope: Scope,
  carry: Carry,
  { queries, keys, values }: AttentionInputs,
  stateName: string,
  lastKeys: number,
): Tensor {
  const { g, time } = scope;
  const [, KV, G, , D] = queries.shape as [number, number, number, number, number];
  const fresh = g.reshape(g.concat([keys, values], 1), [2 * KV, time, D]);
  const past = carry.cache(stateName, { fresh, keep: lastKeys - 1 });
  if (time === 1 && past.length === 1 && lastKeys === Infinity)
    return attendOnce(g, { queries, keys, values }, past[0]!);
  const rows = (x: Tensor, width: number) => g.split(g.reshape(x, [KV * width, D]), 0, KV);
  // A product by one row of queries is fastest without a factor of its own.
  const scaled = rows(g.mul(queries, 1 / Math.sqrt(D)), G * time);
  const [freshKeys, freshValues] = [rows(keys, time), rows(values, time)];
  const heads = scaled.map((q, head) => {
    const freshScores = maskFresh(g, g.matmul(q, freshKeys[head]!, { transB: true }), { G, time, lastKeys });
    let sum: Partial | null = null;
    for (const [at, segment] of past.entries()) {
      const scores = g.matmul(q, segment[head]!, { transB: true });
      const old = { scores: maskPast(g, scores, { G, time, lastKeys }), values: segment[KV + head]! };
      // The run's own keys go with the first segment, which may be empty: every query sees itself.
      const parts = at === 0 ? [{ scores: freshScores, values: freshValues[head]! }, old] : [old];
      sum = carry.hasSmallScores ? extendSmall(g, sum, parts) : extend(g, sum, parts);
    }
    return g.div(sum!.weighted, sum!.total);
  });
  return g.reshape(g.concat(heads, 0), queries.shape);
}

/** One token: products by key-value head, all else for the heads together, as each operator has its price. */
function attendOnce(g: GraphBuilder, { queries, keys, values }: AttentionInputs, past: CacheSegment): Tensor {
  const [, KV, G, , D] = queries.shape as [number, number, number, number, number];
  const scaled = g.mul(g.reshape(queries, [KV, G, D]), 1 / Math.sqrt(D));
  const fresh = g.reshape(g.matmul(scaled, g.reshape(keys, [KV, 1, D]), { transB: true }), [KV * G, 1]);
  const byHead = g.split(g.reshape(scaled, [KV * G, D]), 0, KV);
  const scores = g.concat(
    byHead.map((q, head) => g.matmul(q, past[head]!, { transB: true })),
    0,
  ); // (heads, p)
  const top = g.maximum(g.reduceMax(scores, 1, true), fresh);
  const weights = g.exp(g.sub(scores, top));
  const freshWeights = g.exp(g.sub(fresh, top));
  const total = g.add(g.reduceSum(weights, 1, true), freshWeights);
  const products = g.split(weights, 0, KV).map((part, head) => g.matmul(part, past[KV + head]!));
  const freshProducts = g.mul(g.reshape(freshWeights, [KV, G, 1]), g.reshape(values, [KV, 1, D]));
  const weighted = g.add(g.concat(products, 0), g.reshape(freshProducts, [KV * G, D]));
  return g.reshape(g.div(weighted, total), [1, KV, G, 1, D]);
}

/** Softmax over some of the keys: Σ e^{s − top} v and Σ e^{s − top} for each query. */
interface Partial {
  /** (queries, 1); null: 0 for all. */
  readonly top: Tensor | null;
  /** (queries, 1). */
  readonly total: Tensor;
  /** (queries, headDim). */
  readonly weighted: Tensor;
}

interface Part {
  /** (queries, keys). */
  readonly scores: Tensor;
  /** (keys, headDim). */
  readonly values: Tensor;
}

/** Without a maximum: two passes over the scores fewer of six, a third of the time of a long past. */
function extendSmall(g: GraphBuilder, sum: Partial | null, parts: readonly Part[]): Partial {
  const weights = parts.map(({ scores }) => g.exp(scores));
  const totals = weights.map((weight) => g.reduceSum(weight, 1, true));
  const products = weights.map((weight, i) => g.matmul(weight, parts[i]!.values));
  const before = sum === null ? { totals: [], products: [] } : { totals: [sum.total], products: [sum.weighted] };
  return {
    top: null,
    total: addUp(g, [...before.totals, ...totals]),
    weighted: addUp(g, [...before.products, ...products]),
  };
}

const addUp = (g: GraphBuilder, terms: readonly Tensor[]): Tensor => terms.reduce((a, b) => g.add(a, b));

function extend(g: GraphBuilder, sum: Partial | null, parts: readonly Part[]): Partial {
  const tops = [...(sum === null ? [] : [sum.top!]), ...parts.map(({ scores }) => g.reduceMax(scores, 1, true))];
  const top = tops.reduce((a, b) => g.maximum(a, b));
  const scaled = (x: Tensor) => g.exp(g.sub(x, top));
  const weights = parts.map(({ scores }) => scaled(scores));
  const totals = weights.map((weight) => g.reduceSum(weight, 1, true));
  const products = weights.map((weight, i) => g.matmul(weight, parts[i]!.values));
  if (sum !== null) {
    const shrink = scaled(sum.top!);
    totals.push(g.mul(sum.total, shrink));
    products.push(g.mul(sum.weighted, shrink));
  }
  return { top, total: addUp(g, totals), weighted: addUp(g, products) };
}

interface Reach {
  readonly G: number;
  readonly time: number;
  readonly lastKeys: number;
}

const hidden = -1e30;

/** scores (G·time, time): token t sees tokens j ≤ t of its run, the last of them only if so told. */
function maskFresh(g: GraphBuilder, scores: Tensor, { G, time, lastKeys }: Reach): Tensor {
  if (time === 1) return scores;
  const bias = Float32Array.from({ length: time * time }, (_, i) => {
    const [t, j] = [Math.floor(i / time), i % time];
    return j <= t && j > t - lastKeys ? 0 : hidden;
  });
  const byGroup = g.reshape(scores, [G, time, time]);
  return g.reshape(g.add(byGroup, g.constant(bias, [time, time])), [G * time, time]);
}

/** scores (G·time, p) against the p tokens before the run: all are seen, or those near enough. */
function maskPast(g: GraphBuilder, scores: Tensor, { G, time, lastKeys }: Reach): Tensor {
  if (lastKeys === Infinity) return scores;
  const past = scores.shape[1]!;
  const size = g.sizeOf(past);
  const index = g.range(size, String(past));
  const first = g.add(g.sub(g.range(time), lastKeys - 1), size); // of the keys that token t sees
  const isSeen = g.greaterEqual(index, g.reshape(first, [time, 1])); // (time, p)
  const byGroup = g.reshape(scores, [G, time, past]);
  return g.reshape(g.where(isSeen, byGroup, hidden), [G * time, past]);
}
