/**
 * @file One JSON-RPC connection over WebSocket to a node. Every request has a limit of time, every answer a limit of size; what is
 * not JSON-RPC ends the connection. It neither reconnects nor repeats: that is decided above, where it is known what may be repeated.
 */
import { WebSocket } from 'ws';
import { EndpointFault, RpcRefusal } from './errors.ts';

export interface RpcConnection {
  readonly url: string;
  readonly isOpen: boolean;
  /** @throws EndpointFault; RpcRefusal if the node answers with an error */
  request(method: string, params: readonly unknown[]): Promise<unknown>;
  /** Messages of a subscription until the connection ends or the node drops it; both are silent. */
  subscribe(method: string, onMessage: (result: unknown) => void): Promise<void>;
  /** @param why what requests that wait are told */
  close(why: EndpointFault): void;
}

export interface ConnectRpcOptions {
  readonly url: string;
  readonly timeoutMs: number;
  readonly maxMessageBytes?: number;
}

interface Waiting {
  readonly method: string;
  readonly timer: NodeJS.Timeout;
  resolve(result: unknown): void;
  reject(error: unknown): void;
}

/** Metadata is some 700 kB of hex; a block at most some MB. */
const defaultMaxMessageBytes = 32 << 20;
/** Subscriptions' messages that came before the answer to the subscription. */
const maxEarly = 64;

/** @throws EndpointFault UNREACHABLE, TIMEOUT */
export function connectRpc({ url, timeoutMs, maxMessageBytes }: ConnectRpcOptions): Promise<RpcConnection> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, {
      maxPayload: maxMessageBytes ?? defaultMaxMessageBytes,
      handshakeTimeout: timeoutMs,
      perMessageDeflate: false,
    });
    const timer = setTimeout(() => {
      socket.terminate();
      reject(new EndpointFault('TIMEOUT', `${url}: no connection within ${timeoutMs} ms`));
    }, timeoutMs);
    socket.once('open', () => {
      clearTimeout(timer);
      socket.off('error', onError);
      resolve(new SocketConnection(url, socket, timeoutMs));
    });
    const onError = (cause: Error): void => {
      clearTimeout(timer);
      socket.on('error', () => undefined);
      reject(new EndpointFault('UNREACHABLE', `${url}: ${cause.message.slice(0, 200) || 'refused'}`, { cause }));
    };
    socket.once('error', onError);
  });
}

class SocketConnection implements RpcConnection {
  readonly url: string;
  readonly #socket: WebSocket;
  readonly #timeoutMs: number;
  readonly #waiting = new Map<number, Waiting>();
  readonly #subscribed = new Map<string, (result: unknown) => void>();
  readonly #early = new Map<string, unknown[]>();
  #nextId = 1;
  #ended: EndpointFault | null = null;

  constructor(url: string, socket: WebSocket, timeoutMs: number) {
    this.url = url;
    this.#socket = socket;
    this.#timeoutMs = timeoutMs;
    socket.on('message', (data) => this.#onMessage(String(data)));
    socket.on('error', (cause) =>
      this.close(new EndpointFault('CLOSED', `${url}: ${cause.message.slice(0, 200)}`, { cause })),
    );
    socket.on('close', () => this.close(new EndpointFault('CLOSED', `${url}: the connection ended`)));
  }

  get isOpen(): boolean {
    return this.#ended === null;
  }

  request(method: string, params: readonly unknown[]): Promise<unknown> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new EndpointFault('TIMEOUT', `${this.url}: no answer to ${method} within ${this.#timeoutMs} ms`));
      }, this.#timeoutMs);
      this.#waiting.set(id, { method, timer, resolve, reject });
      this.#socket.send(JSON.stringify({ jsonrpc: '2.0', id, method, params }));
    });
  }

  async subscribe(method: string, onMessage: (result: unknown) => void): Promise<void> {
    const id = await this.request(method, []);
    if (typeof id !== 'string' && typeof id !== 'number')
      throw new EndpointFault('BAD_ANSWER', `${this.url}: ${method} gave no subscription`);
    this.#subscribed.set(String(id), onMessage);
    for (const result of this.#early.get(String(id)) ?? []) onMessage(result);
    this.#early.clear();
  }

  close(why: EndpointFault): void {
    if (this.#ended !== null) return;
    this.#ended = why;
    for (const { timer, reject } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(why);
    }
    this.#waiting.clear();
    this.#subscribed.clear();
    this.#socket.terminate();
  }

  #onMessage(text: string): void {
    const message = parseMessage(text);
    if (message === null) {
      this.close(new EndpointFault('BAD_ANSWER', `${this.url}: sent what is not JSON-RPC`));
      return;
    }
    if (message.subscription !== null) {
      const handler = this.#subscribed.get(message.subscription);
      if (handler !== undefined) handler(message.result);
      else if (this.#early.size < maxEarly) this.#keepEarly(message.subscription, message.result);
      return;
    }
    const waiting = this.#waiting.get(message.id);
    if (waiting === undefined) return; // Came after its limit.
    this.#waiting.delete(message.id);
    clearTimeout(waiting.timer);
    if (message.error === null) waiting.resolve(message.result);
    else
      waiting.reject(
        new RpcRefusal(message.error.code, `${waiting.method}: ${message.error.text}`, message.error.data),
      );
  }

  #keepEarly(subscription: string, result: unknown): void {
    const early = this.#early.get(subscription) ?? [];
    if (early.length < maxEarly) early.push(result);
    this.#early.set(subscription, early);
  }
}

interface Message {
  readonly id: number;
  readonly subscription: string | null;
  readonly result: unknown;
  readonly error: { readonly code: number; readonly text: string; readonly data: unknown } | null;
}

/** Null if it is no JSON-RPC message. */
function parseMessage(text: string): Message | null {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch {
    return null;
  }
  if (!isRecord(raw)) return null;
  if (isRecord(raw.params) && raw.params.subscription !== undefined)
    return { id: -1, subscription: String(raw.params.subscription), result: raw.params.result, error: null };
  if (typeof raw.id !== 'number') return null;
  if (!isRecord(raw.error)) return { id: raw.id, subscription: null, result: raw.result ?? null, error: null };
  const { code, message, data } = raw.error;
  const error = { code: Number(code), text: String(message).slice(0, 300), data: boundedData(data) };
  return { id: raw.id, subscription: null, result: null, error };
}

const boundedData = (data: unknown): unknown => (JSON.stringify(data ?? null).length <= 2_000 ? data : null);

export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
