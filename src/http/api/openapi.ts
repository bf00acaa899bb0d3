/** @file The OpenAPI 3.1 document of the read API, made from its zod schemas; and a plain page of it for people. */
import { z } from 'zod';
import { apiErrorSchema } from '../../protocol/api/common.ts';
import { pulseSchema, updateSchema } from '../../protocol/api/live.ts';
import { type ApiRoute, apiBase, apiRoutes } from '../../protocol/api/routes.ts';

type Json = Readonly<Record<string, unknown>>;

export const openapiVersion = '3.1.0';

export function openapiDocument(version: string): Json {
  const routes: readonly (readonly [string, ApiRoute])[] = Object.entries(apiRoutes);
  return {
    openapi: openapiVersion,
    info: {
      title: 'Accrete: read API of a run',
      version,
      description:
        'Everything is read; nothing here changes a run. Answers rest on the journal: `asOf` says how much of it. `ETag` follows from the journal, so that an unchanged answer is a 304.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    paths: {
      ...Object.fromEntries(routes.map(([name, route]) => [pathOf(route), { get: operationOf(name, route) }])),
      [`${apiBase}/events`]: { get: eventsOperation },
    },
    components: {
      schemas: {
        ...Object.fromEntries(routes.map(([name, { answer }]) => [schemaName(name), schemaOf(answer)])),
        Error: schemaOf(apiErrorSchema),
        Update: schemaOf(updateSchema),
        Pulse: schemaOf(pulseSchema),
      },
    },
  };
}

const schemaName = (route: string): string => `${route[0]!.toUpperCase()}${route.slice(1)}`;
const pathOf = ({ path }: ApiRoute): string => `${apiBase}/${path.replace(/:(\w+)/g, '{$1}')}`;

function schemaOf(schema: z.ZodType, io: 'input' | 'output' = 'output'): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { target: 'draft-2020-12', io, unrepresentable: 'any' });
  return rest;
}

function operationOf(name: string, { summary, params, query }: ApiRoute): Json {
  const parameters = [...parametersOf(params, 'path'), ...parametersOf(query, 'query')];
  return {
    ...{ operationId: name, summary, parameters },
    responses: {
      200: {
        description: 'The answer',
        headers: { ETag: { description: 'What the answer rests on', schema: { type: 'string' } } },
        content: { 'application/json': { schema: { $ref: `#/components/schemas/${schemaName(name)}` } } },
      },
      304: { description: 'Nothing has changed since the ETag in If-None-Match' },
      ...refusals('400', '404', '429', '500', '503'),
    },
  };
}

const reasons: Readonly<Record<string, string>> = {
  400: 'A parameter is not what it must be; `field` names it',
  404: 'There is no such thing, or no run yet',
  429: 'Too many requests of one client; `retryAfterSeconds` says when to go on',
  500: 'The server failed',
  503: 'The server cannot answer now',
};

const refusals = (...statuses: string[]): Json =>
  Object.fromEntries(
    statuses.map((status) => [
      status,
      {
        description: reasons[status],
        content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
      },
    ]),
  );

function parametersOf(schema: z.ZodObject, place: 'path' | 'query'): Json[] {
  const { properties = {}, required = [] } = schemaOf(schema, 'input') as {
    readonly properties?: Readonly<Record<string, Json>>;
    readonly required?: readonly string[];
  };
  return Object.entries(properties).map(([name, { ...type }]) => ({
    ...{ name, in: place, required: place === 'path' || required.includes(name) },
    schema: type,
  }));
}

const eventsOperation: Json = {
  operationId: 'events',
  summary: 'Server-sent events: summaries of new entries as they come',
  description:
    'Messages `update` (schema Update) carry the last entry that they cover as their id; a client that sends `Last-Event-ID` gets what it missed first. Messages `pulse` (schema Pulse) have no id.',
  parameters: [
    { name: 'Last-Event-ID', in: 'header', required: false, schema: { type: 'string', pattern: '^[0-9]{1,16}$' } },
  ],
  responses: {
    200: {
      description: 'A stream that does not end',
      content: { 'text/event-stream': { schema: { type: 'string' } } },
    },
    ...refusals('429', '503'),
  },
};

/** A list of the routes without scripts or styles, so that the strictest policy can stand. */
export function apiPage(): string {
  const rows = Object.values(apiRoutes as Readonly<Record<string, ApiRoute>>).map(
    (route) => `<li><code>GET ${pathOf(route)}</code>: ${route.summary}</li>`,
  );
  rows.push(`<li><code>GET ${apiBase}/events</code>: ${String(eventsOperation.summary)}</li>`);
  return [
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Accrete: read API</title>',
    '<h1>Read API</h1><p>The machine-readable description is at <a href="/api/openapi.json">/api/openapi.json</a> (OpenAPI 3.1).',
    'Metrics for Prometheus are at <a href="/metrics">/metrics</a>.</p>',
    `<ul>${rows.join('')}</ul></html>`,
  ].join('\n');
}
