/**
 * @file A JSON-RPC node on a real loopback WebSocket that serves a scripted chain, and misbehaves as it is told: late, silent, lying,
 * cut off in the middle, of another network.
 */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type WebSocket, WebSocketServer } from 'ws';
import { compact } from '../../src/ledger/bittensor/extrinsic.ts';
import type { Hotkey } from '../../src/protocol/names.ts';
import { concatBytes, toHex } from '../../src/util/bytes.ts';
import { metadataBytes, type ScriptedBlock, type ScriptedChain, specVersion } from './scripted-chain.ts';

export class RpcError extends Error {
  readonly code: number;
  readonly data: unknown;
  constructor(code: number, message: string, data?: unknown) {
    super(message);
    this.code = code;
    this.data = data;
  }
}

/** What a test does to an answer: the true one by default. */
export type Interfere = (call: {
  readonly method: string;
  readonly params: readonly unknown[];
  /** The true answer. */
  answer(): unknown;
  /** Ends the connection of this call; nothing is answered. */
  cut(): void;
}) => unknown;

/** An answer that never comes. */
export const silence = Symbol('silence');

export class ScriptedNode {
  readonly chain: ScriptedChain;
  interfere: Interfere = ({ answer }) => answer();
  /** Makes a block right after a transaction was taken. */
  isInstant = false;
  readonly calls: string[] = [];
  connections = 0;
  readonly #server: Server;
  readonly #sockets: WebSocketServer;
  readonly #subscriptions = new Map<string, WebSocket>();
  #nextSubscription = 1;

  private constructor(chain: ScriptedChain, server: Server) {
    this.chain = chain;
    this.#server = server;
    this.#sockets = new WebSocketServer({ server });
    this.#sockets.on('connection', (socket) => {
      this.connections++;
      socket.on('message', (data) => this.#onMessage(socket, String(data)));
      socket.on('error', () => undefined);
    });
    chain.onBlock.add(this.#onBlock);
  }

  static async start(chain: ScriptedChain, port = 0): Promise<ScriptedNode> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    return new ScriptedNode(chain, server);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}`;
  }

  /** Forgets all subscriptions without a word. */
  dropSubscriptions(): void {
    this.#subscriptions.clear();
  }

  cutConnections(): void {
    for (const socket of this.#sockets.clients) socket.terminate();
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return;
    this.chain.onBlock.delete(this.#onBlock);
    this.cutConnections();
    this.#sockets.close();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  readonly #onBlock = (block: ScriptedBlock): void => {
    for (const [subscription, socket] of this.#subscriptions)
      socket.send(
        JSON.stringify({ jsonrpc: '2.0', method: 'chain_newHead', params: { subscription, result: block.header } }),
      );
  };

  async #onMessage(socket: WebSocket, text: string): Promise<void> {
    const { id, method, params } = JSON.parse(text) as { id: number; method: string; params: unknown[] };
    this.calls.push(method);
    const reply = (body: object): void => socket.send(JSON.stringify({ jsonrpc: '2.0', id, ...body }));
    try {
      const cut = (): void => socket.terminate();
      const result = await this.interfere({ method, params, cut, answer: () => this.answer(method, params, socket) });
      if (result !== silence && socket.readyState === socket.OPEN) reply({ result: result ?? null });
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      const { code, message, data } = error;
      reply({ error: { code, message, ...(data === undefined ? {} : { data }) } });
    }
    if (method === 'author_submitExtrinsic' && this.isInstant) setImmediate(() => this.chain.mine());
  }

  answer(method: string, params: readonly unknown[], socket: WebSocket | null = null): unknown {
    const { chain } = this;
    const blockOf = (hash: unknown): ScriptedBlock => {
      const block = hash === undefined ? chain.best : chain.byHash(String(hash).slice(2));
      if (block === undefined) throw new RpcError(4003, 'Client error: UnknownBlock');
      return block;
    };
    switch (method) {
      case 'chain_getBlockHash': {
        const block = params[0] === undefined ? chain.best : chain.at(Number(params[0]));
        return block === undefined ? null : `0x${block.hash}`;
      }
      case 'chain_getHeader':
        return blockOf(params[0]).header;
      case 'chain_getFinalizedHead':
        return `0x${chain.finalized.hash}`;
      case 'chain_getBlock': {
        const { header, extrinsics } = blockOf(params[0]);
        return { block: { header, extrinsics }, justifications: null };
      }
      case 'state_getRuntimeVersion':
        return { specName: 'node-subtensor', specVersion, transactionVersion: 1 };
      case 'state_call': {
        if (params[0] !== 'Metadata_metadata_at_version') throw new RpcError(-32_000, 'no such call');
        if (params[1] !== '0x10000000') return '0x00';
        const { byteLength } = metadataBytes;
        return `0x${toHex(concatBytes(Uint8Array.of(1), compact(byteLength), metadataBytes))}`;
      }
      case 'state_getStorage':
        return blockOf(params[1]).storage.get(String(params[0])) ?? null;
      case 'state_queryStorageAt': {
        const { storage, hash } = blockOf(params[1]);
        const changes = (params[0] as string[]).map((key) => [key, storage.get(key) ?? null]);
        return [{ block: `0x${hash}`, changes }];
      }
      case 'system_accountNextIndex':
        return chain.nonceOf(params[0] as Hotkey);
      case 'author_submitExtrinsic': {
        const refusal = chain.offer(String(params[0]));
        if (refusal !== null) throw new RpcError(refusal.code, refusal.message, refusal.data);
        return '0x00';
      }
      case 'author_pendingExtrinsics':
        return chain.pool.map(({ hex }) => hex);
      case 'chain_subscribeNewHeads': {
        const subscription = `sub-${this.#nextSubscription++}`;
        if (socket !== null) this.#subscriptions.set(subscription, socket);
        return subscription;
      }
      default:
        throw new RpcError(-32_601, `Method not found: ${method}`);
    }
  }
}
