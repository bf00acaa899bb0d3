/** @file Limits of rate, read before a call is made: the block from which the chain takes it, so that it is waited for and not hit. */
import type { Hotkey } from '../../protocol/names.ts';
import type { View } from './chain.ts';
import { isRecord } from './rpc.ts';
import { readClock, readUid } from './subnet.ts';

const module = 'SubtensorModule';
/** The chain counts a commitment as so many bytes at least. */
const minCommitmentBytes = 100;
const defaultMaxSpace = 3_100;

/** Block from which a call is taken, and what the chain calls an earlier one. */
export interface RateLimit {
  readonly fromBlock: number;
  readonly chainError: string;
}

const numberOr = (value: unknown, fallback: number): number => (value === undefined ? fallback : Number(value));

export async function weightsLimit(view: View, netuid: number, hotkey: Hotkey, chainError: string): Promise<RateLimit> {
  const uid = await readUid(view, netuid, hotkey);
  if (uid === null) return { fromBlock: 0, chainError };
  const [updates, limit] = await view.many([
    [module, 'LastUpdate', netuid],
    [module, 'WeightsSetRateLimit', netuid],
  ]);
  const last = Array.isArray(updates) ? Number(updates[uid] ?? 0) : 0;
  return { fromBlock: last === 0 ? 0 : last + numberOr(limit, 100), chainError };
}

export async function servingLimit(view: View, netuid: number, hotkey: Hotkey): Promise<RateLimit> {
  const [axon, limit] = await view.many([
    [module, 'Axons', netuid, hotkey],
    [module, 'ServingRateLimit', netuid],
  ]);
  const last = isRecord(axon) ? Number(axon.block) : 0;
  return { fromBlock: last === 0 ? 0 : last + numberOr(limit, 50), chainError: 'ServingRateLimitExceeded' };
}

/** So many bytes an epoch; `UsedSpaceOf` counts those of the epoch that it names. */
export async function commitmentLimit(
  view: View,
  netuid: number,
  { hotkey, sizeBytes }: { readonly hotkey: Hotkey; readonly sizeBytes: number },
): Promise<RateLimit> {
  const chainError = 'SpaceLimitExceeded';
  if (!view.has('Commitments', 'UsedSpaceOf')) return { fromBlock: 0, chainError };
  const clock = await readClock(view, netuid);
  const used = await view.get('Commitments', 'UsedSpaceOf', netuid, hotkey);
  const space = view.has('Commitments', 'MaxSpace') ? await view.get('Commitments', 'MaxSpace') : undefined;
  if (!isRecord(used) || Number(used.last_epoch) !== clock.epochIndex) return { fromBlock: 0, chainError };
  const total = Number(used.used_space) + Math.max(minCommitmentBytes, sizeBytes);
  return { fromBlock: total <= numberOr(space, defaultMaxSpace) ? 0 : clock.nextEpochBlock + 1, chainError };
}
