/**
 * @file The read API on a server: every route of `protocol/api/routes.ts` with its parameters checked, ETags from the journal's
 * head, reads for every origin, and a limit for each client. Nothing here can change a run: only GET and HEAD are answered.
 */
import { createHash } from 'node:crypto';
import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { z } from 'zod';
import { JournalError } from '../../journal/errors.ts';
import type { ApiError } from '../../protocol/api/common.ts';
import { type ApiRoute, type ApiRouteName, apiBase, apiRoutes } from '../../protocol/api/routes.ts';
import { type Log, type Metrics, silentLog, silentMetrics } from '../../util/clock.ts';
import { BaseError } from '../../util/errors.ts';
import { AnswerCache } from './answer-cache.ts';
import { answers, levelled } from './answers.ts';
import type { LiveFeed } from './live-feed.ts';
import { apiPage, openapiDocument } from './openapi.ts';
import { type ApiSources, NotThere, type Sources } from './sources.ts';

export interface ApiOptions {
  readonly sources: ApiSources;
  /** Of the program; for the OpenAPI document. */
  readonly version: string;
  /** Null serves no `events`. */
  readonly feed: LiveFeed | null;
  /** Requests of one address in a minute. Behind a proxy all clients have one. */
  readonly requestsPerMinute?: number;
  readonly log?: Log;
  readonly metrics?: Metrics;
}

const defaultRequestsPerMinute = 1_200;

/** For `startHttpServer`. */
export function apiRoutesOf(options: ApiOptions): (app: FastifyInstance) => Promise<void> {
  const { log = silentLog, metrics = silentMetrics } = options;
  return async (app) => {
    await app.register(async (scope) => {
      await scope.register(rateLimit, {
        max: options.requestsPerMinute ?? defaultRequestsPerMinute,
        timeWindow: 60_000,
        // Addresses are remembered up to here; more make the oldest forgotten.
        cache: 10_000,
        errorResponseBuilder: (_, { ttl }) => new TooMany(Math.max(1, Math.ceil(ttl / 1_000))),
      });
      scope.setErrorHandler((error, request, reply) => {
        const [status, body] = refusalOf(error);
        if (status >= 500) log.error('api request failed', { path: request.url.slice(0, 100), error });
        metrics.count('http_errors_total', 1, { status: String(status) });
        return reply.code(status).send(body);
      });
      scope.addHook('onRequest', async (_, reply) => {
        reply.header('access-control-expose-headers', 'etag, retry-after');
        reply.header('x-content-type-options', 'nosniff');
      });
      scope.addHook('onResponse', async (request, reply) => {
        const route = request.routeOptions.url ?? 'none';
        metrics.observe('http_request_seconds', reply.elapsedTime / 1_000, { route, status: String(reply.statusCode) });
      });
      addDocuments(scope, options.version);
      for (const name of Object.keys(apiRoutes) as ApiRouteName[]) addRoute(scope, name, options.sources);
      if (options.feed !== null) addEvents(scope, options.feed);
      addRefusals(scope);
    });
  };
}

