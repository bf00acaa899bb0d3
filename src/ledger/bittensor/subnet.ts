/** @file A subnet as storage has it, in the port's terms: rules and clock, neurons, weights. Items that a runtime lacks have the chain's default. */
import type { Hotkey } from '../../protocol/names.ts';
import type { Axon, Neuron, Subnet } from '../port.ts';
import type { StorageQuery, View } from './chain.ts';
import { badAnswer } from './errors.ts';
import { isRecord } from './rpc.ts';

const module = 'SubtensorModule';
/** Of the chain's code, not in its storage. */
const minStakeRao = 2_000_000;
const maxUids = 65_536;

export interface SubnetClock {
  readonly block: number;
  readonly tempoBlocks: number;
  readonly lastEpochBlock: number;
  readonly nextEpochBlock: number;
  readonly epochIndex: number;
}

/** Items of the subnet, each with the default of a runtime that does not have it. */
async function itemsOf<K extends string>(
  view: View,
  netuid: number,
  items: { readonly [N in K]: unknown },
): Promise<{ readonly [N in K]: unknown }> {
  const names = (Object.keys(items) as K[]).filter((name) => view.has(module, name));
  const values = await view.many(names.map((name): StorageQuery => [module, name, netuid]));
  const found = Object.fromEntries(names.flatMap((name, i) => (values[i] === undefined ? [] : [[name, values[i]]])));
  return { ...items, ...found };
}

/** Rao as a number; the chain's sums can be larger than what a double holds exactly, and are then rounded or cut. */
const raoNumber = (value: unknown): number => Math.min(Number(value), Number.MAX_SAFE_INTEGER);

export async function readExists(view: View, netuid: number): Promise<boolean> {
  return (await view.get(module, 'NetworksAdded', netuid)) === true;
}

/**
 * Since epochs are stored, one is due a tempo after the last; before, in the blocks where (block + netuid + 1) is a
 * multiple of tempo + 1, so that a tempo has one block more than it says.
 */
export async function readClock(view: View, netuid: number): Promise<SubnetClock> {
  const block = view.head.number;
  const { Tempo, LastEpochBlock, SubnetEpochIndex } = await itemsOf(view, netuid, {
    ...{ Tempo: 360, LastEpochBlock: 0, SubnetEpochIndex: 0 },
  });
  const tempo = Number(Tempo);
  if (view.runtime.features.storedEpochs) {
    const lastEpochBlock = Number(LastEpochBlock);
    const nextEpochBlock = Math.max(block + 1, lastEpochBlock + tempo);
    return { block, tempoBlocks: tempo, lastEpochBlock, nextEpochBlock, epochIndex: Number(SubnetEpochIndex) };
  }
  const tempoBlocks = tempo + 1;
  const epochIndex = Math.floor((block + netuid + 1) / tempoBlocks);
  const lastEpochBlock = Math.max(0, epochIndex * tempoBlocks - netuid - 1);
  return {
    block,
    tempoBlocks,
    lastEpochBlock,
    nextEpochBlock: (epochIndex + 1) * tempoBlocks - netuid - 1,
    epochIndex,
  };
}

export async function readSubnet(view: View, chainId: string, netuid: number): Promise<Subnet> {
  const clock = await readClock(view, netuid);
  const items = await itemsOf(view, netuid, {
    ...{ SubnetOwner: null, SubnetworkN: 0, MaxAllowedUids: 256, MaxAllowedValidators: 128, Burn: 0n },
    ...{ SubnetAlphaOutEmission: 0n, SubnetAlphaOut: 0n, WeightsSetRateLimit: 100, WeightsVersionKey: 0 },
    ...{ CommitRevealWeightsEnabled: false, RevealPeriodEpochs: 1, Yuma3On: false, LiquidAlphaOn: false },
  });
  if (typeof items.SubnetOwner !== 'string') throw badAnswer(`subnet ${netuid} has no owner`);
  return {
    ...{ chainId, netuid, owner: items.SubnetOwner as Hotkey, ...clock },
    neuronCount: Number(items.SubnetworkN),
    maxUids: Number(items.MaxAllowedUids),
    maxValidators: Number(items.MaxAllowedValidators),
    burnRao: raoNumber(items.Burn),
    minStakeRao,
    emissionPerBlockRao: raoNumber(items.SubnetAlphaOutEmission),
    issuedRao: raoNumber(items.SubnetAlphaOut),
    burnedRao: null,
    weightsRateLimitBlocks: Number(items.WeightsSetRateLimit),
    weightsVersionKey: Number(items.WeightsVersionKey),
    isCommitReveal: items.CommitRevealWeightsEnabled === true,
    revealPeriodEpochs: Number(items.RevealPeriodEpochs),
    yumaVersion: items.Yuma3On === true ? 3 : 2,
    isLiquidAlpha: items.LiquidAlphaOn === true,
  };
}

const vectors = {
  ...{ Incentive: [], Dividends: [], Consensus: [], ValidatorTrust: [] },
  ...{ ValidatorPermit: [], LastUpdate: [], Emission: [] },
} as const;

