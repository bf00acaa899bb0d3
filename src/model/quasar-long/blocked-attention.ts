/**
 * @file Softmax attention over whole rows in blocks of queries, each against the keys that it may see: never a matrix of
 * all queries by all keys at once.
 */
import type { GraphBuilder, Tensor } from '../../engine/graph.ts';
import type { Scope } from './scope.ts';

export interface AttentionInputs {
  /** (batch, kvHeads, G, time, headDim): the G query heads of each key-value head. */
  readonly queries: Tensor;
  /** (batch, kvHeads, time, headDim). */
  readonly keys: Tensor;
  readonly values: Tensor;
}

/** Fewer queries in a block: more blocks, whose products are then too small to be fast. */
const minBlock = 64;
/** More: blocks that hold too much at once, and compute more pairs that nobody sees. */
const maxBlock = 256;

/** The result has the shape of the queries. A token sees itself and earlier ones of its document, `lastKeys` at most. */
export function blockedAttention(scope: Scope, { queries, keys, values }: AttentionInputs, lastKeys: number): Tensor {
  const { g, time } = scope;
  const blocks: Tensor[] = [];
  const size = blockSize(time);
  for (let start = 0; start < time; start += size) {
    const end = Math.min(time, start + size);
    const first = Math.max(0, start - lastKeys + 1);
    const inputs = [g.slice(queries, 3, start, end), g.slice(keys, 2, first, end), g.slice(values, 2, first, end)];
    const bias = blockBias(scope, { first, start, end }, lastKeys);
    blocks.push(attend(g, inputs[0]!, inputs[1]!, inputs[2]!, bias));
  }
  return g.concat(blocks, 3);
}

function blockSize(time: number): number {
  const count = Math.max(1, Math.min(4, Math.floor(time / minBlock)));
  return Math.min(maxBlock, Math.ceil(time / count));
}

/** queries (batch, kvHeads, G, t, D), keys and values (batch, kvHeads, n, D), bias broadcast to (batch, 1, 1, t, n). */
function attend(g: GraphBuilder, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor): Tensor {
  const [batch, KV, G, t, D] = queries.shape as [number, number, number, number, number];
  const flat = g.reshape(queries, [batch, KV, G * t, D]);
  const scores = g.matmul(flat, keys, { transB: true, alpha: 1 / Math.sqrt(D) });
  const keyCount = keys.shape[2]!;
  const shares = g.softmax(g.add(g.reshape(scores, [batch, KV, G, t, keyCount]), bias));
  return g.reshape(g.matmul(g.reshape(shares, [batch, KV, G * t, keyCount]), values), queries.shape);
}

interface Block {
  /** Tokens [first, end) are keys, [start, end) queries. */
  readonly first: number;
  readonly start: number;
  readonly end: number;
}

/** Added to scores: 0 where the query may see the key, else -1e30. (t, n), or (batch, 1, 1, t, n) for packed rows. */
function blockBias({ g, batch, documents }: Scope, { first, start, end }: Block, lastKeys: number): Tensor {
  const [t, n] = [end - start, end - first];
  const values = new Float32Array(t * n);
  for (let i = 0; i < t; i++) {
    const [query, row] = [start + i, values.subarray(i * n, (i + 1) * n)];
    row.fill(-1e30, query + 1 - first);
    if (query - lastKeys + 1 > first) row.fill(-1e30, 0, query - lastKeys + 1 - first);
  }
  const visible = g.constant(values, [t, n]);
  if (documents === null) return visible;
  const queryIds = g.reshape(g.slice(documents.ids, 1, start, end), [batch, 1, 1, t, 1]);
  const keyIds = g.reshape(g.slice(documents.ids, 1, first, end), [batch, 1, 1, 1, n]);
  return g.where(g.equal(queryIds, keyIds), visible, -1e30);
}
