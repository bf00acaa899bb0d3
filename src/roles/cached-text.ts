/**
 * @file A run's text through a cache on this machine: memory for what is being read, disk up to a limit, and of the text only what is
 * asked for.
 */
import { endOfTextOf, parseConfig } from '../model/quasar-long/config.ts';
import type { RunManifest } from '../protocol/manifest.ts';
import type { Store } from '../store/port.ts';
import type { Log } from '../util/clock.ts';
import { fetchPageIndex, locatorOf, type PhaseTerms, type RunText } from './run-data.ts';
import { ShardCache } from './shard-cache.ts';
import { ShardFiles } from './shard-files.ts';

export interface TextCacheOptions {
  /** Of this process alone. */
  readonly dir: string;
  readonly limitBytes: number;
}

/** @throws StoreError (of the index of pages), and what the file system throws */
export async function openShardCache(
  { dir, limitBytes }: TextCacheOptions,
  manifest: RunManifest,
  deps: { readonly store: Pick<Store, 'get' | 'parts'>; readonly log: Log; readonly signal: AbortSignal },
): Promise<ShardCache> {
  const pages = await fetchPageIndex(manifest, deps.store, deps.signal);
  return ShardCache.open({ ...deps, dir, limitBytes, vocabSize: manifest.tokenizer.vocabSize, pages });
}

/** `terms`: phases as they are now. @throws as `openShardCache` */
export async function openCachedText(
  options: TextCacheOptions,
  manifest: RunManifest,
  deps: Parameters<typeof openShardCache>[2] & { readonly terms: () => PhaseTerms },
): Promise<RunText> {
  const { terms, store, log, signal } = deps;
  const cache = await openShardCache(options, manifest, { store, log, signal });
  return {
    shards: manifest.data.shards,
    endOfText: endOfTextOf(parseConfig(JSON.parse(manifest.model.config))),
    loaded: new ShardFiles(options.dir, manifest.tokenizer.vocabSize),
    locate: locatorOf(manifest, terms),
    async reading(places, work) {
      await cache.hold(places);
      try {
        return await work();
      } finally {
        cache.release(places);
      }
    },
  };
}
