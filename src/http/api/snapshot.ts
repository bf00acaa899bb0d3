/**
 * @file Writes the read API's answers as files (`protocol/api/snapshot.ts` says how they are named), so that a run can be shown
 * without a server. The list of files is written last: who finds it finds all of them.
 */
import { type ApiQuery, type ApiRouteName, apiBase, apiRoutes } from '../../protocol/api/routes.ts';
import type { ApiSnapshot } from '../../protocol/api/snapshot.ts';
import { seriesMetric } from '../../protocol/api/training.ts';
import type { Hash, Hotkey } from '../../protocol/names.ts';
import { answers, levelled } from './answers.ts';
import type { ApiSources, Sources } from './sources.ts';

export interface SnapshotOptions {
  /** Below the snapshot's base, with forward slashes; the file is whole when it resolves. */
  readonly write: (path: string, text: string) => Promise<void>;
  /** The newest so many merges and claims have files of their own. Default 500 and 2,000. */
  readonly merges?: number;
  readonly claims?: number;
  readonly journalPath: string | null;
  /** Whether the ledger's history is written beside it. */
  readonly hasLedger: boolean;
}

type Ask = (cursor?: string) => Promise<{ readonly nextCursor: string | null }>;

export async function writeSnapshot(sources: ApiSources, options: SnapshotOptions): Promise<ApiSnapshot> {
  // All files rest on one state of the index: what comes in meanwhile is in the next snapshot.
  const fixed = await levelled(sources);
  const writer = new SnapshotWriter(fixed, options);
  for (const name of [
    'run',
    'overview',
    'fragments',
    'validators',
    'weights',
    'releases',
    'record',
    'rewards',
  ] as const)
    await writer.put(apiRoutes[name].path, await answers[name](fixed, {}, {}));
  for (const metric of seriesMetric.options)
    await writer.put(`series/${metric}`, await answers.series(fixed, { metric }, defaultsOf('series')));
  await writeMerges(fixed, writer, options.merges ?? 500);
  await writeMiners(fixed, writer);
  await writeClaims(fixed, writer, options.claims ?? 2_000);
  for (const { body } of fixed.state.releases.slice(-200))
    await writer.put(`releases/${body.release}`, await answers.release(fixed, { release: body.release }, {}));
  return writer.finish();
}

class SnapshotWriter {
  readonly #sources: Sources;
  readonly #options: SnapshotOptions;
  readonly #files: string[] = [];

  constructor(sources: Sources, options: SnapshotOptions) {
    this.#sources = sources;
    this.#options = options;
  }

  async put(name: string, answer: unknown): Promise<void> {
    await this.#options.write(`${apiBase.slice(1)}/${name}.json`, JSON.stringify(answer));
    this.#files.push(`${name}.json`);
  }

  /** All pages of a list: the first under its name, the others with their cursors. */
  async putPages(name: string, ask: Ask): Promise<void> {
    for (let cursor: string | undefined; ; ) {
      const page = await ask(cursor);
      await this.put(cursor === undefined ? name : `${name}.${cursor}`, page);
      if (page.nextCursor === null) return;
      cursor = page.nextCursor;
    }
  }

  async finish(): Promise<ApiSnapshot> {
    const { asOf, state, nowMs } = this.#sources;
    const snapshot: ApiSnapshot = {
      ...{ version: 1, madeAtMs: nowMs(), run: state.run!.id as Hash, asOf },
      files: this.#files.sort(),
      ...{ journalPath: this.#options.journalPath, hasLedger: this.#options.hasLedger },
    };
    await this.#options.write(`${apiBase.slice(1)}/snapshot.json`, JSON.stringify(snapshot));
    return snapshot;
  }
}

/** A route's question with nothing asked; pages as long as they may be. */
function defaultsOf<N extends ApiRouteName>(name: N, asked: object = {}): ApiQuery<N> {
  return apiRoutes[name].query.parse(asked) as ApiQuery<N>;
}

async function writeMerges(sources: Sources, writer: SnapshotWriter, most: number): Promise<void> {
  const outerSteps: number[] = [];
  await writer.putPages('merges', async (cursor) => {
    const page = await answers.merges(sources, {}, defaultsOf('merges', { limit: 200, ...(cursor ? { cursor } : {}) }));
    outerSteps.push(...page.rows.map(({ outerStep }) => outerStep));
    return page;
  });
  for (const outerStep of outerSteps.slice(0, most))
    await writer.put(`merges/${outerStep}`, await answers.merge(sources, { outerStep }, {}));
}

async function writeMiners(sources: Sources, writer: SnapshotWriter): Promise<void> {
  const hotkeys: Hotkey[] = [];
  await writer.putPages('miners', async (cursor) => {
    const page = await answers.miners(sources, {}, defaultsOf('miners', { limit: 200, ...(cursor ? { cursor } : {}) }));
    hotkeys.push(...page.rows.map(({ hotkey }) => hotkey));
    return page;
  });
  for (const hotkey of hotkeys) {
    await writer.put(`miners/${hotkey}`, await answers.miner(sources, { hotkey }, {}));
    await writer.putPages(`miners/${hotkey}/claims`, async (cursor) => {
      const query = defaultsOf('minerClaims', { limit: 200, ...(cursor ? { cursor } : {}) });
      return answers.minerClaims(sources, { hotkey }, query);
    });
  }
}

async function writeClaims(sources: Sources, writer: SnapshotWriter, most: number): Promise<void> {
  const claims = [...sources.state.claims.keys()].slice(-most);
  for (const claim of claims) await writer.put(`claims/${claim}`, await answers.claim(sources, { claim }, {}));
}
