/** @file The tiny corpus with shards that are large enough to have pages, of ids that follow from their place. */
import type { Catalog } from '../../src/data/catalog.ts';
import { pagedFromBytes } from '../../src/data/shard-pages.ts';
import { encodeShard } from '../../src/data/shards.ts';
import { hashArtifact } from '../../src/store/node-hash.ts';
import { tinyCorpus } from './tiny-corpus.ts';

export interface LargeCorpus {
  readonly catalog: Catalog;
  readonly readFile: (entry: { readonly file: string }) => Uint8Array;
}

/** Of the n-th large shard. */
export const largeIdAt = (n: number, vocabSize: number, i: number): number => 1 + ((i * 7_919 + n) % (vocabSize - 1));

export function largeCorpus(count = 1): LargeCorpus {
  const { catalog: tiny, readFile } = tinyCorpus();
  const tokens = pagedFromBytes / 2 + 1_000;
  const files = new Map<string, Uint8Array>();
  const shards = Array.from({ length: count }, (_, n) => {
    const ids = Uint16Array.from({ length: tokens }, (_, i) => largeIdAt(n, tiny.vocabSize, i));
    const bytes = encodeShard(ids, tiny.vocabSize);
    const file = `large-${n}.tokens`;
    files.set(file, bytes);
    const about = { file, about: '' };
    return {
      source: 'large',
      artifact: hashArtifact(bytes),
      tokens,
      licence: 'CC0-1.0',
      stage: 'train' as const,
      ...about,
    };
  });
  return {
    catalog: { ...tiny, mixture: { large: 1 }, shards: [...tiny.shards, ...shards] },
    readFile: (entry) => files.get(entry.file) ?? readFile(entry),
  };
}
