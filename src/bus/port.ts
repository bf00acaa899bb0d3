/** @file The bus: how roles hear of each other. Messages are text (canonical JSON of envelopes); topics are dotted names. */

export interface Subscription {
  close(): Promise<void>;
}

/** Answers one request; a thrown BaseError reaches the caller as a BusError with the same code. */
export type Responder = (payload: string, context: { readonly signal: AbortSignal }) => Promise<string>;

export interface Bus {
  /** At most once to each present subscriber, in the order of one publisher. Payload over `maxPayloadBytes` is refused. */
  publish(topic: string, payload: string): Promise<void>;
  /** Handler errors are counted and logged, never thrown into the publisher. */
  subscribe(topic: string, handler: (payload: string) => void): Promise<Subscription>;
  /**
   * Request and reply. Fails with `TIMEOUT` (retryable), `NO_RESPONDER` (retryable), `CLOSED` (retryable), or the
   * responder's own code. Idempotency is the caller's: a request may have been done although its reply was lost.
   */
  request(
    topic: string,
    payload: string,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<string>;
  /** One responder a topic; a second is refused with `TAKEN`. */
  respond(topic: string, responder: Responder): Promise<Subscription>;
  /** True while connected; a bus over a network reconnects by itself, with jittered back-off. */
  readonly connected: boolean;
  close(): Promise<void>;
}

export const maxPayloadBytes = 8 * 1024 * 1024;
