/**
 * @file Server-sent events: what the journal gained, summed up a few times a second for all clients together. A client that
 * reads too slowly is cut off; it comes back with the last id that it saw.
 */
import type { ServerResponse } from 'node:http';
import type { Journal } from '../../journal/port.ts';
import { countedTokens, delegationOf } from '../../journal/queries.ts';
import type { RunState } from '../../journal/state.ts';
import { type ApiPulse, type ApiUpdate, maxLiveRows } from '../../protocol/api/live.ts';
import { parseSigner } from '../../protocol/keys.ts';
import type { EventBody, EventKind, JournalEntry } from '../../protocol/messages.ts';
import { fromDecimal, type Hash } from '../../protocol/names.ts';
import { type Clock, type Log, type Metrics, silentLog, silentMetrics } from '../../util/clock.ts';
import { liveOf } from './run-answers.ts';
import type { ApiSources } from './sources.ts';
import { mergeOf } from './training-answers.ts';

export interface LiveFeedOptions {
  readonly sources: ApiSources;
  readonly journal: Pick<Journal, 'head' | 'read' | 'follow'>;
  readonly clock: Clock;
  readonly log?: Log;
  readonly metrics?: Metrics;
  /** Time between two updates, at least. Default 500 ms. */
  readonly everyMs?: number;
}

/** Entries that a client that comes back is told of one by one; the others it reads anew. */
const maxMissed = 2_000;
/** Entries that wait for the next update. */
const maxWaiting = 10_000;
const pulseEveryMs = 5_000;
const keepAliveMs = 15_000;
const maxClients = 512;
const maxClientsOfAddress = 16;
/** Bytes that a client may leave unread. */
const maxUnreadBytes = 1024 * 1024;

export class LiveFeed {
  readonly #options: LiveFeedOptions;
  readonly #clients = new Map<ServerResponse, string>();
  readonly #stop = new AbortController();
  readonly #unfollow: () => void;
  #waiting: JournalEntry[] = [];
  #isPartial = false;
  #running: Promise<void> | null = null;

  constructor(options: LiveFeedOptions) {
    this.#options = options;
    this.#unfollow = options.journal.follow((entry) => this.#note(entry));
  }

  get clients(): number {
    return this.#clients.size;
  }

  hasRoom(address: string): boolean {
    const own = [...this.#clients.values()].filter((each) => each === address).length;
    return this.#clients.size < maxClients && own < maxClientsOfAddress;
  }

  /** Answers one client until it goes. `after`: the last entry that it knows. */
  async serve(
    response: ServerResponse,
    { address, after }: { readonly address: string; readonly after: number | null },
  ): Promise<void> {
    response.on('error', () => undefined);
    response.on('close', () => this.#clients.delete(response));
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      // Proxies that collect answers would hold these back.
      'x-accel-buffering': 'no',
    });
    response.write('retry: 2000\n\n');
    const { journal, log = silentLog } = this.#options;
    try {
      const { size } = journal.head;
      const missed = after === null ? [] : await this.#missed(after, size);
      if (missed.length > 0) this.#send(response, await this.#messageOf(missed, after! + 1 < missed[0]!.seq));
      const pulse = this.#pulse();
      if (pulse !== null) this.#send(response, pulse);
    } catch (error) {
      log.warn('a live connection could not begin', { error });
      response.destroy();
      return;
    }
    if (response.destroyed) return;
    this.#clients.set(response, address);
    this.#running ??= this.#run();
  }

  async close(): Promise<void> {
    this.#stop.abort(new Error('closed'));
    this.#unfollow();
    for (const client of this.#clients.keys()) client.end();
    this.#clients.clear();
    await this.#running;
  }

  #note(entry: JournalEntry): void {
    if (this.#clients.size === 0) {
      this.#waiting = [];
      return;
    }
    this.#waiting.push(entry);
    if (this.#waiting.length <= maxWaiting) return;
    this.#waiting.splice(0, maxWaiting / 2);
    this.#isPartial = true;
  }

  async #missed(after: number, size: number): Promise<JournalEntry[]> {
    const from = Math.max(after + 1, size - maxMissed);
    return from >= size ? [] : this.#options.journal.read(from, size - from);
  }

  /** While there are clients; the clock may be a test's. */
  async #run(): Promise<void> {
    const { clock, everyMs = 500, log = silentLog } = this.#options;
    let [pulsedAtMs, keptAtMs] = [clock.nowMs(), clock.nowMs()];
    while (this.#clients.size > 0 && !this.#stop.signal.aborted) {
      try {
        await this.#broadcastUpdate();
        const nowMs = clock.nowMs();
        if (nowMs - pulsedAtMs >= pulseEveryMs) {
          pulsedAtMs = nowMs;
          const pulse = this.#pulse();
          if (pulse !== null) this.#broadcast(pulse);
        }
        if (nowMs - keptAtMs >= keepAliveMs) {
          keptAtMs = nowMs;
          this.#broadcast(': \n\n');
        }
      } catch (error) {
        log.warn('live clients were not told', { error });
      }
      await clock.sleep(everyMs, this.#stop.signal).catch(() => {}); // an abort ends the loop
    }
    this.#running = null;
  }

