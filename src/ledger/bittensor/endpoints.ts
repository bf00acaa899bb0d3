/**
 * @file A list of endpoints as one: the first good one is used; one that fails, answers nonsense, is on another chain or lags behind
 * is left for a while (or for good) and the next takes over. `use` repeats what it is given, so it is for questions only; what may
 * not be done twice takes a `connection` and looks at its own faults.
 */
import { type Log, silentLog } from '../../util/clock.ts';
import { LedgerError } from '../errors.ts';
import { EndpointFault, RpcRefusal } from './errors.ts';
import { connectRpc, type RpcConnection } from './rpc.ts';

export interface EndpointOptions {
  /** In the order of preference: `ws://…`, `wss://…`. */
  readonly urls: readonly string[];
  /** Block 0 of the chain that is meant, 64 hex digits; the first endpoint's where it is left out. */
  readonly genesis?: string;
  readonly timeoutMs?: number;
  /** How often a question is asked in all, over all endpoints. */
  readonly attempts?: number;
  /** Wait after the first failure; doubled with each, up to 16 times. */
  readonly backOffMs?: number;
  readonly log?: Log;
}

interface Endpoint {
  readonly url: string;
  connection: RpcConnection | null;
  /** Not asked before this time; infinite for another chain. */
  restUntilMs: number;
  failures: number;
  fault: EndpointFault | null;
}

/** A finalised block: whoever does not have it is on another fork, or lies. */
interface Checkpoint {
  readonly number: number;
  readonly hash: string;
}

/** Nodes of one chain see finality at somewhat different times. */
const maxLagBlocks = 8;

export class Endpoints {
  readonly #endpoints: readonly Endpoint[];
  readonly #timeoutMs: number;
  readonly #attempts: number;
  readonly #backOffMs: number;
  readonly #log: Log;
  readonly #ending = new AbortController();
  readonly #onConnected: ((connection: RpcConnection) => void)[] = [];
  #genesis: string | null;
  #checkpoint: Checkpoint | null = null;
  #opening: Promise<RpcConnection> | null = null;

  constructor(options: EndpointOptions) {
    if (options.urls.length === 0) throw new LedgerError('BAD_CALL', 'expected at least one endpoint');
    const blank = { connection: null, restUntilMs: 0, failures: 0, fault: null };
    this.#endpoints = options.urls.map((url) => ({ url, ...blank }));
    this.#timeoutMs = options.timeoutMs ?? 15_000;
    this.#attempts = options.attempts ?? Math.max(4, 2 * options.urls.length);
    this.#backOffMs = options.backOffMs ?? 500;
    this.#log = options.log ?? silentLog;
    this.#genesis = options.genesis ?? null;
  }

  /** Of the chain that is meant; null before the first connection, if it was not given. */
  get genesis(): string | null {
    return this.#genesis;
  }

  get signal(): AbortSignal {
    return this.#ending.signal;
  }

  /** Tells of every new connection. */
  onConnected(handler: (connection: RpcConnection) => void): void {
    this.#onConnected.push(handler);
  }

  /** Asks, and asks elsewhere when an endpoint fails. @throws LedgerError UNAVAILABLE, WRONG_NETWORK; RpcRefusal */
  async use<T>(ask: (connection: RpcConnection) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      let connection: RpcConnection | null = null;
      try {
        connection = await this.connection();
        const answer = await ask(connection);
        this.#succeeded(connection);
        return answer;
      } catch (error) {
        const fault = faultOf(error);
        if (fault === null) throw error;
        if (connection !== null) this.leave(connection, fault);
        if (attempt >= this.#attempts) throw this.#unavailable();
        await this.#wait(attempt);
      }
    }
  }

