/** @file Reads sequences straight from the files of a shard cache: memory for one sequence, however large a shard is. */
import { closeSync, openSync, readSync } from 'node:fs';
import { DataError } from '../data/errors.ts';
import { bytesPerToken, decodeShard, type ShardReader, type TokenIds } from '../data/shards.ts';
import type { Shard } from '../protocol/manifest.ts';
import { shardPath } from './shard-cache.ts';

/** Whoever reads holds the shards meanwhile; whole files were checked when they came. */
export class ShardFiles implements ShardReader {
  readonly #dir: string;
  readonly #vocabSize: number;

  constructor(dir: string, vocabSize: number) {
    this.#dir = dir;
    this.#vocabSize = vocabSize;
  }

  /** @throws DataError DAMAGED */
  read(shard: Shard, offset: number, length: number): TokenIds | undefined {
    let file: number;
    try {
      file = openSync(shardPath(this.#dir, shard.artifact.root), 'r');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    try {
      const width = bytesPerToken(this.#vocabSize);
      const bytes = new Uint8Array(length * width);
      for (let done = 0; done < bytes.length; ) {
        const count = readSync(file, bytes, done, bytes.length - done, offset * width + done);
        if (count === 0)
          throw new DataError('DAMAGED', `shard ${shard.artifact.root}: it ends before token ${offset + length}`);
        done += count;
      }
      return decodeShard(bytes, { ...shard, tokens: length }, this.#vocabSize);
    } finally {
      closeSync(file);
    }
  }
}