  async #broadcastUpdate(): Promise<void> {
    const entries = this.#waiting;
    if (entries.length === 0) return;
    const isPartial = this.#isPartial;
    this.#waiting = [];
    this.#isPartial = false;
    this.#broadcast(await this.#messageOf(entries, isPartial));
  }

  #broadcast(message: string): void {
    for (const client of this.#clients.keys()) this.#send(client, message);
  }

  #send(client: ServerResponse, message: string): void {
    if (client.destroyed) return;
    const { metrics = silentMetrics } = this.#options;
    if (client.writableLength > maxUnreadBytes) {
      metrics.count('live_clients_cut_off_total');
      client.destroy();
      return;
    }
    client.write(message);
    metrics.count('live_messages_total');
  }

  async #messageOf(entries: readonly JournalEntry[], isPartial: boolean): Promise<string> {
    const { sources } = this.#options;
    await sources.level();
    const update = await updateOf(entries, sources, isPartial);
    return `id: ${update.toSeq}\nevent: update\ndata: ${JSON.stringify(update)}\n\n`;
  }

  #pulse(): string | null {
    const { sources } = this.#options;
    const state = sources.run();
    if (state?.run == null || sources.pulses() === null) return null;
    const { activeMiners, activeValidators, trainingLoss, trainedTokensPerSecond } = liveOf({ ...sources, state });
    const pulse: ApiPulse = {
      ...{ nowMs: sources.nowMs(), trainingLoss, trainedTokensPerSecond },
      ...{ activeMiners, activeValidators: activeValidators ?? 0 },
    };
    return `event: pulse\ndata: ${JSON.stringify(pulse)}\n\n`;
  }
}

/** What these entries say, beside what became of the things that they name. */
async function updateOf(
  entries: readonly JournalEntry[],
  { run, index }: ApiSources,
  isPartial: boolean,
): Promise<ApiUpdate> {
  const state = run()!;
  const of = <K extends EventKind>(kind: K) =>
    entries
      .filter(({ message }) => message.kind === kind)
      .map((entry) => ({ body: entry.message.body as EventBody<K>, atMs: entry.timeMs, entry }));
  const counts: Record<string, number> = {};
  for (const { message } of entries) counts[message.kind] = (counts[message.kind] ?? 0) + 1;
  const published = of('fragment-published');
  const merges = await Promise.all(published.slice(-maxLiveRows).map(({ body }) => index.merge(body.outerStep)));
  const claims = [...new Set(entries.flatMap(claimNamedIn))];
  const verdicts = of('verdict');
  const joins = [...of('join'), ...of('leave')].sort((a, b) => a.entry.seq - b.entry.seq);
  const releases = of('release');
  const last = entries.at(-1)!;
  const most = Math.max(published.length, claims.length, verdicts.length, joins.length, releases.length);
  return {
    ...{ fromSeq: entries[0]!.seq, toSeq: last.seq, atMs: last.timeMs, counts },
    countedTokens: countedTokens(state),
    merges: merges.flatMap((row) => (row === null ? [] : [mergeOf(row)])),
    claims: claims.slice(-maxLiveRows).flatMap((id) => claimSummary(state, id)),
    verdicts: verdicts.slice(-maxLiveRows).flatMap(({ body, atMs, entry }) => {
      const validator = hotkeyOf(state, entry);
      const { claim, outcome, code } = body;
      return validator === null ? [] : [{ ...{ claim, outcome, code, atMs }, validator: validator.hotkey }];
    }),
    joins: joins.slice(-maxLiveRows).flatMap(({ atMs, entry }) => {
      const who = hotkeyOf(state, entry);
      return who === null ? [] : [{ ...who, isPresent: entry.message.kind === 'join', atMs }];
    }),
    releases: releases.slice(-maxLiveRows).map(({ body, atMs }) => ({
      ...{ release: body.release, countedTokens: fromDecimal(body.countedTokens), atMs },
    })),
    phase: of('phase-change').at(-1)?.body.phase ?? null,
    isPartial: isPartial || most > maxLiveRows,
  };
}

function claimNamedIn({ message: { kind, body } }: JournalEntry): Hash[] {
  if (kind === 'merge') return (body as EventBody<'merge'>).claims.map(({ claim }) => claim);
  if (kind === 'fragment-published') return (body as EventBody<'fragment-published'>).shares.map(({ claim }) => claim);
  const claim = (body as { readonly claim?: unknown }).claim;
  return typeof claim === 'string' && kind !== 'audit-challenge' ? [claim as Hash] : [];
}

function claimSummary(state: RunState, id: Hash): ApiUpdate['claims'] {
  const claim = state.claims.get(id);
  if (claim === undefined) return [];
  const { hotkey, name, body, status, code } = claim;
  return [{ claim: id, hotkey, name, fragment: body.fragment, status, code }];
}

/** Whose session key signed it; null once that delegation is gone. */
function hotkeyOf(state: RunState, { message, timeMs }: JournalEntry) {
  const signer = parseSigner(message.signer);
  if (signer?.kind !== 'session') return null;
  const delegation = delegationOf(state, signer.sessionKey, timeMs);
  return delegation === null ? null : { hotkey: delegation.hotkey, name: delegation.name };
}
