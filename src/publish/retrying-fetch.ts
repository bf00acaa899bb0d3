/**
 * @file `fetch` for a hub: what may pass by itself (a broken connection, 429, 5xx) is tried again a few times, after what the
 * hub asks for, else after growing pauses; every other answer that is no success becomes an error with what to do.
 */
import type { Clock } from '../util/clock.ts';
import { PublishError } from './errors.ts';

export interface HubFetchOptions {
  readonly fetch: typeof fetch;
  readonly clock: Pick<Clock, 'sleep' | 'nowMs'>;
  readonly signal: AbortSignal;
  /** `owner/name`, for sentences. */
  readonly repo: string;
  /** Statuses that the caller deals with. */
  readonly expected?: readonly number[];
  /** Before a request is sent again: whether it still should be. Its error ends the trying. */
  beforeRetry?(): Promise<void>;
  say(sentence: string): void;
}

const maxTries = 5;
const firstPauseMs = 1_000;
/** A hub that asks for more is left alone; the operator, or the next release, comes back. */
const maxPauseMs = 120_000;
const maxDetail = 300;

export function hubFetch(options: HubFetchOptions): typeof fetch {
  return async (input, init) => {
    for (let tried = 1; ; tried++) {
      const outcome = await attempt(options, input, init);
      if ('response' in outcome) return outcome.response;
      if (tried === maxTries || outcome.pauseMs > maxPauseMs) throw outcome.error;
      const pauseMs = Math.max(outcome.pauseMs, firstPauseMs * 2 ** (tried - 1));
      options.say(`${outcome.error.message}; trying again in ${Math.ceil(pauseMs / 1000)} s`);
      await options.clock.sleep(pauseMs, options.signal).catch(() => {});
      if (options.signal.aborted) throw interrupted(options.signal.reason);
      await options.beforeRetry?.();
    }
  };
}

type Outcome = { readonly response: Response } | { readonly error: PublishError; readonly pauseMs: number };

/** @throws PublishError for what would only fail again */
async function attempt(options: HubFetchOptions, ...[input, init]: Parameters<typeof fetch>): Promise<Outcome> {
  const { signal, repo, expected = [] } = options;
  const url = typeof input === 'string' ? input : input instanceof URL ? input.href : input.url;
  let response: Response;
  try {
    response = await options.fetch(input, { ...init, signal: bothOf(signal, init?.signal) });
  } catch (cause) {
    if (signal.aborted) throw interrupted(cause);
    return { error: unreachable(url, cause), pauseMs: 0 };
  }
  if (response.ok || expected.includes(response.status)) return { response };
  const error = errorOf(response.status, { repo, url, detail: await detailOf(response) });
  if (!error.retryable) throw error;
  const asked = response.status === 429 ? retryAfterMs(response.headers.get('retry-after'), options.clock.nowMs()) : 0;
  if (asked <= maxPauseMs) return { error, pauseMs: asked };
  const sentence = `the hub allows no more requests for ${Math.ceil(asked / 1000)} s; wait so long, then the same command goes on where this one stopped`;
  return { error: new PublishError('RATE_LIMITED', sentence, { retryable: true }), pauseMs: asked };
}

const bothOf = (a: AbortSignal, b: AbortSignal | null | undefined): AbortSignal =>
  b === null || b === undefined ? a : AbortSignal.any([a, b]);

/** Seconds or a date (RFC 9110, §10.2.3); 0 where it says neither. */
export function retryAfterMs(header: string | null, nowMs: number): number {
  if (header === null) return 0;
  if (/^\s*\d{1,9}\s*$/.test(header)) return Number(header) * 1000;
  const dateMs = Date.parse(header);
  return Number.isNaN(dateMs) ? 0 : Math.max(0, dateMs - nowMs);
}

/** What the hub says, as one short line; never headers, which hold the token. */
async function detailOf(response: Response): Promise<string> {
  const reader = response.body?.getReader();
  if (reader === undefined) return '';
  const { value } = await reader.read().catch(() => ({ value: undefined }));
  await reader.cancel().catch(() => {});
  const text = new TextDecoder().decode(value?.subarray(0, 4_096) ?? new Uint8Array());
  const said = /"(?:error|message)"\s*:\s*"((?:[^"\\]|\\.)*)"/.exec(text)?.[1] ?? text;
  // A stranger's bytes go to a terminal.
  return said
    .replace(/[\p{C}\s]+/gu, ' ')
    .trim()
    .slice(0, maxDetail);
}

export function errorOf(
  status: number,
  { repo, url, detail }: { readonly repo: string; readonly url: string; readonly detail: string },
): PublishError {
  const said = detail === '' ? '' : ` ("${detail}")`;
  const context = { context: { status, url: withoutQuery(url) } };
  switch (status) {
    case 401:
      return new PublishError(
        'UNAUTHORISED',
        `the hub does not accept the token${said}; set HF_TOKEN to a token with write access to ${repo}`,
        context,
      );
    case 403:
      return new PublishError(
        'FORBIDDEN',
        `the token may not write to ${repo}${said}; use a token with write access to it, or another repository`,
        context,
      );
    case 409:
    case 412:
      return moved(repo, said);
    case 429:
      return new PublishError(
        'RATE_LIMITED',
        `the hub allows no more requests for now${said}; the same command goes on where this one stopped`,
        { ...context, retryable: true },
      );
    default:
      return new PublishError(
        'HUB_FAILED',
        status >= 500 || status === 408
          ? `the hub failed with status ${status}${said}; the same command goes on where this one stopped`
          : `the hub refused ${new URL(url).pathname} with status ${status}${said}; check HF_ENDPOINT and the repository's name`,
        { ...context, retryable: status >= 500 || status === 408 },
      );
  }
}

export const moved = (repo: string, said = ''): PublishError =>
  new PublishError(
    'MOVED',
    `somebody else committed to main of ${repo} meanwhile${said}, so nothing was published; look at what changed, then give the same command again`,
  );

const withoutQuery = (url: string): string => url.replace(/\?.*$/s, '');

function unreachable(url: string, cause: unknown): PublishError {
  const reason = (cause as { cause?: { code?: string; message?: string } }).cause;
  const why = reason?.code ?? reason?.message ?? (cause as Error).message;
  return new PublishError(
    'UNREACHABLE',
    `the connection to ${new URL(url).host} failed (${why}); check the network, then the same command goes on where this one stopped`,
    { cause, retryable: true },
  );
}

export const interrupted = (cause: unknown): PublishError =>
  new PublishError(
    'INTERRUPTED',
    'stopped; nothing was published, and the same command goes on where this one stopped',
    {
      cause,
      retryable: true,
    },
  );
