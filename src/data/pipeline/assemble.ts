/**
 * @file Chunks to shards, one after another in the order of the sources: copies and near copies of what came before are
 * dropped, what is left is cut into shards of one size. One thread, so that the same chunks always give the same bytes.
 */
import { artifactOf } from '../../protocol/artifact.ts';
import { nodeSha256 } from '../../util/node-sha256.ts';
import type { CatalogShard } from '../catalog.ts';
import { DataError } from '../errors.ts';
import { encodeShard, type Stage } from '../shards.ts';
import type { Chunk, Tally } from './chunk.ts';
import { IdBuffer } from './chunk.ts';
import { HashSet, RecentHashes } from './hash-set.ts';
import { minhashBands } from './minhash.ts';
import type { Source } from './sources.ts';

export interface AssembleOptions {
  readonly vocabSize: number;
  readonly endOfText: number;
  readonly shardTokens: number;
  /** For the hashes of all documents that are kept. */
  readonly maxHashBytes: number;
  readonly dropsNearCopies: boolean;
  /** When `maxHashBytes` are full: true goes on and compares with the newest documents only, false ends. */
  readonly forgetsOldest: boolean;
  writeShard(file: string, bytes: Uint8Array): Promise<void>;
}

export interface StageTally extends Tally {
  readonly tokens: number;
  readonly shards: number;
}

export interface SourceTally {
  readonly read: Tally;
  readonly dropped: Readonly<Record<string, Tally>>;
  readonly stages: Readonly<Partial<Record<Stage, StageTally>>>;
}

/** Licences of one source whose shards are open at once. */
const maxLicences = 64;

export class Assembly {
  readonly #options: AssembleOptions;
  readonly #copies: HashSet | RecentHashes;
  readonly #nearCopies: HashSet | RecentHashes;
  readonly shards: CatalogShard[] = [];

  constructor(options: AssembleOptions) {
    this.#options = options;
    const { maxHashBytes, forgetsOldest } = options;
    const Hashes = forgetsOldest ? RecentHashes : HashSet;
    // A document has one hash and fourteen bands.
    this.#copies = new Hashes({ maxBytes: maxHashBytes / 8, what: 'hashes of documents' });
    this.#nearCopies = new Hashes({ maxBytes: (maxHashBytes * 7) / 8, what: 'MinHash bands of documents' });
  }

  /** Documents whose copies are no longer found, about. */
  get forgottenDocuments(): number {
    const [copies, near] = [this.#copies, this.#nearCopies].map((set) =>
      set instanceof RecentHashes ? set.forgotten : 0,
    ) as [number, number];
    return Math.max(copies, Math.round(near / minhashBands));
  }

  /** All chunks of a source; its shards are written when they are full, the last ones when it ends. */
  async add(source: Source, chunks: AsyncIterable<Chunk>): Promise<SourceTally> {
    const writers = new Map<string, ShardWriter>();
    const dropped = new TallyBook();
    const read = { documents: 0, bytes: 0 };
    for await (const chunk of chunks) {
      read.documents += chunk.read.documents;
      read.bytes += chunk.read.bytes;
      for (const [reason, tally] of Object.entries(chunk.dropped)) dropped.add(reason, tally);
      let at = 0;
      for (let i = 0; i < chunk.tokenCounts.length; i++) {
        const ids = chunk.ids.subarray(at, at + chunk.tokenCounts[i]!);
        at += ids.length;
        const bytes = chunk.textBytes[i]!;
        const reason = this.#whyCopy(chunk, i);
        if (reason !== null) dropped.add(reason, { documents: 1, bytes });
        else await this.#writerOf(source, chunk, i, writers).add(ids, bytes);
      }
    }
    const stages: Partial<Record<Stage, StageTally>> = {};
    for (const writer of writers.values()) await writer.close();
    for (const { stage, tally } of writers.values()) stages[stage] = sumOf(stages[stage], tally);
    return { read, dropped: dropped.sorted(), stages };
  }

