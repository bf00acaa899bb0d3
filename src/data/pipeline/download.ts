/**
 * @file Fetches a file over HTTP(S) to a folder: goes on where it broke off, with a range, as long as the server says that
 * it is still the same file; checked against what a hub says of it; whole under its name, or not there. Does file I/O.
 */
import { createHash } from 'node:crypto';
import { type FileHandle, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import type { Clock } from '../../util/clock.ts';
import { writeAll } from '../../util/node-write.ts';
import { DataError } from '../errors.ts';
import { asDiskFault, closing, gitSha1OfFile, sha256OfFile, writeWhole } from './durable.ts';
import type { SourceInput } from './sources.ts';

export interface DownloadOptions {
  readonly input: SourceInput & { readonly url: string };
  readonly target: string;
  /** Sent to the URL's own host only; redirections to others go without. */
  readonly token: string | null;
  readonly fetch: typeof fetch;
  readonly clock: Pick<Clock, 'sleep'>;
  readonly signal: AbortSignal;
  /** A connection that moves no byte for so long is given up. */
  readonly idleMs: number;
  readonly maxBytes: number;
  say(line: string): void;
}

const recordSchema = z.strictObject({
  url: z.string(),
  validator: z.string().nullable(),
  sizeBytes: z.int().min(0),
  sha256: z.string(),
});
/** What is known of a finished download, beside it. */
export type DownloadRecord = z.infer<typeof recordSchema>;

const partialSchema = z.strictObject({ url: z.string(), validator: z.string() });

/** Attempts in a row that bring no byte. */
const maxTries = 5;
const firstPauseMs = 500;
const maxPauseMs = 60_000;

/** @throws DataError NOT_FOUND, FORBIDDEN, UNAVAILABLE, HASH_MISMATCH, LIMIT, INTERRUPTED */
export async function download(options: DownloadOptions): Promise<DownloadRecord> {
  const { target, input } = options;
  await mkdir(dirname(target), { recursive: true });
  const known = await readRecord(target);
  if (known?.url === input.url && (await stat(target).catch(() => null))?.size === known.sizeBytes) return known;
  const validator = await fetchAll(options);
  const partial = `${target}.part`;
  const { size } = await stat(partial);
  const sha256 = await sha256OfFile(partial, options.signal);
  await checkPinned(options, { path: partial, sizeBytes: size, sha256 });
  const record: DownloadRecord = { url: input.url, validator, sizeBytes: size, sha256 };
  await rename(partial, target);
  await writeWhole(`${target}.json`, Buffer.from(`${JSON.stringify(record)}\n`));
  await rm(`${partial}.json`, { force: true });
  return record;
}

async function readRecord(target: string): Promise<DownloadRecord | null> {
  try {
    return recordSchema.parse(JSON.parse(await readFile(`${target}.json`, 'utf8')));
  } catch {
    return null; // Not there, or cut short: it is fetched again.
  }
}

async function checkPinned(
  { input }: DownloadOptions,
  got: { readonly path: string; readonly sizeBytes: number; readonly sha256: string },
): Promise<void> {
  const expected = input.sha256 ?? input.gitSha1;
  if (expected === undefined && input.sizeBytes === undefined) return;
  const actual =
    input.sha256 !== undefined ? got.sha256 : input.gitSha1 && (await gitSha1OfFile(got.path, got.sizeBytes));
  if (actual === expected && (input.sizeBytes ?? got.sizeBytes) === got.sizeBytes) return;
  await rm(got.path, { force: true });
  throw new DataError(
    'HASH_MISMATCH',
    `${input.url}: expected ${expected ?? 'a file'} of ${input.sizeBytes} bytes, got ${actual ?? 'one'} of ${got.sizeBytes}; it was thrown away: give the command again, or add the source anew if it changed`,
  );
}

/** All bytes to `target.part`; gives the validator. */
async function fetchAll(options: DownloadOptions): Promise<string | null> {
  const { signal, clock, say, input } = options;
  let failures = 0;
  for (;;) {
    const before = await partialSize(options.target);
    try {
      return await attempt(options);
    } catch (cause) {
      if (signal.aborted)
        throw new DataError('INTERRUPTED', `${input.url}: stopped; the same command goes on where it stopped`, {
          cause,
        });
      const error = asDownloadError(options, cause);
      failures = (await partialSize(options.target)) > before ? 1 : failures + 1;
      if (!error.retryable || failures >= maxTries) throw error;
      const asked = Number(error.context.retryAfterMs ?? 0);
      if (asked > maxPauseMs) throw error;
      const pauseMs = Math.max(asked, firstPauseMs * 2 ** (failures - 1));
      say(`${error.message}; trying again in ${Math.ceil(pauseMs / 1000)} s`);
      await clock.sleep(pauseMs, signal).catch(() => {});
    }
  }
}

const partialSize = async (target: string): Promise<number> =>
  (await stat(`${target}.part`).catch(() => null))?.size ?? 0;

async function attempt(options: DownloadOptions): Promise<string | null> {
  const { target, input, token } = options;
  const partial = `${target}.part`;
  const known = await readPartial(partial, input.url);
  const have = known === null ? 0 : await partialSize(target);
  const headers: Record<string, string> = { 'accept-encoding': 'identity' };
  if (token !== null) headers.authorization = `Bearer ${token}`;
  if (have > 0) Object.assign(headers, { range: `bytes=${have}-`, 'if-range': known!.validator });
  const idle = new AbortController();
  const signal = AbortSignal.any([options.signal, idle.signal]);
  const timer = setTimeout(() => idle.abort(new Error(`no byte for ${options.idleMs} ms`)), options.idleMs);
  try {
    const response = await options.fetch(input.url, { headers, signal });
    const plan = await planOf(response, have, options);
    if (plan.isWhole) return known!.validator;
    if (plan.validator !== null && plan.from === 0)
      await writeWhole(`${partial}.json`, Buffer.from(JSON.stringify({ url: input.url, validator: plan.validator })));
    else if (plan.from === 0) await rm(`${partial}.json`, { force: true });
    const file = await open(partial, plan.from === 0 ? 'w' : 'r+');
    await closing(file, () => receive(file, response, plan, { ...options, touch: () => timer.refresh() }));
    return plan.validator;
  } finally {
    clearTimeout(timer);
  }
}

/** Bytes whose file may have changed meanwhile are no beginning of anything: without a validator there is no going on. */
async function readPartial(partial: string, url: string): Promise<z.infer<typeof partialSchema> | null> {
  try {
    const parsed = partialSchema.parse(JSON.parse(await readFile(`${partial}.json`, 'utf8')));
    return parsed.url === url ? parsed : null;
  } catch {
    return null;
  }
}

interface Plan {
  readonly from: number;
  /** Null: the server does not say. */
  readonly totalBytes: number | null;
  readonly validator: string | null;
  readonly isWhole: boolean;
}

async function planOf(response: Response, have: number, options: DownloadOptions): Promise<Plan> {
  const { input, maxBytes } = options;
  const validator = validatorOf(response.headers);
  const range = /^bytes (\d+)-\d+\/(\d+)$/.exec(response.headers.get('content-range') ?? '');
  const unsatisfied = /^bytes \*\/(\d+)$/.exec(response.headers.get('content-range') ?? '');
  if (response.status === 416 && have > 0) {
    await response.body?.cancel();
    // All of it came before the connection broke, or what came was of another file.
    if (Number(unsatisfied?.[1]) === have) return { from: have, totalBytes: have, validator, isWhole: true };
    await rm(`${options.target}.part.json`, { force: true });
    throw new DataError('UNAVAILABLE', `${input.url}: the file changed while it was fetched`, { retryable: true });
  }
  if (!response.ok) throw await statusError(response, input.url);
  const isOn = response.status === 206 && range !== null && Number(range[1]) === have;
  if (response.status === 206 && !isOn)
    throw new DataError('UNAVAILABLE', `${input.url}: another range came than was asked for`);
  const length = response.headers.get('content-length');
  const totalBytes = isOn ? Number(range![2]) : length === null ? (input.sizeBytes ?? null) : Number(length);
  if ((totalBytes ?? 0) > maxBytes)
    throw new DataError('LIMIT', `${input.url}: ${totalBytes} bytes, bound ${maxBytes}; raise --max-file-gib`);
  return { from: isOn ? have : 0, totalBytes, validator, isWhole: false };
}

/** A strong ETag (RFC 9110, section 13.1.5), or the date. */
function validatorOf(headers: Headers): string | null {
  const etag = headers.get('etag');
  if (etag !== null && !etag.startsWith('W/')) return etag.slice(0, 1024);
  return headers.get('last-modified')?.slice(0, 64) ?? null;
}

async function receive(
  file: FileHandle,
  response: Response,
  { from, totalBytes }: Plan,
  options: DownloadOptions & { readonly touch: () => void },
): Promise<void> {
  const { input, target, maxBytes } = options;
  let at = from;
  await file.truncate(from);
  try {
    for await (const chunk of response.body ?? []) {
      options.touch();
      if (at + chunk.byteLength > (totalBytes ?? maxBytes))
        throw new DataError('LIMIT', `${input.url}: more than the ${totalBytes ?? maxBytes} bytes that it may have`);
      await writeAll(file, chunk, at).catch((cause: unknown) => {
        throw asDiskFault(target, cause);
      });
      at += chunk.byteLength;
    }
  } finally {
    await file.sync();
  }
  if (totalBytes !== null && at !== totalBytes)
    throw new DataError('UNAVAILABLE', `${input.url}: it broke off after ${at} of ${totalBytes} bytes`, {
      retryable: true,
    });
}

async function statusError(response: Response, url: string): Promise<DataError> {
  await response.body?.cancel();
  const { status } = response;
  if (status === 404 || status === 410)
    return new DataError('NOT_FOUND', `${url}: there is no such file (status ${status}); check the source's address`);
  if (status === 401 || status === 403)
    return new DataError(
      'FORBIDDEN',
      `${url}: the server refuses (status ${status}); for a data set behind terms, accept them on its page and set HF_TOKEN`,
    );
  const seconds = Number(response.headers.get('retry-after'));
  return new DataError('UNAVAILABLE', `${url}: the server answers with status ${status}`, {
    retryable: status >= 500 || status === 408 || status === 429,
    context: { retryAfterMs: Number.isFinite(seconds) && status === 429 ? seconds * 1000 : 0 },
  });
}

function asDownloadError({ input }: DownloadOptions, cause: unknown): DataError {
  if (cause instanceof DataError) return cause;
  const { code } = cause as NodeJS.ErrnoException;
  if (code !== undefined && /^E(ACCES|ROFS|PERM|ISDIR|NOTDIR)$/.test(code)) throw cause;
  const inner = (cause as { cause?: { code?: string; message?: string } }).cause;
  const why = inner?.code ?? inner?.message ?? (cause as Error).message;
  return new DataError('UNAVAILABLE', `${input.url}: the connection failed (${why})`, { cause, retryable: true });
}

/** A name for a URL's file: short, its own, and with an ending that people know. */
export function downloadName(url: string): string {
  const base = new URL(url).pathname
    .split('/')
    .at(-1)!
    .replace(/[^A-Za-z0-9._-]/g, '_')
    .slice(-80);
  return `${createHash('sha256').update(url).digest('hex').slice(0, 24)}-${base}`;
}
