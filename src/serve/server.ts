/**
 * @file An HTTP server that speaks OpenAI's protocol over one model: models, completions and chat completions, whole or
 * streamed; `/health`, `/healthz` and `/metrics` beside them. Nothing is fetched, stored or executed for a client. A
 * request is bounded in bytes, tokens and choices; who finds no place in the queue is told when to come again.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { z } from 'zod';
import { type HttpServer, listen } from '../http/listen.ts';
import { operationsRoutes } from '../http/operations.ts';
import type { PrometheusMetrics } from '../http/prometheus.ts';
import type { LanguageModel } from '../inference/language-model.ts';
import { Scheduler, type SchedulerOptions } from '../inference/scheduler.ts';
import { type Log, silentLog } from '../util/clock.ts';
import { type AnswerParts, streamAnswer, wholeAnswer } from './answer.ts';
import { chatPlan } from './chat.ts';
import { completionPlan } from './completions.ts';
import { ApiFault, faultOf, internalFault, knownFault, queueFull } from './errors.ts';
import { EventStream } from './event-stream.ts';
import type { Plan } from './plan.ts';
import { chatSchema, completionSchema } from './schemas.ts';

export interface ServeOptions extends SchedulerOptions {
  readonly model: LanguageModel;
  readonly host: string;
  /** 0 takes any free one. */
  readonly port: number;
  readonly metrics: PrometheusMetrics;
  readonly log?: Log;
  /** Clients must send it as `Authorization: Bearer KEY`; null: anybody may ask. */
  readonly apiKey?: string | null;
  readonly maxBodyBytes?: number;
  readonly nowMs?: () => number;
}

export interface ModelServer extends HttpServer {
  readonly scheduler: Scheduler;
}

const defaultBodyBytes = 4 * 1024 * 1024;

/** `close` ends open answers; the model is the caller's to release. @throws UsageError where the port is taken */
export async function serveModel(options: ServeOptions): Promise<ModelServer> {
  const { model, metrics, host, port, nowMs = Date.now } = options;
  const { fastify } = await import('fastify');
  const app = fastify({
    logger: false,
    bodyLimit: options.maxBodyBytes ?? defaultBodyBytes,
    // Of a request's head and body; an answer may take as long as it takes.
    requestTimeout: 60_000,
    keepAliveTimeout: 10_000,
    forceCloseConnections: true,
  });
  // A body that is no JSON is refused as such; a page of another origin could send it unasked.
  app.removeContentTypeParser('text/plain');
  const scheduler = new Scheduler(model.model, options);
  const startedAtMs = nowMs();
  const fingerprint = `fp_${createHash('sha256').update(JSON.stringify(model.model.config)).digest('hex').slice(0, 12)}`;
  answerErrors(app, options.log ?? silentLog);
  observe(app, metrics);
  await app.register(async (scope) => {
    if (options.apiKey) requireKey(scope, options.apiKey);
    addModels(scope, model, Math.floor(startedAtMs / 1000));
    const parts = { model, scheduler, metrics, fingerprint, nowMs };
    addRoute(scope, '/v1/completions', completionSchema, completionPlan, parts);
    addRoute(scope, '/v1/chat/completions', chatSchema, chatPlan, parts);
  });
  app.get('/health', async () => ({ ok: true }));
  const gauges = () => ({
    serve_sequences_active: scheduler.activeCount,
    serve_sequences_waiting: scheduler.waitingCount,
  });
  await operationsRoutes({ metrics, gauges, check: async () => null })(app);
  const server = await listen(app, { host, port });
  return {
    ...{ ...server, scheduler },
    close: async () => {
      await scheduler.close();
      await server.close();
    },
  };
}

type RouteParts = Omit<AnswerParts, 'signal'>;

function addRoute<Body extends { readonly model: string }>(
  app: FastifyInstance,
  url: string,
  schema: z.ZodType<Body>,
  planFor: (model: LanguageModel, body: Body) => Plan,
  parts: RouteParts,
): void {
  app.post(url, async (request, reply) => {
    const parsed = schema.safeParse(request.body);
    if (!parsed.success) throw faultOf(parsed.error);
    checkModel(parsed.data.model, parts.model);
    const plan = planFor(parts.model, parsed.data);
    admit(plan, parts.scheduler);
    const signal = goneSignal(reply);
    if (!plan.isStream) return await wholeAnswer(plan, { ...parts, signal });
    reply.hijack();
    await stream(plan, reply, { ...parts, signal });
    return reply;
  });
}