/** All neurons by uid, as of one block. `emissionRao` is the last tempo's: the chain keeps no sum. */
export async function readMetagraph(view: View, netuid: number): Promise<readonly Neuron[]> {
  const { SubnetworkN, ImmunityPeriod } = await itemsOf(view, netuid, { SubnetworkN: 0, ImmunityPeriod: 4_096 });
  const count = Number(SubnetworkN);
  if (!Number.isSafeInteger(count) || count < 0 || count > maxUids) throw badAnswer(`${count} neurons`);
  const columns = await itemsOf(view, netuid, vectors);
  const uids = Array.from({ length: count }, (_, uid) => uid);
  const keys = await view.many(uids.map((uid): StorageQuery => [module, 'Keys', netuid, uid]));
  const registeredAt = await view.many(uids.map((uid): StorageQuery => [module, 'BlockAtRegistration', netuid, uid]));
  const hotkeys = keys.map((key, uid) => {
    if (typeof key !== 'string') throw badAnswer(`uid ${uid} has no hotkey`);
    return key as Hotkey;
  });
  const owners = await view.many(hotkeys.map((hotkey): StorageQuery => [module, 'Owner', hotkey]));
  const stakes = await view.many(hotkeys.map((hotkey): StorageQuery => [module, 'TotalHotkeyAlpha', hotkey, netuid]));
  const axons = await view.many(hotkeys.map((hotkey): StorageQuery => [module, 'Axons', netuid, hotkey]));
  const at = (name: keyof typeof vectors, uid: number): unknown => (columns[name] as readonly unknown[])[uid];
  return hotkeys.map((hotkey, uid): Neuron => {
    const registeredAtBlock = Number(registeredAt[uid] ?? 0);
    const lastUpdate = Number(at('LastUpdate', uid) ?? 0);
    const share = (name: keyof typeof vectors): number => Number(at(name, uid) ?? 0) / 65_535;
    return {
      uid,
      hotkey,
      coldkey: owners[uid] as Hotkey,
      stakeRao: raoNumber(stakes[uid] ?? 0n),
      validatorPermit: at('ValidatorPermit', uid) === true,
      registeredAtBlock,
      emissionRao: raoNumber(at('Emission', uid) ?? 0n),
      incentive: share('Incentive'),
      dividends: share('Dividends'),
      validatorTrust: share('ValidatorTrust'),
      consensus: share('Consensus'),
      // A registration sets it too.
      lastUpdateBlock: lastUpdate > registeredAtBlock ? lastUpdate : null,
      immuneUntilBlock: registeredAtBlock + Number(ImmunityPeriod),
      axon: axonOf(axons[uid]),
    };
  });
}

/** Null if the hotkey is no neuron. */
export async function readUid(view: View, netuid: number, hotkey: Hotkey): Promise<number | null> {
  const uid = await view.get(module, 'Uids', netuid, hotkey);
  return typeof uid === 'number' ? uid : null;
}

export async function readWeights(view: View, netuid: number, hotkey: Hotkey): Promise<ReadonlyMap<number, number>> {
  const uid = await readUid(view, netuid, hotkey);
  const row = uid === null ? [] : await view.get(module, 'Weights', netuid, uid);
  if (!Array.isArray(row)) return new Map();
  // A pair of u16 is decoded as a list of two.
  return new Map((row as (readonly [number, number])[]).map(([to, weight]) => [to, weight]));
}

function axonOf(value: unknown): Axon | null {
  if (!isRecord(value) || typeof value.ip !== 'bigint' || value.port === 0) return null;
  const { ip, ip_type: family, port, protocol, version } = value;
  return { ip: formatIp(ip, Number(family)), port: Number(port), protocol: Number(protocol), version: Number(version) };
}

export function formatIp(ip: bigint, family: number): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => String((ip >> shift) & 255n)).join('.');
  const groups = Array.from({ length: 8 }, (_, i) => ((ip >> BigInt(112 - 16 * i)) & 0xffffn).toString(16));
  return groups.join(':');
}

/** The number that the chain keeps; the address has been checked by its schema. */
export function parseIp(text: string): { readonly ip: bigint; readonly family: 4 | 6 } {
  if (!text.includes(':'))
    return { ip: text.split('.').reduce((ip, part) => (ip << 8n) | BigInt(part), 0n), family: 4 };
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  if (dotted !== null) {
    const low = parseIp(dotted[2]!).ip;
    return parseIp(`${dotted[1]}${(low >> 16n).toString(16)}:${(low & 0xffffn).toString(16)}`);
  }
  const [head = '', tail] = text.split('::');
  const groupsOf = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const [left, right] = [groupsOf(head), groupsOf(tail ?? '')];
  const zeros = tail === undefined ? 0 : 8 - left.length - right.length;
  const groups = [...left, ...Array<string>(zeros).fill('0'), ...right];
  return { ip: groups.reduce((ip, group) => (ip << 16n) | BigInt(`0x${group}`), 0n), family: 6 };
}