  #whyCopy({ hashes, bands }: Chunk, i: number): string | null {
    if (!this.#copies.add(hashes[4 * i]!, hashes[4 * i + 1]!)) return 'duplicate/exact';
    if (!this.#options.dropsNearCopies) return null;
    const first = 2 * minhashBands * i;
    for (let at = first; at < first + 2 * minhashBands; at += 2)
      if (this.#nearCopies.has(bands[at]!, bands[at + 1]!)) return 'duplicate/near';
    // Of documents that are kept only: a chain of near copies does not drift away from what is there.
    for (let at = first; at < first + 2 * minhashBands; at += 2) this.#nearCopies.add(bands[at]!, bands[at + 1]!);
    return null;
  }

  #writerOf(source: Source, chunk: Chunk, i: number, writers: Map<string, ShardWriter>): ShardWriter {
    const licence = chunk.licences[chunk.licenceOf[i]!]!;
    // By the hash: the same document is held out wherever it lies, and whatever is added.
    const isHeldOut = source.heldOutEvery > 0 && chunk.hashes[4 * i + 2]! % source.heldOutEvery === 0;
    const stage: Stage = source.stage === 'train' && isHeldOut ? 'held-out' : source.stage;
    const key = `${stage}\n${licence}`;
    let writer = writers.get(key);
    if (writer === undefined) {
      if (writers.size === 2 * maxLicences)
        throw new DataError(
          'LIMIT',
          `source ${source.name}: more than ${maxLicences} licences; choose some with a filter of your own`,
        );
      writer = new ShardWriter(this.#options, { source, stage, licence, shards: this.shards });
      writers.set(key, writer);
    }
    return writer;
  }
}

/** Cuts one stream of documents into shards: a document may go on in the next one. */
class ShardWriter {
  readonly stage: Stage;
  readonly #options: AssembleOptions;
  readonly #about: { readonly source: Source; readonly stage: Stage; readonly licence: string };
  readonly #shards: CatalogShard[];
  #ids: IdBuffer;
  #documents = 0;
  tally: StageTally = { documents: 0, bytes: 0, tokens: 0, shards: 0 };

  constructor(
    options: AssembleOptions,
    about: {
      readonly source: Source;
      readonly stage: Stage;
      readonly licence: string;
      readonly shards: CatalogShard[];
    },
  ) {
    this.#options = options;
    this.#about = about;
    this.stage = about.stage;
    this.#shards = about.shards;
    this.#ids = new IdBuffer(options.vocabSize);
  }

  async add(ids: Uint16Array | Uint32Array, bytes: number): Promise<void> {
    const { shardTokens } = this.#options;
    for (let at = 0; at < ids.length; ) {
      const taken = Math.min(ids.length - at, shardTokens - this.#ids.length);
      const into = this.#ids.reserve(taken);
      into.set(ids.subarray(at, at + taken), this.#ids.length);
      this.#ids.length += taken;
      at += taken;
      if (at === ids.length) this.#documents++;
      if (this.#ids.length === shardTokens) await this.#write();
    }
    this.tally = sumOf(this.tally, { documents: 1, bytes, tokens: ids.length, shards: 0 });
  }

  async close(): Promise<void> {
    if (this.#ids.length > 0) await this.#write();
  }

  async #write(): Promise<void> {
    const { source, stage, licence } = this.#about;
    const { vocabSize, writeShard } = this.#options;
    const ids = this.#ids.finish();
    const bytes = encodeShard(ids, vocabSize);
    const before = this.#shards.filter((shard) => shard.source === source.name && shard.stage === stage).length;
    const file = `${source.name}.${stage}.${String(before).padStart(6, '0')}.tokens`;
    await writeShard(file, bytes);
    this.#shards.push({
      ...{ source: source.name, artifact: artifactOf(bytes, nodeSha256), tokens: ids.length, licence, stage },
      ...{ file, about: source.about, documents: this.#documents },
    });
    this.tally = { ...this.tally, shards: this.tally.shards + 1 };
    this.#ids = new IdBuffer(vocabSize);
    this.#documents = 0;
  }
}

const sumOf = (a: StageTally | undefined, b: StageTally): StageTally =>
  a === undefined
    ? b
    : {
        documents: a.documents + b.documents,
        bytes: a.bytes + b.bytes,
        tokens: a.tokens + b.tokens,
        shards: a.shards + b.shards,
      };

class TallyBook {
  readonly #tallies = new Map<string, { documents: number; bytes: number }>();

  add(reason: string, { documents, bytes }: Tally): void {
    const tally = this.#tallies.get(reason) ?? { documents: 0, bytes: 0 };
    tally.documents += documents;
    tally.bytes += bytes;
    this.#tallies.set(reason, tally);
  }

  sorted(): Readonly<Record<string, Tally>> {
    return Object.fromEntries([...this.#tallies].sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}