/** Aborts when the connection closes before the answer is sent. */
function goneSignal({ raw }: FastifyReply): AbortSignal {
  const gone = new AbortController();
  raw.once('close', () => gone.abort(new Error('the client is gone')));
  return gone.signal;
}

/** All choices of a request find a place, or none is begun. */
function admit({ requests }: Plan, scheduler: Scheduler): void {
  const { concurrent, queue } = scheduler.options;
  if (requests.length > concurrent + queue)
    throw new ApiFault(`${requests.length} choices; at most ${concurrent + queue} are made at a time`, { param: 'n' });
  if (scheduler.hasRoomFor(requests.length)) return;
  const before = scheduler.activeCount + scheduler.waitingCount;
  throw queueFull(`${before} sequences run or wait; try again later`, Math.ceil(before / concurrent));
}

/** A fault before the first byte has its status; one after it is an event, for the status is sent. */
async function stream(plan: Plan, reply: FastifyReply, parts: AnswerParts): Promise<void> {
  const events = new EventStream(reply.raw);
  try {
    await streamAnswer(plan, events, parts);
  } catch (error) {
    if (!parts.signal.aborted) await events.send((knownFault(error) ?? internalFault()).body);
    events.end();
    if (!parts.signal.aborted && knownFault(error) === null) throw error;
  }
}

function addModels(app: FastifyInstance, model: LanguageModel, created: number): void {
  const entry = { id: model.name, object: 'model', created, owned_by: 'accrete' };
  app.get('/v1/models', async () => ({ object: 'list', data: [entry] }));
  app.get('/v1/models/*', async (request: FastifyRequest<{ Params: { '*': string } }>) => {
    checkModel(request.params['*'], model);
    return entry;
  });
}

function checkModel(asked: string, { name }: LanguageModel): void {
  if (asked === name) return;
  const sentence = `there is no model '${asked.slice(0, 100)}' here; this server has '${name}'`;
  throw new ApiFault(sentence, { status: 404, param: 'model', code: 'model_not_found' });
}

function requireKey(app: FastifyInstance, key: string): void {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  const wanted = digest(`Bearer ${key}`);
  app.addHook('onRequest', async (request) => {
    if (timingSafeEqual(digest(request.headers.authorization ?? ''), wanted)) return;
    const sentence = 'the API key is missing or wrong; send it as Authorization: Bearer KEY';
    throw new ApiFault(sentence, { status: 401, type: 'authentication_error', code: 'invalid_api_key' });
  });
}

function observe(app: FastifyInstance, metrics: PrometheusMetrics): void {
  app.addHook('onResponse', async (request, reply) => {
    const labels = { route: request.routeOptions.url ?? 'none', status: String(reply.raw.statusCode) };
    metrics.observe('serve_request_seconds', reply.elapsedTime / 1_000, labels);
    metrics.count('serve_requests_total', 1, labels);
  });
}

function answerErrors(app: FastifyInstance, log: Log): void {
  app.setNotFoundHandler((request, reply) => {
    const sentence = `${request.method} ${request.url.slice(0, 100)}: there is nothing at this path`;
    return refuse(reply, new ApiFault(sentence, { status: 404, code: 'unknown_url' }));
  });
  app.setErrorHandler((error, request, reply) => {
    // A client that went away hears nothing any more.
    if (reply.raw.destroyed) return reply.hijack();
    const fault = knownFault(error);
    if (fault === null) log.error('request failed', { path: request.url.slice(0, 100), error });
    return refuse(reply, fault ?? internalFault());
  });
}

function refuse(reply: FastifyReply, { status, body, retryAfterSeconds }: ApiFault): FastifyReply {
  if (retryAfterSeconds !== null) reply.header('retry-after', String(retryAfterSeconds));
  return reply.code(status).send(body);
}
