/** @file One end of one bus connection: calls and their answers over frames, bounded in number and in bytes waiting. */
import { type Log, type Metrics, silentLog, silentMetrics } from '../util/clock.ts';
import { withDeadline } from './deadline.ts';
import { BusError, toBusError } from './errors.ts';
import { type CallOperation, decodeFrame, encodeFrame, type FrameHeader, maxRequestMs } from './frames.ts';
import { closedError } from './in-process.ts';
import { checkPayload } from './limits.ts';

/** What a link needs of a WebSocket. */
export interface LinkSocket {
  readonly bufferedAmount: number;
  send(text: string): void;
  /** Ends the connection without waiting for what is buffered. */
  terminate(): void;
}

export interface IncomingCall {
  readonly operation: CallOperation;
  readonly topic: string;
  readonly payload: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

export interface LinkOptions {
  /** Does what the other end asks; its error goes back as a `failure`. */
  readonly onCall: (call: IncomingCall) => Promise<string>;
  readonly onDeliver: (topic: string, payload: string) => void;
  /** Bytes that may wait for a slow peer before it is cut off. */
  readonly maxBufferedBytes?: number;
  /** Calls of the peer that may be in work at once; more are refused with `BUSY`. */
  readonly maxIncomingCalls?: number;
  readonly log?: Log;
  readonly metrics?: Metrics;
}

interface Waiting {
  resolve(payload: string): void;
  reject(error: unknown): void;
}

export class Link {
  readonly #socket: LinkSocket;
  readonly #options: LinkOptions;
  readonly #log: Log;
  readonly #metrics: Metrics;
  readonly #waiting = new Map<number, Waiting>();
  readonly #incoming = new Map<number, AbortController>();
  #nextId = 0;
  #ended = false;

  constructor(socket: LinkSocket, options: LinkOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#log = options.log ?? silentLog;
    this.#metrics = options.metrics ?? silentMetrics;
  }

  /** Asks the other end; fails like `Bus.request`. */
  call(
    operation: CallOperation,
    topic: string,
    payload: string,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined },
  ): Promise<string> {
    const timeoutMs = Math.min(Math.max(0, Math.ceil(options.timeoutMs)), maxRequestMs);
    return withDeadline({ timeoutMs, signal: options.signal, what: topic }, (signal) => {
      if (this.#ended) return Promise.reject(closedError(topic));
      const id = this.#nextId++;
      signal.addEventListener('abort', () => {
        if (this.#waiting.delete(id)) this.#send({ kind: 'cancel', id });
      });
      return new Promise<string>((resolve, reject) => {
        this.#waiting.set(id, { resolve, reject });
        this.#send({ kind: 'call', id, operation, topic, timeoutMs }, payload);
      });
    });
  }

  deliver(topic: string, payload: string): void {
    this.#send({ kind: 'deliver', topic }, payload);
  }

  /** A frame came in. What no correct peer sends ends the connection. */
  receive(text: string): void {
    try {
      const { header, payload } = decodeFrame(text);
      this.#take(header, payload);
    } catch (error) {
      this.#metrics.count('bus_bad_frames_total');
      this.#log.warn('bus peer sent a bad frame', { reason: (error as Error).message });
      this.#socket.terminate();
    }
  }

  /** The connection is gone: waiting calls fail with `CLOSED`, calls in work are told. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    for (const waiting of this.#waiting.values()) waiting.reject(closedError('bus'));
    this.#waiting.clear();
    for (const controller of this.#incoming.values()) controller.abort(closedError('bus'));
    this.#incoming.clear();
  }

  #take(header: FrameHeader, payload: string): void {
    switch (header.kind) {
      case 'call':
        this.#work(header, payload);
        return;
      case 'result':
        this.#waiting.get(header.id)?.resolve(payload);
        this.#waiting.delete(header.id);
        return;
      case 'failure':
        this.#waiting
          .get(header.id)
          ?.reject(new BusError(header.code, header.message, { retryable: header.retryable }));
        this.#waiting.delete(header.id);
        return;
      case 'cancel':
        this.#incoming.get(header.id)?.abort(new BusError('TIMEOUT', 'the caller has given up'));
        return;
      case 'deliver':
        this.#options.onDeliver(header.topic, payload);
    }
  }

  #work(header: Extract<FrameHeader, { kind: 'call' }>, payload: string): void {
    const { id, operation, topic, timeoutMs } = header;
    if (this.#incoming.has(id)) throw new BusError('INTERNAL', `call ${id} is in work already`);
    if (this.#incoming.size >= (this.#options.maxIncomingCalls ?? 256)) {
      const message = `${this.#incoming.size} calls of this connection are in work; wait for some to end`;
      this.#send({ kind: 'failure', id, code: 'BUSY', message, retryable: true });
      return;
    }
    const controller = new AbortController();
    this.#incoming.set(id, controller);
    const { signal } = controller;
    this.#options
      .onCall({ operation, topic, payload, timeoutMs, signal })
      .then((reply): [FrameHeader, string] => {
        checkPayload(topic, reply);
        return [{ kind: 'result', id }, reply];
      })
      .catch((error: unknown): [FrameHeader, string] => {
        const known = toBusError(error);
        if (known.code === 'INTERNAL') this.#log.error('bus call failed', { operation, topic, error });
        const { code, message, retryable } = known;
        return [{ kind: 'failure', id, code: code.slice(0, 64), message: message.slice(0, 2_000), retryable }, ''];
      })
      .then(([answer, reply]) => {
        this.#incoming.delete(id);
        if (!signal.aborted) this.#send(answer, reply);
      });
  }

  #send(header: FrameHeader, payload = ''): void {
    if (this.#ended) return;
    if (this.#socket.bufferedAmount > (this.#options.maxBufferedBytes ?? 32 * 1024 * 1024)) {
      this.#metrics.count('bus_slow_peers_total');
      this.#log.warn('bus peer reads too slowly and is cut off', { bufferedBytes: this.#socket.bufferedAmount });
      this.#socket.terminate();
      return;
    }
    this.#socket.send(encodeFrame(header, payload));
  }
}
