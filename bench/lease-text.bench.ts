/**
 * @file What a lease of `quasar-10t` costs in requests and bytes: the real order over its shards through the real cache, from a store
 * that counts and answers with zeros (its shards all have the same pages, which the same table proves).
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PhaseOrders } from '../src/data/phase-order.ts';
import { ShardIndex } from '../src/data/shard-index.ts';
import { groupBytes, PageTree } from '../src/data/shard-pages.ts';
import type { TextPlace } from '../src/data/shards.ts';
import { artifactOf } from '../src/protocol/artifact.ts';
import type { Shard } from '../src/protocol/manifest.ts';
import type { Hash } from '../src/protocol/names.ts';
import { templates } from '../src/roles/run-templates.ts';
import { ShardCache } from '../src/roles/shard-cache.ts';
import { toHex } from '../src/util/bytes.ts';
import { silentLog } from '../src/util/clock.ts';
import { nodeSha256 } from '../src/util/node-sha256.ts';
import type { Bench, BenchRow } from './measure.ts';

const shardTokens = 2 ** 27;
const shardBytes = 4 * shardTokens;
const { phases, recipe, sync } = templates['quasar-10t'];
const seed = '7e'.repeat(32);

export const leaseText: Bench = {
  name: 'lease-text',
  about: `a lease of ${sync.leaseSequences} sequences of quasar-10t: what its text costs in requests and bytes`,
  isLong: true,
  async *run() {
    const placeAt = locator();
    const places = function* (from: number, to: number): Generator<TextPlace> {
      for (let position = from; position < to; position++) yield placeAt(position);
    };
    yield* await measure('fetched ahead', (cache) => cache.fetchAhead(places(0, sync.leaseSequences)));
    yield* await measure(`by steps of ${recipe.batchSequences}, nothing ahead`, async (cache) => {
      for (let at = 0; at < sync.leaseSequences; at += recipe.batchSequences) {
        const step = [...places(at, at + recipe.batchSequences)];
        await cache.hold(step);
        cache.release(step);
      }
    });
  },
};

/** As many shards as the phases draw from each source. */
function locator(): (position: number) => TextPlace {
  const tokens = new Map<string, number>();
  for (const { mixture = {}, targetTokens } of phases) {
    const sum = Object.values(mixture).reduce((all, share) => all + share, 0);
    for (const [source, share] of Object.entries(mixture))
      tokens.set(source, (tokens.get(source) ?? 0) + (targetTokens * share) / sum);
  }
  const shards = [...tokens].flatMap(([source, count]) =>
    Array.from({ length: Math.ceil(count / shardTokens) }, (_, i): Shard => {
      const root = toHex(nodeSha256(Buffer.from(`${source} ${i}`))) as Hash;
      const artifact = { root, sizeBytes: shardBytes };
      return { source, artifact, tokens: shardTokens, licence: 'CC0', stage: 'train' };
    }),
  );
  const spanTokens = Math.max(...phases.map(({ sequenceLength }) => sequenceLength));
  const index = new ShardIndex(shards, 'train', spanTokens);
  const length = phases[0]!.sequenceLength;
  const texts = phases.map(({ sequenceLength, mixture = {} }) => ({ sequenceLength, mixture }));
  const orders = new PhaseOrders({ seed, spanTokens, spans: index.counts(), phases: texts });
  return (position) => {
    const { source, span, part } = orders.at(0, position, []);
    const { shard, offset } = index.locate(source, span);
    return { shard, offset: offset + part * length, length };
  };
}

const zeros = new Uint8Array(groupBytes);
const { root, table } = ((): ReturnType<PageTree['finish']> => {
  const tree = new PageTree(nodeSha256);
  for (let at = 0; at < shardBytes; at += groupBytes) tree.add(zeros);
  return tree.finish();
})();
const tableRef = artifactOf(table, nodeSha256);

async function measure(what: string, work: (cache: ShardCache) => Promise<void>): Promise<BenchRow[]> {
  const dir = await mkdtemp(join(tmpdir(), 'accrete-lease-'));
  const counts = { pages: { requests: 0, bytes: 0 }, records: { requests: 0, bytes: 0 } };
  try {
    const cache = await ShardCache.open({
      ...{ dir, vocabSize: 100_000, limitBytes: 8 * 1024 ** 3, log: silentLog, signal: new AbortController().signal },
      pages: { has: () => true, get: () => ({ root, table: tableRef }) } as unknown as ReadonlyMap<string, never>,
      store: {
        get: () => Promise.reject(new Error('a whole shard was asked for')),
        parts: {
          read: async (artifact, { from, to }) => {
            const isRecord = artifact.root === tableRef.root;
            const count = isRecord ? counts.records : counts.pages;
            count.requests++;
            count.bytes += to - from;
            return isRecord ? table.slice(from, to) : zeros.subarray(0, to - from);
          },
        },
      },
    });
    const beganMs = performance.now();
    await work(cache);
    const seconds = (performance.now() - beganMs) / 1_000;
    const told = ({ requests, bytes }: { requests: number; bytes: number }): string =>
      `${requests.toLocaleString('en-US')} requests, ${(bytes / 1e6).toFixed(1)} MB`;
    return [
      { what: `${what}: pages`, value: told(counts.pages), detail: `${cache.keys().length} pages kept` },
      { what: `${what}: what proves them`, value: told(counts.records), detail: `${seconds.toFixed(0)} s here` },
    ];
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