class TooMany extends Error {
  readonly statusCode = 429;
  readonly retryAfterSeconds: number;
  constructor(retryAfterSeconds: number) {
    super('too many requests from this address');
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

class BadParameter extends Error {
  readonly field: string | undefined;
  constructor({ issues }: z.ZodError) {
    const issue = issues[0]!;
    const unknown = issue.code === 'unrecognized_keys' ? issue.keys[0] : undefined;
    super(issue.message.slice(0, 300));
    this.field = (unknown ?? issue.path.join('.')).slice(0, 64);
  }
}

/** The index cannot be written or read: no answer is better than one of another time. */
const behind: ReadonlySet<string> = new Set([
  ...['INDEX_AWAY', 'INDEX_DENIED', 'INDEX_BUSY', 'INDEX_CONFLICT', 'INDEX_DAMAGED', 'DISK_FULL', 'IO'],
]);
const indexBehind = 'the index is behind the journal: its database does not take or give rows now; try again';

function refusalOf(error: unknown): [status: number, body: ApiError] {
  if (error instanceof NotThere) return [404, { code: 'NOT_FOUND', message: error.message }];
  if (error instanceof TooMany)
    return [429, { code: 'TOO_MANY_REQUESTS', message: error.message, retryAfterSeconds: error.retryAfterSeconds }];
  if (error instanceof BadParameter)
    return [400, { code: 'BAD_REQUEST', message: error.message, ...(error.field ? { field: error.field } : {}) }];
  if (error instanceof JournalError && error.code === 'BAD_CURSOR')
    return [400, { code: 'BAD_REQUEST', message: error.message, field: 'cursor' }];
  if (error instanceof JournalError && behind.has(error.code))
    return [503, { code: 'UNAVAILABLE', message: indexBehind, retryAfterSeconds: 5 }];
  const { statusCode = 500, message } = error as { readonly statusCode?: number; readonly message: string };
  if (statusCode < 500) return [statusCode, { code: 'BAD_REQUEST', message: message.slice(0, 200) }];
  if (error instanceof BaseError && error.retryable)
    return [503, { code: 'UNAVAILABLE', message: 'the server cannot answer now; try again', retryAfterSeconds: 5 }];
  return [500, { code: 'INTERNAL', message: 'the server failed; its log says how' }];
}

function addDocuments(scope: FastifyInstance, version: string): void {
  const document = JSON.stringify(openapiDocument(version));
  const page = apiPage();
  scope.get('/api/openapi.json', async (_, reply) => reply.type('application/json').send(document));
  scope.get('/api', async (_, reply) =>
    reply.header('content-security-policy', "default-src 'none'").type('text/html; charset=utf-8').send(page),
  );
}

function addRoute(scope: FastifyInstance, name: ApiRouteName, sources: ApiSources): void {
  const route: ApiRoute = apiRoutes[name];
  const answer = answers[name] as (sources: Sources, params: unknown, query: unknown) => unknown;
  const cache = new AnswerCache();
  scope.get(`${apiBase}/${route.path}`, async (request, reply) => {
    const params = parsed(route.params, request.params);
    const query = parsed(route.query, request.query);
    const level = await levelled(sources);
    if (route.isLive === true) {
      const body = JSON.stringify(await answer(level, params, query));
      // The clock alone makes no other answer.
      return sendTagged(request, reply, tagOf(body.replace(/"(nowMs|ageMs)":\d+/g, '')), () => body);
    }
    const { size, headHash } = level.asOf;
    const tag = `W/"${size}.${headHash.slice(0, 16)}"`;
    return sendTagged(request, reply, tag, () =>
      cache.get(request.url, tag, async () => JSON.stringify(await answer(level, params, query))),
    );
  });
}

function parsed(schema: z.ZodType, value: unknown): unknown {
  const result = schema.safeParse(value);
  if (!result.success) throw new BadParameter(result.error);
  return result.data;
}

const tagOf = (body: string): string => `W/"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`;

async function sendTagged(
  request: FastifyRequest,
  reply: FastifyReply,
  tag: string,
  body: () => string | Promise<string>,
): Promise<FastifyReply> {
  reply.header('etag', tag).header('cache-control', 'no-cache');
  const known = request.headers['if-none-match'];
  if (known?.split(',').some((each) => each.trim() === tag)) return reply.code(304).send();
  return reply.type('application/json').send(await body());
}

function addEvents(scope: FastifyInstance, feed: LiveFeed): void {
  scope.get(`${apiBase}/events`, async (request, reply) => {
    const last = request.headers['last-event-id'];
    const isSeq = typeof last === 'string' && /^\d{1,15}$/.test(last);
    if (!feed.hasRoom(request.ip)) {
      const message = 'too many live connections; read the pages instead, or close one';
      return reply.code(503).send({ code: 'UNAVAILABLE', message, retryAfterSeconds: 30 } satisfies ApiError);
    }
    reply.hijack();
    await feed.serve(reply.raw, { address: request.ip, after: isSeq ? Number(last) : null });
  });
}

/** What browsers ask before reads with such headers, and everything that is no read. */
function addRefusals(scope: FastifyInstance): void {
  for (const url of ['/api', '/api/*']) {
    scope.options(url, async (_, reply) =>
      reply
        .header('access-control-allow-methods', 'GET, HEAD')
        .header('access-control-allow-headers', 'if-none-match, last-event-id')
        .header('access-control-max-age', '86400')
        .code(204)
        .send(),
    );
    scope.route({
      method: ['POST', 'PUT', 'PATCH', 'DELETE'],
      url,
      handler: async (request, reply) => {
        const message = `${request.method}: this API is only read`;
        return reply
          .code(405)
          .header('allow', 'GET, HEAD')
          .send({ code: 'METHOD_NOT_ALLOWED', message } satisfies ApiError);
      },
    });
  }
  scope.get('/api/*', async (request) => {
    throw new NotThere(`${request.url.slice(0, 100)}: there is no such route; /api lists them`);
  });
}
