/** @file Token ids in, logits out: the embedding table and the head, which may be one matrix. */
import type { Tensor } from '../../engine/graph.ts';
import type { Scope } from './scope.ts';

const table = 'model.word_embeddings.weight';

/** ids (batch, time) i64 → (rows, hidden). The padding token's row gets no gradient. */
export function embed({ g, config, batch, time, param, carry }: Scope, ids: Tensor): Tensor {
  const flat = g.reshape(ids, [batch * time]);
  const rows = g.gather(param(table), flat);
  if (config.pad_token_id === null || carry !== null) return rows;
  const isPadding = g.reshape(g.equal(flat, config.pad_token_id), [batch * time, 1]);
  return g.where(isPadding, g.stopGradient(rows), rows);
}

/** hidden (rows, hidden) → (rows, vocab). */
export function logits({ g, config, param }: Scope, hidden: Tensor): Tensor {
  return g.matmul(hidden, param(config.tie_word_embeddings ? table : 'lm_head.weight'), { transB: true });
}
