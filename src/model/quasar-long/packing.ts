/**
 * @file Document boundaries of packed rows. `position_ids` alone carries them: a document starts wherever a position is
 * 0. Attention stays within a document; the states of the recurrent branches restart. As boundaries are data, chunks are
 * cut by 0/1 masks instead of by shapes. (Trailing padding, position 0 throughout, is a row of one-token documents.)
 */
import type { GraphBuilder, Tensor } from '../../engine/graph.ts';
import { chunking, type Documents, type Scope } from './scope.ts';

/** Masks of one chunk grid for every head: 0/1 in f32, except `isSame`. */
export interface ChunkMasks {
  /** (batch·heads, chunks, chunk, chunk): both tokens lie in one document. */
  readonly same: Tensor;
  /** (batch·heads, chunks, chunk, 1): no boundary between the chunk's start and the token; it sees the incoming state. */
  readonly seesState: Tensor;
  /** (batch·heads, chunks, chunk, 1): no boundary after the token; it reaches the outgoing state. */
  readonly reachesState: Tensor;
  /** (batch·heads, chunks, 1, 1): no boundary in the chunk; the state passes through. */
  readonly keepsState: Tensor;
}

export function findDocuments(g: GraphBuilder, positions: Tensor): Documents {
  return { ids: g.cumsum(g.cast(g.equal(positions, 0), 'f32'), 1) };
}

/** Null where rows are single documents. Equal calls share their nodes. */
export function chunkMasks(scope: Scope, heads: number): ChunkMasks | null {
  const { g, batch, chunk: C, documents } = scope;
  if (documents === null) return null;
  const { chunks: N, padding } = chunking(scope);
  const ids = g.reshape(g.pad(documents.ids, 1, 0, padding), [batch, 1, N, C]);
  const last = g.slice(ids, 3, C - 1, C); // (batch, 1, N, 1)
  // Nothing comes into the first chunk, so its predecessor is a document that no token is in.
  const none = g.constant(-1, [batch, 1, 1, 1]);
  const previous = N === 1 ? none : g.concat([none, g.slice(last, 2, 0, N - 1)], 2);
  const spread = (mask: Tensor, rows: number, columns: number): Tensor => {
    const shaped = g.reshape(g.cast(mask, 'f32'), [batch, 1, N, rows, columns]);
    return g.reshape(g.expand(shaped, [batch, heads, N, rows, columns]), [batch * heads, N, rows, columns]);
  };
  const pairs = g.equal(g.reshape(ids, [batch, 1, N, C, 1]), g.reshape(ids, [batch, 1, N, 1, C]));
  return {
    same: spread(pairs, C, C),
    seesState: spread(g.equal(ids, previous), C, 1),
    reachesState: spread(g.equal(ids, last), C, 1),
    keepsState: spread(g.equal(last, previous), 1, 1),
  };
}

/** x · mask, or x where there is no mask. */
export function masked(g: GraphBuilder, x: Tensor, mask: Tensor | undefined): Tensor {
  return mask === undefined ? x : g.mul(x, mask);
}
