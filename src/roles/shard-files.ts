/** @file Reads sequences straight from the files of a shard cache: memory for one sequence, however large a shard is. */
import { DataError } from '../data/errors.ts';
import { pageBytes } from '../data/shard-pages.ts';
import { bytesPerToken, decodeShard, type ShardReader, type TokenIds } from '../data/shards.ts';
import type { Shard } from '../protocol/manifest.ts';
import { readFilePart } from '../util/node-read.ts';
import { pagePath, shardPath } from './shard-cache.ts';

/** Whoever reads holds the text meanwhile; whole files and pages were checked when they came. */
export class ShardFiles implements ShardReader {
  readonly #dir: string;
  readonly #vocabSize: number;

  constructor(dir: string, vocabSize: number) {
    this.#dir = dir;
    this.#vocabSize = vocabSize;
  }

  /** @throws DataError DAMAGED */
  read(shard: Shard, offset: number, length: number): TokenIds | undefined {
    const width = bytesPerToken(this.#vocabSize);
    const range = { from: offset * width, to: (offset + length) * width };
    const { root } = shard.artifact;
    const bytes = readRange(shardPath(this.#dir, root), range, root) ?? this.#readPages(root, range);
    return bytes === null ? undefined : decodeShard(bytes, { ...shard, tokens: length }, this.#vocabSize);
  }

  #readPages(root: string, { from, to }: ByteRange): Uint8Array | null {
    const bytes = new Uint8Array(to - from);
    for (let at = from; at < to; ) {
      const page = Math.floor(at / pageBytes);
      const start = page * pageBytes;
      const end = Math.min(to, start + pageBytes);
      const part = readRange(pagePath(this.#dir, root, page), { from: at - start, to: end - start }, root);
      if (part === null) return null;
      bytes.set(part, at - from);
      at = end;
    }
    return bytes;
  }
}

interface ByteRange {
  readonly from: number;
  readonly to: number;
}

/** Null: there is no such file. @throws DataError DAMAGED */
function readRange(path: string, range: ByteRange, root: string): Uint8Array | null {
  const bytes = readFilePart(path, range);
  if (bytes === null || bytes.byteLength === range.to - range.from) return bytes;
  throw new DataError('DAMAGED', `shard ${root}: its file ends before byte ${range.to} of what is read`);
}
