/**
 * @file A run that is played again from recorded entries, as far as one likes, behind the real read API: index, live events,
 * metrics and all. For what reads a run and must not train one.
 */
import type { FastifyInstance } from 'fastify';
import { LiveFeed } from '../../src/http/api/live-feed.ts';
import { apiRoutesOf } from '../../src/http/api/register.ts';
import type { ApiSources, LedgerView, ModelView } from '../../src/http/api/sources.ts';
import type { Pulse } from '../../src/http/build-status.ts';
import type { HttpServer } from '../../src/http/listen.ts';
import { operationsRoutes } from '../../src/http/operations.ts';
import { PrometheusMetrics } from '../../src/http/prometheus.ts';
import { type LedgerSource, startHttpServer } from '../../src/http/server.ts';
import { siteRoutes } from '../../src/http/site.ts';
import { applyEvent } from '../../src/journal/fold.ts';
import { Indexer } from '../../src/journal/index/indexer.ts';
import type { JournalIndex } from '../../src/journal/index/port.ts';
import { openSqliteIndex } from '../../src/journal/index/sqlite.ts';
import { MemoryJournal } from '../../src/journal/memory.ts';
import { emptyState, type RunState } from '../../src/journal/state.ts';
import { parseSigner } from '../../src/protocol/keys.ts';
import type { JournalEntry } from '../../src/protocol/messages.ts';
import { messageId, type OpenedMessage } from '../../src/protocol/signing.ts';
import { canonicalJson } from '../../src/util/canonical-json.ts';
import type { Clock } from '../../src/util/clock.ts';

/** Of a synthetic run, whose manifest names no model. */
export const testModel: ModelView = {
  ...{ paramsTotal: 1_000_000, paramsActive: 200_000, layers: 4, experts: 8, expertsPerToken: 2, vocabSize: 256 },
  ...{ memoryBytes: 300e6, diskBytes: 100e6, downloadBytes: 4e6, uploadBytesPerClaim: 1e6 },
};

export interface ReplayedRunOptions {
  readonly entries: readonly JournalEntry[];
  readonly clock: Clock;
  readonly port?: number;
  readonly model?: ModelView;
  readonly ledger?: () => Promise<LedgerView | null>;
  readonly pulses?: () => ReadonlyMap<string, Pulse> | null;
  readonly modelCard?: (release: number) => Promise<string | null>;
  readonly requestsPerMinute?: number;
  /** Folder of the dashboard's files. */
  readonly site?: string;
  readonly routes?: readonly ((app: FastifyInstance) => Promise<void>)[];
  readonly mounts?: Parameters<typeof startHttpServer>[0]['mounts'];
  readonly indexPath?: string;
  /** Default: SQLite. Closed with the run. */
  readonly index?: JournalIndex;
  /** The ledger's public history. */
  readonly ledgerHistory?: LedgerSource;
  /** Lines of the journal as they are served, e.g. falsified ones; default: the entries that were played. */
  readonly lines?: (from: number, limit: number) => readonly string[];
  readonly liveEveryMs?: number;
}

export class ReplayedRun {
  readonly state: RunState = emptyState();
  readonly journal = new MemoryJournal();
  readonly metrics = new PrometheusMetrics();
  sources!: ApiSources;
  server!: HttpServer;
  readonly #options: ReplayedRunOptions;
  #indexer!: Indexer;
  #feed!: LiveFeed;

  private constructor(options: ReplayedRunOptions) {
    this.#options = options;
  }

  /** Serves the first `played` entries (default: all). */
  static async open(options: ReplayedRunOptions & { readonly played?: number }): Promise<ReplayedRun> {
    const run = new ReplayedRun(options);
    const index = options.index ?? (await openSqliteIndex({ path: options.indexPath ?? ':memory:' }));
    run.#indexer = await Indexer.open(index, run.journal);
    const { clock, model = testModel, ledger = async () => null, pulses = () => null } = options;
    run.sources = {
      ...{ index, model, ledger, pulses, freshMs: 10_000, nowMs: () => clock.nowMs() },
      run: () => run.state,
      level: async () => {
        await run.#indexer.flush(run.state);
        return run.#indexer.head;
      },
      modelCard: options.modelCard ?? (async () => null),
      isEnded: () => false,
    };
    await run.play(options.played ?? options.entries.length);
    await run.#serve();
    return run;
  }

  /** So many entries more, or as many as there are. */
  async play(count: number): Promise<void> {
    const { entries } = this.#options;
    for (const entry of entries.slice(this.state.size, this.state.size + count)) {
      await this.journal.append(entry);
      const { message: envelope } = entry;
      const { kind, body } = envelope;
      const signer = parseSigner(envelope.signer)!;
      applyEvent(this.state, {
        entry,
        message: { kind, body, signer, id: messageId(envelope), envelope } as OpenedMessage,
      });
      this.#indexer.onFold(this.state, entry);
      if (this.#indexer.isDue(this.state)) await this.#indexer.flush(this.state);
    }
  }

  async #serve(): Promise<void> {
    const { clock, port = 0, requestsPerMinute = 100_000, site, routes = [], mounts = {}, liveEveryMs } = this.#options;
    const { ledgerHistory, lines } = this.#options;
    const { sources, journal, metrics } = this;
    this.#feed = new LiveFeed({
      sources,
      journal,
      clock,
      metrics,
      ...(liveEveryMs === undefined ? {} : { everyMs: liveEveryMs }),
    });
    this.server = await startHttpServer({
      ...{ host: '127.0.0.1', port, mounts, metrics },
      run: () => canonicalJson(this.#options.entries[0]!.message),
      ...(ledgerHistory === undefined ? {} : { ledger: ledgerHistory }),
      journal: async (from, limit) =>
        lines?.(from, limit) ?? (await journal.read(from, limit)).map((entry) => canonicalJson(entry)),
      status: () => Promise.reject(new Error('not served here')),
      routes: [
        apiRoutesOf({ sources, version: '0.0.0', feed: this.#feed, metrics, requestsPerMinute }),
        operationsRoutes({
          metrics,
          gauges: () => ({ journal_entries_total: this.state.size }),
          check: async () => null,
        }),
        ...routes,
        siteRoutes(site ?? '/nowhere'),
      ],
    });
  }

  get url(): string {
    return this.server.url;
  }

  async close(): Promise<void> {
    await this.#feed.close();
    await this.server.close();
    await this.sources.index.close();
  }
}
