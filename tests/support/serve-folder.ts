/** @file Serves a recorded run's folder with the orchestrator's own HTTP server, as far as a record is read from it. */
import { join } from 'node:path';
import type { HttpServer } from '../../src/http/listen.ts';
import { serveReleases } from '../../src/http/release-files.ts';
import { startHttpServer } from '../../src/http/server.ts';
import { ManualBlockClock } from '../../src/ledger/block-clock.ts';
import { EmbeddedChain } from '../../src/ledger/embedded.ts';
import type { EventBody, JournalEntry } from '../../src/protocol/messages.ts';
import { FsStore } from '../../src/store/fs.ts';
import { serveStore } from '../../src/store/http-server.ts';
import { canonicalJson } from '../../src/util/canonical-json.ts';

export async function serveFolder(dir: string, entries: readonly JournalEntry[]): Promise<HttpServer> {
  const { ledger: binding, owner } = (entries[0]!.message.body as EventBody<'run'>).manifest;
  const clock = new ManualBlockClock({ blockMs: binding.blockMs, startMs: entries.at(-1)!.timeMs + 5_000 });
  const chain = await EmbeddedChain.open({ genesis: { ...binding, owner }, dir: join(dir, 'ledger'), clock });
  const store = await FsStore.open(join(dir, 'store'));
  const server = await startHttpServer({
    host: '127.0.0.1',
    port: 0,
    run: () => canonicalJson(entries[0]!.message),
    journal: async (from, limit) => entries.slice(from, from + limit).map(canonicalJson),
    status: () => Promise.reject(new Error('not served here')),
    ledger: {
      genesis: chain.publicGenesis,
      blocks: (from, limit) => chain.blocks(from, limit),
      calls: (cursor, limit) => chain.calls(cursor, limit),
    },
    mounts: {
      '/store/': serveStore(store, { secret: new Uint8Array(32) }),
      '/releases/': serveReleases(join(dir, 'releases')),
    },
  });
  return {
    ...server,
    close: async () => {
      await server.close();
      await chain.close();
    },
  };
}
