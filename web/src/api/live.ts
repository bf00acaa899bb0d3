/**
 * @file The connection: server-sent events, opened again with growing pauses, told as lost when nothing comes for long. Where
 * events do not come through but answers do, the page polls. It only tells pages that something happened; they ask the API.
 */
import { effect, signal } from '@preact/signals';
import { type ApiPulse, type ApiUpdate, pulseSchema, updateSchema } from '../../../src/protocol/api/live.ts';
import { apiBase } from '../../../src/protocol/api/routes.ts';
import { lastAnswerAtMs, refreshAll } from './answers.ts';
import { ask, baseUrl } from './client.ts';
import { setServerTime } from './clock.ts';
import { ApiFault } from './errors.ts';

export type Connection =
  | { readonly kind: 'opening' }
  | { readonly kind: 'live' }
  | { readonly kind: 'polling' }
  | { readonly kind: 'lost'; readonly dataAtMs: number | null; readonly retryAtMs: number }
  | { readonly kind: 'snapshot' };

export const connection = signal<Connection>({ kind: 'opening' });
/** Newest of each; null before the first. */
export const update = signal<ApiUpdate | null>(null);
export const pulse = signal<ApiPulse | null>(null);

/** The server says something every few seconds; longer silence is a dead connection that the system has not noticed. */
const silenceMs = 30_000;
const pollMs = 10_000;
const firstPauseMs = 1_000;
const longestPauseMs = 15_000;

let stream: EventSource | null = null;
let retryTimer: ReturnType<typeof setTimeout> | null = null;
let silenceTimer: ReturnType<typeof setTimeout> | null = null;
let failures = 0;

export function connectLive(): void {
  open();
  addEventListener('online', reconnectNow);
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible' && connection.peek().kind !== 'live') reconnectNow();
    else if (document.visibilityState === 'visible') refreshAll();
  });
}

export function showSnapshot(): void {
  connection.value = { kind: 'snapshot' };
}

export function reconnectNow(): void {
  if (connection.peek().kind === 'snapshot') return;
  failures = Math.min(failures, 1);
  open();
}

function open(): void {
  close();
  const url = new URL(`${apiBase.slice(1)}/events`, baseUrl());
  const opened = new EventSource(url);
  stream = opened;
  watchSilence();
  opened.addEventListener('open', () => onOpen());
  opened.addEventListener('update', (event) => onUpdate(event));
  opened.addEventListener('pulse', (event) => onPulse(event));
  opened.addEventListener('error', () => stream === opened && onFailure());
}

function close(): void {
  stream?.close();
  stream = null;
  if (retryTimer !== null) clearTimeout(retryTimer);
  if (silenceTimer !== null) clearTimeout(silenceTimer);
  retryTimer = silenceTimer = null;
}

function watchSilence(): void {
  if (silenceTimer !== null) clearTimeout(silenceTimer);
  silenceTimer = setTimeout(onFailure, silenceMs);
}

function onOpen(): void {
  const wasAway = failures > 0 || connection.peek().kind !== 'live';
  failures = 0;
  connection.value = { kind: 'live' };
  watchSilence();
  if (wasAway) refreshAll({ now: true });
}

function onUpdate(event: MessageEvent<string>): void {
  watchSilence();
  const parsed = updateSchema.safeParse(parseJson(event.data));
  // Else a newer server's words: the pages' own questions tell what is wrong.
  if (parsed.success) {
    lastAnswerAtMs.value = Date.now();
    update.value = parsed.data;
  }
  refreshAll();
}

function onPulse(event: MessageEvent<string>): void {
  watchSilence();
  const parsed = pulseSchema.safeParse(parseJson(event.data));
  if (!parsed.success) return;
  lastAnswerAtMs.value = Date.now();
  setServerTime(parsed.data.nowMs);
  pulse.value = parsed.data;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Told after the first failure: the reader shall not take old numbers for new ones. */
function onFailure(): void {
  close();
  failures++;
  const pauseMs = Math.min(longestPauseMs, firstPauseMs * 2 ** (failures - 1)) * (0.8 + 0.4 * Math.random());
  void isAnswering().then((answers) => {
    if (stream !== null) return; // somebody reconnected meanwhile
    const retryAtMs = Date.now() + (answers ? pollMs : pauseMs);
    connection.value = answers ? { kind: 'polling' } : { kind: 'lost', dataAtMs: lastAnswerAtMs.peek(), retryAtMs };
    if (answers) refreshAll({ now: true });
    retryTimer = setTimeout(open, retryAtMs - Date.now());
  });
}

async function isAnswering(): Promise<boolean> {
  try {
    await ask({ name: 'run' }, { isSnapshot: false });
    return true;
  } catch (error) {
    return error instanceof ApiFault && error.code !== 'UNREACHABLE' && error.code !== 'UNAVAILABLE';
  }
}

/** A page that was cut off before it could show anything starts anew once it can. */
effect(() => {
  if (connection.value.kind === 'live') refreshAll();
});
