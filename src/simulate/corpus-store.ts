/**
 * @file The store of a simulation: what a run makes lies in memory, the run's text stays in the corpus that the run was begun from.
 * Roles read of it what they train or judge on, at once and without waiting, so that one seed still gives one journal.
 */
import type { Catalog, CatalogShard } from '../data/catalog.ts';
import { bytesPerToken, decodeShard, type ShardReader, type TokenIds } from '../data/shards.ts';
import type { ArtifactRef, Shard } from '../protocol/manifest.ts';
import type { Hash } from '../protocol/names.ts';
import { sizeMismatch } from '../store/errors.ts';
import { MemoryStore } from '../store/memory.ts';
import { checkArtifact } from '../store/node-hash.ts';

type Range = { readonly from: number; readonly to: number };

export interface CorpusBytes {
  readonly catalog: Catalog;
  /** Bytes of a file that the catalog names, checked. */
  readonly readCatalogFile: (entry: { readonly file: string; readonly artifact: ArtifactRef }) => Uint8Array;
  /** A part of one, unchecked; absent: of the whole. */
  readonly readCatalogPart?: (
    entry: { readonly file: string; readonly artifact: ArtifactRef },
    range: Range,
  ) => Uint8Array;
}

export class CorpusStore extends MemoryStore implements ShardReader {
  readonly #corpus: CorpusBytes;
  readonly #shards: ReadonlyMap<string, CatalogShard>;
  readonly #stored = new Set<string>();

  constructor(corpus: CorpusBytes) {
    super();
    this.#corpus = corpus;
    this.#shards = new Map(corpus.catalog.shards.map((shard) => [shard.artifact.root, shard]));
  }

  /** Of a shard of the run; undefined: it was never stored. */
  read({ artifact: { root } }: Shard, offset: number, length: number): TokenIds | undefined {
    const shard = this.#shardOf(root);
    if (shard === undefined) return undefined;
    const { vocabSize } = this.#corpus.catalog;
    const width = bytesPerToken(vocabSize);
    const bytes = this.#partOf(shard, { from: offset * width, to: (offset + length) * width });
    return decodeShard(bytes, { ...shard, tokens: length }, vocabSize);
  }

  override async put(...[artifact, bytes, options]: Parameters<MemoryStore['put']>): Promise<void> {
    if (!this.#shards.has(artifact.root)) return await super.put(artifact, bytes, options);
    options?.signal?.throwIfAborted();
    checkArtifact(artifact, bytes);
    this.#stored.add(artifact.root);
  }

  override async get(...[artifact, options]: Parameters<MemoryStore['get']>): Promise<Uint8Array> {
    const shard = this.#shardOf(artifact.root);
    if (shard === undefined) return await super.get(artifact, options);
    options?.signal?.throwIfAborted();
    if (artifact.sizeBytes !== shard.artifact.sizeBytes)
      throw sizeMismatch(artifact.root, artifact.sizeBytes, shard.artifact.sizeBytes);
    return this.#corpus.readCatalogFile(shard).slice();
  }

  override async stat(root: Hash): Promise<number | null> {
    return this.#shardOf(root)?.artifact.sizeBytes ?? (await super.stat(root));
  }

  protected override readPart(artifact: ArtifactRef, range: Range): Uint8Array {
    const shard = this.#shardOf(artifact.root);
    return shard === undefined ? super.readPart(artifact, range) : this.#partOf(shard, range);
  }

  override async remove(root: Hash): Promise<boolean> {
    return this.#stored.delete(root) || (await super.remove(root));
  }

  #shardOf(root: string): CatalogShard | undefined {
    return this.#stored.has(root) ? this.#shards.get(root) : undefined;
  }

  #partOf(shard: CatalogShard, range: Range): Uint8Array {
    const { readCatalogFile, readCatalogPart } = this.#corpus;
    return readCatalogPart?.(shard, range) ?? readCatalogFile(shard).slice(range.from, range.to);
  }
}
