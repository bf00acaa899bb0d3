/** @file Reads the orchestrator's HTTP API: bounded, in time, and parsed at the edge. */
import { z } from 'zod';
import { type Envelope, envelopeSchema, type JournalEntry, journalEntrySchema } from '../protocol/messages.ts';
import { UsageError } from '../util/errors.ts';
import { HttpError } from './errors.ts';
import { type Status, statusSchema } from './status.ts';

export interface FetchOptions {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

const maxStatusBytes = 32 * 1024 * 1024;
const maxPageBytes = 256 * 1024 * 1024;

/** What the network does now. */
export async function fetchStatus(url: string, options: FetchOptions = {}): Promise<Status> {
  return parse(statusSchema, await fetchText(url, '/status', maxStatusBytes, options), `${url}/status`);
}

/** The signed manifest. Its signature is not checked here. */
export async function fetchRun(url: string, options: FetchOptions = {}): Promise<Envelope> {
  return parse(envelopeSchema, await fetchText(url, '/run', maxStatusBytes, options), `${url}/run`);
}

/** One page of the journal from `from` on; empty at its end. Hashes and signatures are not checked here. */
export async function fetchJournal(
  url: string,
  page: FetchOptions & { readonly from: number; readonly limit?: number },
): Promise<readonly JournalEntry[]> {
  const lines = await fetchJournalText(url, page);
  return lines.map((line, i) => parse(journalEntrySchema, line, `${url}/journal, entry ${page.from + i}`));
}

/** The same as text, for whoever checks its form. */
export async function fetchJournalText(
  url: string,
  page: FetchOptions & { readonly from: number; readonly limit?: number },
): Promise<readonly string[]> {
  const { from, limit = 256, ...options } = page;
  const path = `/journal?from=${from}&limit=${limit}`;
  const text = await fetchText(url, path, maxPageBytes, options);
  const lines = text.split('\n').filter((line) => line !== '');
  if (lines.length > limit) throw malformed(`${url}${path}`, `expected at most ${limit} lines, got ${lines.length}`);
  return lines;
}

/** Any other answer in JSON. */
export async function fetchJson<T>(
  url: string,
  path: string,
  schema: z.ZodType<T>,
  options: FetchOptions & { readonly limitBytes: number },
): Promise<T> {
  return parse(schema, await fetchText(url, path, options.limitBytes, options), `${url}${path}`);
}

/** Bytes as they come; an answer that brings none for `timeoutMs` is given up. @throws HttpError */
export async function* fetchBytes(url: string, path: string, options: FetchOptions = {}): AsyncGenerator<Uint8Array> {
  const address = addressOf(url, path);
  const idle = new AbortController();
  const restart = (): NodeJS.Timeout =>
    setTimeout(() => idle.abort(new Error('no bytes in time')), options.timeoutMs ?? 30_000);
  let timer = restart();
  const signal = options.signal === undefined ? idle.signal : AbortSignal.any([idle.signal, options.signal]);
  try {
    const response = await fetch(address, { signal });
    if (!response.ok) throw refused(address, response.status, await readText(response, address, 65_536));
    for await (const chunk of response.body ?? []) {
      clearTimeout(timer);
      timer = restart();
      yield chunk;
    }
  } catch (cause) {
    options.signal?.throwIfAborted();
    if (cause instanceof HttpError) throw cause;
    throw new HttpError('UNREACHABLE', `${address}: broke off (${reasonOf(cause)})`, { cause, retryable: true });
  } finally {
    clearTimeout(timer);
  }
}

/** True if something answers there as an orchestrator does; never throws but for an URL that is none. */
export async function isHealthy(url: string, options: FetchOptions = {}): Promise<boolean> {
  try {
    await fetchText(url, '/health', 1_024, { timeoutMs: 2_000, ...options });
    return true;
  } catch (error) {
    if (error instanceof HttpError) return false;
    throw error;
  }
}

async function fetchText(url: string, path: string, limitBytes: number, options: FetchOptions): Promise<string> {
  const address = addressOf(url, path);
  const limit = AbortSignal.timeout(options.timeoutMs ?? 10_000);
  const signal = options.signal === undefined ? limit : AbortSignal.any([limit, options.signal]);
  try {
    const response = await fetch(address, { signal });
    const text = await readText(response, address, limitBytes);
    if (!response.ok) throw refused(address, response.status, text);
    return text;
  } catch (cause) {
    options.signal?.throwIfAborted();
    if (cause instanceof HttpError) throw cause;
    const why = limit.aborted ? 'no answer in time' : reasonOf(cause);
    const sentence = `${url}: no orchestrator can be reached there (${why}); is it running, and is the URL right?`;
    throw new HttpError('UNREACHABLE', sentence, { cause, retryable: true });
  }
}

function addressOf(url: string, path: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  if (parsed === null || !/^https?:$/.test(parsed.protocol)) {
    throw new UsageError(`expected a URL such as http://127.0.0.1:4680, got ${JSON.stringify(url)}`);
  }
  return `${parsed.href.replace(/\/+$/, '')}${path}`;
}

async function readText(response: Response, address: string, limitBytes: number): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  let sizeBytes = 0;
  for await (const chunk of response.body ?? []) {
    sizeBytes += chunk.byteLength;
    if (sizeBytes > limitBytes) {
      throw new HttpError('TOO_LARGE', `${address}: expected at most ${limitBytes} bytes; is it an orchestrator?`);
    }
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

function refused(address: string, status: number, text: string): HttpError {
  const schema = z.object({ code: z.string(), message: z.string() });
  let sentence = `it answered with status ${status}`;
  try {
    sentence = schema.parse(JSON.parse(text)).message.slice(0, 500);
  } catch {
    // Not one of our answers: the status must do.
  }
  const retryable = status >= 500 || status === 429;
  return new HttpError('REFUSED', `${address}: ${sentence}`, { retryable, context: { status } });
}

function parse<T>(schema: z.ZodType<T>, text: string, what: string): T {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw malformed(what, 'expected JSON', cause);
  }
  const parsed = schema.safeParse(json);
  if (!parsed.success) throw malformed(what, z.prettifyError(parsed.error).slice(0, 300));
  return parsed.data;
}

function malformed(what: string, why: string, cause?: unknown): HttpError {
  return new HttpError('MALFORMED', `${what}: ${why}; is it an orchestrator of this version?`, { cause });
}

function reasonOf(cause: unknown): string {
  const inner = ((cause as Error).cause ?? cause) as NodeJS.ErrnoException;
  return inner.code ?? (inner.message || 'unknown');
}
