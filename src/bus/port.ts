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
  request(topic: string, payload: string, options: RequestOptions): Promise<string>;
  /** One responder a topic; a second is refused with `TAKEN`. */
  respond(topic: string, responder: Responder): Promise<Subscription>;
  /** True while connected; a bus over a network reconnects by itself, with jittered back-off. */
  readonly connected: boolean;
  /** Logs that the bus itself keeps; absent where it keeps nothing, and readers ask who has the log. */
  readonly replica?: Replica;
  close(): Promise<void>;
}

export interface RequestOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /**
   * Names the request. A bus that keeps requests (`KeptTopics.work`) has one of the same name worked on once, and gives the one
   * answer to whoever asks again; a bus that keeps nothing ignores it.
   */
  readonly once?: string;
}

/**
 * Numbered copies of logs that others keep and answer for, so that many can read along without asking them. Each message is also
 * delivered to the topic's subscribers.
 */
export interface Replica {
  /** How many messages the topic holds. */
  size(topic: string): Promise<number>;
  /** Puts the message at its place `at`, once. Fails with `OUT_OF_PLACE` unless exactly `at` messages are there before it. */
  append(topic: string, at: number, payload: string): Promise<void>;
  /** Messages from place `from` on, as far as there are any, at most `limit`. */
  read(topic: string, from: number, limit: number): Promise<readonly string[]>;
}

/** Topics that a bus which can keep messages keeps, and how; all others are delivered and forgotten. */
export interface KeptTopics {
  /** Requests: kept until they are answered, each worked on once, a bounded number at a time. */
  readonly work: readonly string[];
  readonly logs: readonly string[];
  /**
   * The newest message of each publisher, which later subscribers get first, for so long (0: for ever). By the topic's first part.
   */
  readonly latest: Readonly<Record<string, { readonly keepMs: number }>>;
}

export const maxPayloadBytes = 8 * 1024 * 1024;
