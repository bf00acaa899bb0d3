/**
 * @file The orchestrator's HTTP API: health, manifest, journal and status for everybody, and whatever is mounted beside
 * them (the store). Reads what it is handed and decides nothing. Fastify is loaded when a server starts, not before.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type Log, type Metrics, silentLog, silentMetrics } from '../util/clock.ts';
import { BaseError } from '../util/errors.ts';
import { type HttpServer, listen } from './listen.ts';
import type { Status } from './status.ts';

/** Answers a request by itself, to the last byte; does not reject. */
export type RawHandler = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

export interface HttpSources {
  /** The signed manifest as JSON text; null until there is a run. */
  readonly run: () => string | null;
  /** Canonical lines of the entries [from, from + limit), as far as there are any; without line ends. */
  readonly journal: (from: number, limit: number) => Promise<readonly string[]>;
  readonly status: () => Promise<Status> | Status;
  /** The ledger's public history, for whoever recomputes it. */
  readonly ledger?: LedgerSource;
}

/** Each answer is JSON. */
export interface LedgerSource {
  readonly genesis: unknown;
  /** The made ones among the blocks [from, from + limit). */
  blocks(from: number, limit: number): Promise<unknown>;
  /** A page of calls, and where the next begins. */
  calls(cursor: number, limit: number): Promise<unknown>;
}

export interface StartHttpServerOptions extends HttpSources {
  readonly host: string;
  /** 0 takes any free one. */
  readonly port: number;
  /** Handlers by prefix, e.g. `/store/`; every method and body is theirs. */
  readonly mounts?: Readonly<Record<string, RawHandler>>;
  /** Further routes, in order: the read API, what operators read, the dashboard's files. */
  readonly routes?: readonly ((app: FastifyInstance) => Promise<void>)[];
  readonly log?: Log;
  readonly metrics?: Metrics;
}

export const maxJournalLimit = 1_000;
const defaultJournalLimit = 256;

/** What `startHttpServer` needs, for who will start one in a hurry. */
export async function loadHttpServer(): Promise<void> {
  await import('fastify');
}

/** Fails with UsageError where the port is taken or not allowed. */
export async function startHttpServer(options: StartHttpServerOptions): Promise<HttpServer> {
  const { host, port, log = silentLog, metrics = silentMetrics } = options;
  const { fastify } = await import('fastify');
  const app = fastify({
    logger: false,
    bodyLimit: 65_536,
    // Each of the paths reads a few headers; slow ones are cut off.
    connectionTimeout: 120_000,
    keepAliveTimeout: 10_000,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 128 },
  });
  answerErrors(app, log, metrics);
  addReads(app, options);
  for (const [prefix, handler] of Object.entries(options.mounts ?? {})) mount(app, prefix, handler);
  for (const add of options.routes ?? []) await add(app);
  // A mounted handler asks for the body itself, once it wants it.
  app.server.on('checkContinue', (request, response) => app.server.emit('request', request, response));
  return await listen(app, { host, port });
}

function addReads(app: FastifyInstance, sources: HttpSources): void {
  // A page of another origin may read the record to check it; only what reads is answered at all.
  app.addHook('onRequest', async (request, reply) => {
    if (request.method === 'GET' || request.method === 'HEAD') reply.raw.setHeader('access-control-allow-origin', '*');
  });
  app.get('/health', async () => ({ ok: true }));
  app.get('/run', async (_, reply) => {
    const run = sources.run();
    if (run === null) return refuse(reply, 404, 'NO_RUN', 'no run has begun here yet; try again');
    return reply.type('application/json').send(run);
  });
  app.get('/status', async (_, reply) => {
    const status = await sources.status();
    return reply.header('cache-control', 'no-store').send(status);
  });
  app.get('/journal', async (request: PageRequest, reply) => {
    const page = pageOf(request);
    if (page === null) return refuseQuery(reply);
    const lines = await sources.journal(page.from, page.limit);
    return reply.type('application/x-ndjson').send(lines.map((line) => `${line}\n`).join(''));
  });
  if (sources.ledger !== undefined) addLedgerReads(app, sources.ledger);
}

function addLedgerReads(app: FastifyInstance, ledger: LedgerSource): void {
  app.get('/ledger/genesis', async (_, reply) => reply.send(ledger.genesis));
  for (const what of ['blocks', 'calls'] as const)
    app.get(`/ledger/${what}`, async (request: PageRequest, reply) => {
      const page = pageOf(request);
      return page === null ? refuseQuery(reply) : reply.send(await ledger[what](page.from, page.limit));
    });
}

type PageRequest = FastifyRequest<{ Querystring: Record<string, unknown> }>;

/** Null for what is no page. */
function pageOf({ query }: PageRequest): { readonly from: number; readonly limit: number } | null {
  const from = readCount(query.from, 0);
  const limit = readCount(query.limit, defaultJournalLimit);
  if (from === null || limit === null || limit < 1) return null;
  return { from, limit: Math.min(limit, maxJournalLimit) };
}

const refuseQuery = (reply: FastifyReply): FastifyReply =>
  refuse(reply, 400, 'BAD_QUERY', `expected from ≥ 0 and 1 ≤ limit ≤ ${maxJournalLimit}, whole numbers`);

/** Null for what is no whole number within 2^53. */
function readCount(value: unknown, otherwise: number): number | null {
  if (value === undefined) return otherwise;
  if (typeof value !== 'string' || !/^\d{1,16}$/.test(value)) return null;
  return Number.isSafeInteger(Number(value)) ? Number(value) : null;
}

function mount(app: FastifyInstance, prefix: string, handler: RawHandler): void {
  void app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    // Fastify must not touch the body: it may be large, and is the handler's.
    scope.addContentTypeParser('*', (_request, _payload, done) => done(null));
    scope.route({
      method: ['GET', 'HEAD', 'PUT', 'POST', 'DELETE'],
      url: `${prefix}*`,
      bodyLimit: Number.MAX_SAFE_INTEGER,
      exposeHeadRoute: false,
      handler: async (request, reply) => {
        reply.hijack();
        await handler(request.raw, reply.raw);
      },
    });
  });
}

function refuse(reply: FastifyReply, status: number, code: string, message: string): FastifyReply {
  return reply.code(status).send({ code, message });
}

/** Clients see codes and sentences that are meant for them; the rest goes to the log. */
function answerErrors(app: FastifyInstance, log: Log, metrics: Metrics): void {
  app.setNotFoundHandler((request, reply) =>
    refuse(reply, 404, 'NOT_FOUND', `${request.method} ${request.url.slice(0, 100)}: there is nothing at this path`),
  );
  app.setErrorHandler((error: Error & { statusCode?: number }, request, reply) => {
    const status = error.statusCode ?? 500;
    metrics.count('http_errors_total', 1, { status: String(status) });
    if (status < 500) return refuse(reply, status, 'BAD_REQUEST', error.message.slice(0, 200));
    log.error('http request failed', { path: request.url.slice(0, 100), error });
    const known = error instanceof BaseError && error.retryable;
    return refuse(reply, known ? 503 : 500, known ? error.code : 'INTERNAL', 'the orchestrator failed; try again');
  });
}
