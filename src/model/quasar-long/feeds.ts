/** @file Feeds of the model's graphs: a checkpoint's tensors by name, and token rows as int64. */
import { type TensorView, viewOf } from '../../tensor/view.ts';
import type { QuasarLongConfig } from './config.ts';
import { buildContract } from './contract.ts';
import type { Params } from './init.ts';

/** Views of the params in place: an optimiser's update is seen by the next run. */
export function feedParams(config: QuasarLongConfig, params: Params): Record<string, TensorView> {
  return Object.fromEntries(buildContract(config).map(({ name, shape }) => [name, viewOf(params.get(name)!, shape)]));
}

/** (batch, time) int64 from row-major token ids, positions or labels. */
export function feedTokens(values: ArrayLike<number>, shape: readonly [batch: number, time: number]): TensorView {
  const data = new BigInt64Array(shape[0] * shape[1]);
  for (let i = 0; i < data.length; i++) data[i] = BigInt(values[i]!);
  return { dtype: 'i64', shape, data };
}
