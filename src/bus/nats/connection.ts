/**
 * @file One connection to NATS: made by URL, authenticated by the session key, mended by itself, told of what became of it.
 */
import {
  type Authenticator,
  type ConnectionOptions,
  connect,
  type NatsConnection,
  PermissionViolationError,
  UserAuthenticationExpiredError,
  wsconnect,
} from '@nats-io/transport-node';
import { WebSocket } from 'ws';
import type { Log, Metrics } from '../../util/clock.ts';
import { BusError } from '../errors.ts';
import { natsPayloadBytes } from './limits.ts';

/** A user's JWT, and the key that it is for. */
export interface NatsUser {
  /** The newest; asked for at each connection. */
  readonly jwt: () => string;
  /** `U…`: the public key. */
  readonly nkey: string;
  readonly sign: (bytes: Uint8Array) => Uint8Array;
  /** The server no longer takes the JWT: a new one is fetched. */
  readonly onExpired?: () => void;
}

export interface OpenNatsOptions {
  readonly servers: readonly string[];
  readonly inboxPrefix: string;
  /** Shown in the server's list of connections. */
  readonly name: string;
  /** Null: a server that asks for no credentials. */
  readonly user: NatsUser | null;
  readonly connectTimeoutMs: number;
  readonly minBackoffMs: number;
  readonly maxBackoffMs: number;
  readonly log: Log;
  readonly metrics: Metrics;
}

export class NatsLink {
  readonly nc: NatsConnection;
  readonly #options: OpenNatsOptions;
  readonly #violations = new Set<string>();
  readonly #handlers = new Set<() => void>();
  #isConnected = true;

  private constructor(nc: NatsConnection, options: OpenNatsOptions) {
    this.nc = nc;
    this.#options = options;
    this.#follow().catch((error) => options.log.error('bus status ended', { error: String(error) }));
  }

  /** @throws BusError UNREACHABLE or FORBIDDEN; later losses are mended */
  static async open(options: OpenNatsOptions): Promise<NatsLink> {
    const nc = await dial(options);
    const limit = nc.info?.max_payload ?? 0;
    if (limit < natsPayloadBytes + headerBytes || nc.info?.headers !== true) {
      await nc.close();
      throw new BusError(
        'UNREACHABLE',
        `${options.servers.join(', ')}: expected a server with headers and a max_payload of at least ${natsPayloadBytes + headerBytes} bytes, got ${limit}`,
      );
    }
    return new NatsLink(nc, options);
  }

  get isConnected(): boolean {
    return this.#isConnected && !this.nc.isClosed();
  }

  /** Called after each new connection. */
  onReconnect(handler: () => void): void {
    this.#handlers.add(handler);
  }

  /** Whether the server refused to take something on the subject since this was asked last. */
  takeViolation(subject: string): boolean {
    return this.#violations.delete(subject);
  }

  async #follow(): Promise<void> {
    const { log, metrics, user } = this.#options;
    for await (const status of this.nc.status()) {
      if (status.type === 'disconnect') {
        this.#isConnected = false;
        log.warn('bus connection lost; connecting again', { server: status.server });
      } else if (status.type === 'reconnect') {
        this.#isConnected = true;
        metrics.count('bus_reconnects_total');
        log.info('bus connected again', { server: status.server });
        for (const handler of this.#handlers) handler();
      } else if (status.type === 'error') this.#noteError(status.error);
      else if (status.type === 'slowConsumer') metrics.count('bus_slow_peers_total');
    }
    if (user !== null) log.debug('bus connection ended');
  }

  #noteError(error: Error): void {
    const { log, metrics, user } = this.#options;
    metrics.count('bus_server_errors_total', 1, { kind: error.name });
    if (error instanceof PermissionViolationError) {
      this.#violations.add(error.subject);
      // A list that nobody asks about must not grow.
      if (this.#violations.size > maxViolations) this.#violations.delete(this.#violations.values().next().value!);
    } else if (error instanceof UserAuthenticationExpiredError || /authorization|authentication/i.test(error.message))
      user?.onExpired?.();
    log.debug('the bus server refuses', { error: error.message });
  }
}

const headerBytes = 4_096;
const maxViolations = 256;

async function dial(options: OpenNatsOptions): Promise<NatsConnection> {
  const { servers, user, connectTimeoutMs, minBackoffMs, maxBackoffMs } = options;
  let attempt = 0;
  const settings: ConnectionOptions = {
    servers: [...servers],
    name: options.name,
    inboxPrefix: options.inboxPrefix,
    timeout: connectTimeoutMs,
    maxReconnectAttempts: -1,
    // Credentials that expired are replaced meanwhile.
    ignoreAuthErrorAbort: true,
    reconnectDelayHandler: () =>
      Math.min(maxBackoffMs, minBackoffMs * 2 ** Math.min(attempt++, 20)) * (0.5 + 0.5 * Math.random()),
    pingInterval: 15_000,
    noAsyncTraces: true,
    ...(user === null ? {} : { authenticator: authenticatorOf(user) }),
  };
  try {
    const isWebSocket = servers.every((server) => /^wss?:/.test(server));
    if (isWebSocket) provideWebSocket();
    const nc = await (isWebSocket ? wsconnect(settings) : connect(settings));
    void (async () => {
      for await (const { type } of nc.status()) if (type === 'reconnect') attempt = 0;
    })();
    return nc;
  } catch (cause) {
    const words = cause instanceof Error ? cause.message : String(cause);
    const where = servers.map(withoutUser).join(', ');
    if (/authorization|authentication/i.test(words))
      throw new BusError('FORBIDDEN', `${where}: the server does not know these credentials (${words})`, { cause });
    const sentence = `${where}: no NATS server answers there (${words}); is it running, and is the URL right?`;
    throw new BusError('UNREACHABLE', sentence, { retryable: true, cause });
  }
}

/** The client takes the browser's; this Node has none. */
function provideWebSocket(): void {
  const scope = globalThis as { WebSocket?: unknown };
  scope.WebSocket ??= WebSocket;
}

const withoutUser = (url: string): string => url.replace(/\/\/[^@/]*@/, '//');

/** Signed as it comes, so only what cannot be the bytes of a message of the run: those begin with a zero byte. */
const noncePattern = /^[A-Za-z0-9_-]{8,128}$/;

function authenticatorOf(user: NatsUser): Authenticator {
  return (nonce) => {
    if (nonce === undefined || !noncePattern.test(nonce))
      throw new BusError('FORBIDDEN', 'the server wants a signature over something else than a nonce');
    const signature = user.sign(new TextEncoder().encode(nonce));
    return { jwt: user.jwt(), nkey: user.nkey, sig: Buffer.from(signature).toString('base64url') };
  };
}
