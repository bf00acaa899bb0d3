/** @file What blocks hold: their time, and the commitments that were made in them. The chain's state keeps only the newest of a hotkey. */
import { toHex } from '../../util/bytes.ts';
import type { Anchor } from '../port.ts';
import type { BlockBody, ChainClient, Head } from './chain.ts';
import { fieldsData } from './commitment-fields.ts';
import { badAnswer } from './errors.ts';
import { readExtrinsic } from './extrinsic.ts';
import type { RpcConnection } from './rpc.ts';
import { hexBytes, type Runtime } from './runtime.ts';
import { outcomesOf } from './sender.ts';

/** `timestamp.set`, which every block begins with. @throws EndpointFault BAD_ANSWER */
export function timeOf(runtime: Runtime, { number, extrinsics }: BlockBody): number {
  for (const hex of extrinsics.slice(0, 8)) {
    const extrinsic = readExtrinsic(runtime, hexBytes(hex));
    if (extrinsic === null || extrinsic.signer !== null) continue;
    const args = runtime.decodeCall('Timestamp', 'set', extrinsic.call);
    if (args !== null) return Number(args.now);
  }
  throw badAnswer(`block ${number} tells no time`);
}

/** Commitments in the blocks [fromBlock, toBlock] that succeeded, in order. Blocks before the node's oldest state cannot be judged. */
export async function readAnchors(
  chain: ChainClient,
  netuid: number,
  range: { readonly fromBlock: number; readonly toBlock: number },
): Promise<readonly Anchor[]> {
  const anchors: Anchor[] = [];
  for (let number = Math.max(1, range.fromBlock); number <= range.toBlock; number++)
    anchors.push(...(await chain.endpoints.use((connection) => anchorsIn(chain, connection, { number, netuid }))));
  return anchors;
}

async function anchorsIn(
  chain: ChainClient,
  connection: RpcConnection,
  { number, netuid }: { readonly number: number; readonly netuid: number },
): Promise<readonly Anchor[]> {
  const hash = await chain.blockHash(connection, number);
  if (hash === null) throw badAnswer(`${connection.url}: does not have block ${number}`);
  const head: Head = { number, hash };
  const body = await chain.body(connection, head);
  const runtime = await chain.runtimeAt(connection, hash);
  const found = body.extrinsics.flatMap((hex, index) => {
    const extrinsic = readExtrinsic(runtime, hexBytes(hex));
    if (extrinsic === null || extrinsic.signer === null) return [];
    const args = runtime.decodeCall('Commitments', 'set_commitment', extrinsic.call);
    if (args === null || args.netuid !== netuid) return [];
    return [{ index, anchor: { block: number, hotkey: extrinsic.signer, data: toHex(fieldsData(args.info)) } }];
  });
  if (found.length === 0) return [];
  const outcomes = await outcomesOf(runtime, connection, hash);
  return found.filter(({ index }) => outcomes(index) === 'success').map(({ anchor }) => anchor);
}