  /** The connection in use, or the next good endpoint's. @throws EndpointFault; LedgerError WRONG_NETWORK */
  async connection(): Promise<RpcConnection> {
    if (this.#ending.signal.aborted) throw closed();
    const open = this.#endpoints.find(({ connection }) => connection?.isOpen === true)?.connection;
    if (open != null) return open;
    this.#opening ??= this.#openNext().finally(() => {
      this.#opening = null;
    });
    return this.#opening;
  }

  /** Ends a connection that failed; its endpoint rests, longer with each failure. */
  leave(connection: RpcConnection, fault: EndpointFault): void {
    const endpoint = this.#endpoints.find((each) => each.connection === connection);
    connection.close(fault);
    if (endpoint === undefined) return;
    endpoint.connection = null;
    this.#rest(endpoint, fault);
  }

  /** A finalised block that was read; endpoints that are asked later must have it. */
  finalized(block: Checkpoint): void {
    if (this.#checkpoint === null || block.number > this.#checkpoint.number) this.#checkpoint = block;
  }

  /** @throws EndpointFault BEHIND if what an endpoint calls the finalised head is older than what was seen */
  requireRecent(url: string, number: number): void {
    const seen = this.#checkpoint?.number ?? 0;
    if (number + maxLagBlocks < seen)
      throw new EndpointFault('BEHIND', `${url}: its finalised block is ${number}, but ${seen} was seen`);
  }

  close(): void {
    this.#ending.abort();
    for (const { connection } of this.#endpoints)
      connection?.close(new EndpointFault('CLOSED', `${connection.url}: closed here`));
  }

  async #openNext(): Promise<RpcConnection> {
    const nowMs = performance.now();
    const known = this.#endpoints.filter(({ restUntilMs }) => restUntilMs !== Number.POSITIVE_INFINITY);
    if (known.length === 0) throw this.#wrongNetwork();
    // Rested ones first, in the order given; if all rest, the one that has rested longest.
    const ready = known.filter(({ restUntilMs }) => restUntilMs <= nowMs);
    const order = ready.length > 0 ? ready : [...known].sort((a, b) => a.restUntilMs - b.restUntilMs).slice(0, 1);
    for (const endpoint of order) {
      try {
        return await this.#open(endpoint);
      } catch (error) {
        const fault = faultOf(error);
        if (fault === null) throw error;
        this.#rest(endpoint, fault);
      }
    }
    if (this.#endpoints.every(({ restUntilMs }) => restUntilMs === Number.POSITIVE_INFINITY))
      throw this.#wrongNetwork();
    throw this.#endpoints.find(({ fault }) => fault !== null)!.fault!;
  }

  async #open(endpoint: Endpoint): Promise<RpcConnection> {
    const connection = await connectRpc({ url: endpoint.url, timeoutMs: this.#timeoutMs });
    try {
      await this.#check(connection);
    } catch (error) {
      connection.close(new EndpointFault('CLOSED', `${endpoint.url}: not taken`));
      throw error;
    }
    if (this.#ending.signal.aborted) {
      connection.close(closed());
      throw closed();
    }
    endpoint.connection = connection;
    this.#log.info('ledger endpoint in use', { url: endpoint.url });
    for (const handler of this.#onConnected) handler(connection);
    return connection;
  }

  /** Same chain, and has the newest finalised block that was seen. */
  async #check(connection: RpcConnection): Promise<void> {
    const { url } = connection;
    const genesis = hashOf(await connection.request('chain_getBlockHash', [0]));
    if (genesis === null) throw new EndpointFault('BAD_ANSWER', `${url}: gave no hash of block 0`);
    if (this.#genesis !== null && genesis !== this.#genesis)
      throw new EndpointFault('WRONG_CHAIN', `${url}: block 0 is ${genesis}, expected ${this.#genesis}`);
    const checkpoint = this.#checkpoint;
    if (checkpoint !== null) {
      const hash = hashOf(await connection.request('chain_getBlockHash', [checkpoint.number]));
      if (hash === null) throw new EndpointFault('BEHIND', `${url}: does not have block ${checkpoint.number} yet`);
      if (hash !== checkpoint.hash)
        throw new EndpointFault('BAD_ANSWER', `${url}: has another finalised block ${checkpoint.number}`);
    }
    this.#genesis = genesis;
  }

  #rest(endpoint: Endpoint, fault: EndpointFault): void {
    endpoint.fault = fault;
    endpoint.failures++;
    const isElsewhere = fault.code === 'WRONG_CHAIN';
    const restMs = this.#backOffMs * 2 ** Math.min(endpoint.failures, 6);
    endpoint.restUntilMs = isElsewhere ? Number.POSITIVE_INFINITY : performance.now() + restMs;
    this.#log.warn('ledger endpoint left', { url: endpoint.url, code: fault.code, why: fault.message });
  }

  #succeeded(connection: RpcConnection): void {
    const endpoint = this.#endpoints.find((each) => each.connection === connection);
    if (endpoint !== undefined) endpoint.failures = 0;
  }

  async #wait(attempt: number): Promise<void> {
    await pause(this.#backOffMs * 2 ** Math.min(attempt - 1, 4), this.#ending.signal);
  }

  #faults(): string {
    return this.#endpoints.flatMap(({ fault }) => (fault === null ? [] : [fault.message])).join('; ');
  }

  #unavailable(): LedgerError {
    return new LedgerError(
      'UNAVAILABLE',
      `no endpoint of the chain answers (${this.#faults()}); check --endpoint, or name another one after a comma`,
      { retryable: true },
    );
  }

  #wrongNetwork(): LedgerError {
    return new LedgerError(
      'WRONG_NETWORK',
      `${this.#faults()}; this is another network than the run's: check --endpoint and --genesis`,
    );
  }
}

/** The endpoint's fault that an error is; null for what another endpoint would not do better. */
function faultOf(error: unknown): EndpointFault | null {
  if (error instanceof EndpointFault) return error;
  // Internal errors, "method not found", and limits of a public endpoint: another may answer.
  if (error instanceof RpcRefusal && (error.rpcCode <= -32000 || error.rpcCode === 429))
    return new EndpointFault('BAD_ANSWER', error.message, { cause: error });
  return null;
}

const closed = (): EndpointFault => new EndpointFault('CLOSED', 'the ledger is closed');

/** A block hash without `0x`; null if it is none. */
export const hashOf = (value: unknown): string | null =>
  typeof value === 'string' && /^0x[0-9a-f]{64}$/.test(value) ? value.slice(2) : null;

/** Waits, or rejects when the ledger is closed. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const closed = (): void => reject(new LedgerError('UNAVAILABLE', 'the ledger is closed'));
    if (signal.aborted) {
      closed();
      return;
    }
    const onAbort = (): void => {
      clearTimeout(timer);
      closed();
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    }, ms);
    signal.addEventListener('abort', onAbort, { once: true });
  });
}
