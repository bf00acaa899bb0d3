/**
 * @file One question to the API: address, ETag, size bound, schema. The same for a live server and for a snapshot's files.
 * Nothing that the schema refuses reaches a page.
 */
import type { z } from 'zod';
import { apiErrorSchema } from '../../../src/protocol/api/common.ts';
import { type ApiAnswer, type ApiRouteName, apiBase, apiRoutes } from '../../../src/protocol/api/routes.ts';
import { ApiFault } from './errors.ts';

/** Longer answers are refused unread: the largest honest one (a page of 200 claims, 64 series) is a tenth of it. */
const maxAnswerBytes = 32 * 1024 * 1024;
const timeoutMs = 15_000;

export interface Question<N extends ApiRouteName> {
  readonly name: N;
  readonly params?: Readonly<Record<string, string | number>>;
  readonly query?: Readonly<Record<string, string | number | undefined>>;
}

export interface Reply<T> {
  readonly data: T;
  readonly etag: string | null;
}

/** Where the page lies; the API and the record lie beside it. */
export const baseUrl = (): URL => new URL('.', document.baseURI);

/** Below `api/v1/`, without a question. */
export function pathOf<N extends ApiRouteName>({ name, params = {} }: Question<N>): string {
  return apiRoutes[name].path.replace(/:(\w+)/g, (_, key: string) => encodeURIComponent(String(params[key])));
}

/** Live: the question as it is. Snapshot: files know pages (`cursor`) and nothing else; the rest of a question is the page's work. */
export function urlOf<N extends ApiRouteName>(question: Question<N>, isSnapshot: boolean): URL {
  const url = new URL(`${apiBase.slice(1)}/${pathOf(question)}`, baseUrl());
  const query = Object.entries(question.query ?? {}).filter(([, value]) => value !== undefined);
  if (isSnapshot) {
    const cursor = question.query?.cursor;
    url.pathname += cursor === undefined ? '.json' : `.${cursor}.json`;
  } else for (const [key, value] of query) url.searchParams.set(key, String(value));
  return url;
}

/** Null: unchanged since `etag`. */
export async function ask<N extends ApiRouteName>(
  question: Question<N>,
  options: { isSnapshot: boolean; etag?: string | null; signal?: AbortSignal },
): Promise<Reply<ApiAnswer<N>> | null> {
  const url = urlOf(question, options.isSnapshot);
  const response = await fetchBounded(url, options);
  if (response.status === 304) return null;
  const value = await readJson(response, url);
  if (!response.ok) throw faultOf(response.status, value, url);
  const parsed = (apiRoutes[question.name].answer as unknown as z.ZodType<ApiAnswer<N>>).safeParse(value);
  if (!parsed.success)
    throw malformed(url, `${parsed.error.issues[0]?.path.join('.')}: ${parsed.error.issues[0]?.message}`);
  return { data: parsed.data, etag: response.headers.get('etag') };
}

async function fetchBounded(url: URL, options: { etag?: string | null; signal?: AbortSignal }): Promise<Response> {
  const limit = AbortSignal.timeout(timeoutMs);
  try {
    return await fetch(url, {
      headers: options.etag ? { 'if-none-match': options.etag } : {},
      cache: 'no-store', // the page keeps what it has; a 304 must reach it as one
      signal: options.signal === undefined ? limit : AbortSignal.any([limit, options.signal]),
    });
  } catch (cause) {
    if (options.signal?.aborted) throw cause;
    throw new ApiFault('UNREACHABLE', `${url.host || 'the files'} cannot be reached`, { cause, retryable: true });
  }
}

export async function readJson(response: Response, url: URL): Promise<unknown> {
  const length = Number(response.headers.get('content-length') ?? 0);
  if (length > maxAnswerBytes) throw malformed(url, `${length} bytes, at most ${maxAnswerBytes} are read`);
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch (cause) {
    if (response.status === 404) throw new ApiFault('NOT_FOUND', `${url.pathname} is not there`, { cause });
    throw malformed(url, 'not JSON', cause);
  }
}

function faultOf(status: number, value: unknown, url: URL): ApiFault {
  const known = apiErrorSchema.safeParse(value);
  if (known.success) return new ApiFault(known.data.code, known.data.message, { retryable: status >= 429 });
  const code = status === 404 ? 'NOT_FOUND' : 'UNAVAILABLE';
  return new ApiFault(code, `${url.pathname} answers ${status}`, { retryable: status >= 429 });
}

const malformed = (url: URL, what: string, cause?: unknown): ApiFault =>
  new ApiFault(
    'MALFORMED',
    `${url.pathname} does not answer as the API does (${what}); is this page of another version?`,
    {
      cause,
    },
  );
