/**
 * @file What pages read: one cached answer a question, shared by all who show it, kept while the connection is gone, asked for
 * again when the journal grew but no more often than the page says. Answers that nobody shows are dropped, oldest first.
 */
import { type Signal, signal } from '@preact/signals';
import { useEffect, useMemo } from 'preact/hooks';
import type { ApiAnswer, ApiRouteName } from '../../../src/protocol/api/routes.ts';
import { ask, type Question, urlOf } from './client.ts';
import { setServerTime } from './clock.ts';
import { ApiFault } from './errors.ts';
import { sourceKind } from './source-kind.ts';

export interface Answer<T> {
  readonly data: T | null;
  /** Of the last question; `data` may still be there from before. */
  readonly fault: ApiFault | null;
  readonly isLoading: boolean;
}

interface Entry {
  readonly question: Question<ApiRouteName>;
  readonly answer: Signal<Answer<unknown>>;
  etag: string | null;
  everyMs: number;
  readers: number;
  askedAtMs: number;
  timer: ReturnType<typeof setTimeout> | null;
  isAsking: boolean;
  /** Something happened while the question was out. */
  isStale: boolean;
}

const maxIdleEntries = 24;
const entries = new Map<string, Entry>();

/** When a server last answered anything; `live.ts` shows it when the connection is gone. */
export const lastAnswerAtMs = signal<number | null>(null);

export interface AnswerOptions {
  readonly params?: NonNullable<Question<ApiRouteName>['params']>;
  readonly query?: NonNullable<Question<ApiRouteName>['query']>;
  /** At most this often, and only when something happened. Default 5 s. */
  readonly everyMs?: number;
  /** False: ask nothing yet. */
  readonly isWanted?: boolean;
}

export function useAnswer<N extends ApiRouteName>(name: N, options: AnswerOptions = {}): Answer<ApiAnswer<N>> {
  const key = keyOf(name, options);
  const isWanted = options.isWanted ?? true;
  const entry = useMemo(() => entryOf(key, name, options), [key]);
  entry.everyMs = options.everyMs ?? 5_000;
  useEffect(() => {
    if (!isWanted) return;
    entry.readers++;
    if (!entries.has(key)) entries.set(key, entry); // it was dropped between drawing and showing
    refresh(entry);
    return () => {
      entry.readers--;
      dropIdle();
    };
  }, [entry, isWanted]);
  return entry.answer.value as Answer<ApiAnswer<N>>;
}

const keyOf = (name: ApiRouteName, { params, query }: AnswerOptions): string => JSON.stringify([name, params, query]);

function entryOf(key: string, name: ApiRouteName, { params, query }: AnswerOptions): Entry {
  const known = entries.get(key);
  if (known !== undefined) return known;
  const entry: Entry = {
    question: { name, ...(params && { params }), ...(query && { query }) },
    answer: signal<Answer<unknown>>({ data: null, fault: null, isLoading: true }),
    etag: null,
    everyMs: 5_000,
    readers: 0,
    askedAtMs: Number.NEGATIVE_INFINITY,
    timer: null,
    isAsking: false,
    isStale: false,
  };
  entries.set(key, entry);
  return entry;
}

function dropIdle(): void {
  const idle = [...entries].filter(([, entry]) => entry.readers === 0);
  for (const [key] of idle.slice(0, Math.max(0, idle.length - maxIdleEntries))) entries.delete(key);
}

/** The journal grew, or may have: what is shown is asked for again, each answer at its own pace. */
export function refreshAll(options: { now?: boolean } = {}): void {
  for (const entry of entries.values()) {
    if (entry.readers === 0) continue;
    if (options.now) entry.askedAtMs = Number.NEGATIVE_INFINITY;
    refresh(entry);
  }
}

function refresh(entry: Entry): void {
  if (sourceKind.peek() === null || entry.timer !== null) return;
  if (sourceKind.peek() === 'snapshot' && entry.answer.peek().data !== null) return; // files do not change
  if (entry.isAsking) {
    entry.isStale = true;
    return;
  }
  const waitMs = entry.askedAtMs + entry.everyMs - Date.now();
  if (waitMs <= 0) void askFor(entry);
  else
    entry.timer = setTimeout(() => {
      entry.timer = null;
      if (entry.readers > 0) void askFor(entry);
    }, waitMs);
}

async function askFor(entry: Entry): Promise<void> {
  entry.isAsking = true;
  entry.isStale = false;
  entry.askedAtMs = Date.now();
  const before = entry.answer.peek();
  try {
    const reply = await ask(entry.question, { isSnapshot: sourceKind.peek() === 'snapshot', etag: entry.etag });
    lastAnswerAtMs.value = Date.now();
    if (reply !== null) {
      entry.etag = reply.etag;
      if ('nowMs' in reply.data && sourceKind.peek() === 'live') setServerTime(reply.data.nowMs);
      entry.answer.value = { data: reply.data, fault: null, isLoading: false };
    } else if (before.fault !== null || before.isLoading) {
      entry.answer.value = { ...before, fault: null, isLoading: false };
    }
  } catch (error) {
    const fault = error instanceof ApiFault ? error : new ApiFault('INTERNAL', String(error), { cause: error });
    entry.answer.value = { ...before, fault, isLoading: false };
  } finally {
    entry.isAsking = false;
    if (entry.isStale && entry.readers > 0) refresh(entry);
  }
}

/** For what is not a page's answer but must be fetched in steps (all rows of a list). */
export async function askOnce<N extends ApiRouteName>(
  question: Question<N>,
  signal: AbortSignal,
): Promise<ApiAnswer<N>> {
  const reply = await ask(question, { isSnapshot: sourceKind.peek() === 'snapshot', signal });
  lastAnswerAtMs.value = Date.now();
  return reply!.data; // without an ETag there is no "unchanged"
}

/** Address of an answer, for a link to the bare JSON. */
export const answerUrl = (name: ApiRouteName, options: AnswerOptions = {}): string =>
  urlOf({ name, ...options }, sourceKind.value === 'snapshot').href;
