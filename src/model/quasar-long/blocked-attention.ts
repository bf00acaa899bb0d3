/**
 * @file Softmax attention over whole rows in blocks of queries, each against the keys that it may see: never a matrix of
 * all queries by all keys at once.
 */
import type { Tensor } from '../../engine/graph.ts';
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
    blocks.push(attend(scope, inputs[0]!, inputs[1]!, inputs[2]!, { first, start, end, lastKeys }));
  }
  return g.concat(blocks, 3);
}

function blockSize(time: number): number {
  const count = Math.max(1, Math.min(4, Math.floor(time / minBlock)));
  return Math.min(maxBlock, Math.ceil(time / count));
}

/** queries (batch, kvHeads, G, t, D), keys and values (batch, kvHeads, n, D). */
function attend(scope: Scope, queries: Tensor, keys: Tensor, values: Tensor, block: Block): Tensor {
  const { g } = scope;
  const [batch, KV, G, t, D] = queries.shape as [number, number, number, number, number];
  const flat = g.reshape(queries, [batch, KV, G * t, D]);
  const scores = g.matmul(flat, keys, { transB: true, alpha: 1 / Math.sqrt(D) });
  const keyCount = keys.shape[2]!;
  const shares = g.softmax(hideKeys(scope, g.reshape(scores, [batch, KV, G, t, keyCount]), block));
  return g.reshape(g.matmul(g.reshape(shares, [batch, KV, G * t, keyCount]), values), queries.shape);
}

interface Block {
  /** Tokens [first, end) are keys, [start, end) queries. */
  readonly first: number;
  readonly start: number;
  readonly end: number;
  readonly lastKeys: number;
}

/** Added to the score of a key that the query may not see. */
const hidden = -1e30;

/** scores (batch, kvHeads, G, t, n) with the keys that a query may not see far below all others. */
function hideKeys(scope: Scope, scores: Tensor, block: Block): Tensor {
  const { g, batch, documents } = scope;
  const { first, start, end } = block;
  const ranges = keyRanges(block);
  const biases = ranges.map((range) => placeBias(scope, block, range));
  if (documents === null) {
    if (ranges.length === 1) return g.add(scores, biases[0]!);
    // Piece by piece: joined, the runtime would fold the constants to one of the row's length squared.
    const pieces = ranges.map(({ from, to }, i) => g.add(g.slice(scores, 4, from - first, to - first), biases[i]!));
    return g.concat(pieces, 4);
  }
  const queryIds = g.reshape(g.slice(documents.ids, 1, start, end), [batch, 1, 1, end - start, 1]);
  const pieces = ranges.map(({ from, to }, i) => {
    const keyIds = g.reshape(g.slice(documents.ids, 1, from, to), [batch, 1, 1, 1, to - from]);
    return g.where(g.equal(queryIds, keyIds), biases[i]!, hidden);
  });
  return g.add(scores, pieces.length === 1 ? pieces[0]! : g.concat(pieces, 4));
}

interface KeyRange {
  readonly from: number;
  readonly to: number;
}

/**
 * The keys of a block in three ranges: too far back for some query, near enough for all, after some query. Only the outer
 * two need a mask by place, of the block's size at most, and blocks share it.
 */
function keyRanges({ first, start, end, lastKeys }: Block): KeyRange[] {
  const near = Math.max(first, end - lastKeys);
  if (near >= start) return [{ from: first, to: end }];
  const ranges = [
    { from: first, to: near },
    { from: near, to: start },
    { from: start, to: end },
  ];
  return ranges.filter(({ from, to }) => to > from);
}

/** (t, range) by place alone, or 0 where every query of the block may see every key of the range. */
function placeBias({ g }: Scope, { start, end, lastKeys }: Block, { from, to }: KeyRange): Tensor | number {
  if (to <= start + 1 && from >= end - lastKeys) return 0;
  const [t, n] = [end - start, to - from];
  const values = new Float32Array(t * n);
  for (let i = 0; i < t; i++) {
    const [query, row] = [start + i, values.subarray(i * n, (i + 1) * n)];
    row.fill(hidden, Math.max(0, query + 1 - from));
    if (query - lastKeys + 1 > from) row.fill(hidden, 0, query - lastKeys + 1 - from);
  }
  return g.constant(values, [t, n]);
}
