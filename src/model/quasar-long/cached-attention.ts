/** @file Attention of cached decoding: the tokens of one run see those of earlier runs, whose keys and values are carried. */
import type { Tensor } from '../../engine/graph.ts';
import { type AttentionInputs, attend } from './blocked-attention.ts';
import type { Carry, Scope } from './scope.ts';

/** The result has the shape of the queries. */
export function cachedAttention(
  scope: Scope,
  carry: Carry,
  { queries, keys, values }: AttentionInputs,
  stateName: string,
  lastKeys: number,
): Tensor {
  const withPast = (fresh: Tensor, name: string): Tensor => {
    const past = carry.read(name, fresh.shape.with(2, 'past'));
    const all = scope.g.concat([past, fresh], 2);
    carry.write(name, all);
    return all;
  };
  const [allKeys, allValues] = [withPast(keys, `${stateName}.keys`), withPast(values, `${stateName}.values`)];
  return attend(scope.g, queries, allKeys, allValues, pastBias(scope, allKeys, lastKeys));
}

/** (batch, 1, 1, time, past + time): a query at position p sees the first p + 1 keys, or the last of them. */
function pastBias({ g, batch, time, positions }: Scope, keys: Tensor, lastKeys: number): Tensor {
  const keyCount = keys.shape[2]!;
  const index = g.range(g.sizeOf(keyCount), String(keyCount));
  const position = g.reshape(positions, [batch, 1, 1, time, 1]);
  const isPast = g.lessEqual(index, position);
  const isSeen = Number.isFinite(lastKeys) ? g.and(isPast, g.greater(index, g.sub(position, lastKeys))) : isPast;
  return g.where(isSeen, 0, g.constant(-1e30));
}
