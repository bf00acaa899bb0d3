/**
 * @file A chunk: a few megabytes of a file's documents, cleaned, filtered, hashed and tokenised. It depends on nothing but
 * its documents and the settings, so that chunks are made by many threads, in any order, and kept across a crash.
 */
import { DataError } from '../errors.ts';
import type { FastTokenizer } from '../fast-tokenizer.ts';
import { bytesPerToken } from '../shards.ts';
import { isContaminated } from './contamination.ts';
import type { Document } from './documents.ts';
import type { DocumentFilter } from './filters.ts';
import type { HashSet } from './hash-set.ts';
import { bandsOf, minhashBands } from './minhash.ts';
import { finished, WordCutter, type Words } from './words.ts';

export const chunkVersion = 1;

/** Documents and bytes of text. */
export interface Tally {
  readonly documents: number;
  readonly bytes: number;
}

export interface Chunk {
  readonly read: Tally;
  /** By filter and reason (`length/too-few-words`). */
  readonly dropped: Readonly<Record<string, Tally>>;
  readonly licences: readonly string[];
  /** By kept document. */
  readonly licenceOf: Uint32Array;
  readonly textBytes: Uint32Array;
  /** With end of text. */
  readonly tokenCounts: Uint32Array;
  /** Four words a document: of its words, so that case and spaces do not tell copies apart. */
  readonly hashes: Uint32Array;
  /** `2 · minhashBands` words a document. */
  readonly bands: Uint32Array;
  readonly ids: Uint16Array | Uint32Array;
}

export interface ChunkTools {
  readonly tokenizer: FastTokenizer;
  readonly endOfText: number;
  readonly filters: readonly { readonly name: string; readonly filter: DocumentFilter }[];
  /** Null: nothing to keep apart from. */
  readonly grams: HashSet | null;
}

/** Null documents are records that could not be read. */
export function makeChunk(documents: readonly (Document | null)[], tools: ChunkTools): Chunk {
  const cutter = new WordCutter();
  const dropped: Record<string, { documents: number; bytes: number }> = {};
  const licences: string[] = [];
  const kept: { licence: number; bytes: number; tokens: number; hash: Uint32Array; bands: Uint32Array }[] = [];
  const ids = new IdBuffer(tools.tokenizer.vocabSize);
  let bytesRead = 0;
  for (const document of documents) {
    const text = document === null ? '' : cleanText(document.text);
    const bytes = Buffer.byteLength(text);
    bytesRead += bytes;
    const words = cutter.cut(text);
    const reason = document === null ? 'record/unreadable' : reasonToDrop({ ...document, text }, words, tools);
    const bands = reason === null ? bandsOf(words) : null;
    if (reason !== null || bands === null) {
      const tally = (dropped[reason ?? 'record/no-words'] ??= { documents: 0, bytes: 0 });
      tally.documents++;
      tally.bytes += bytes;
      continue;
    }
    let licence = licences.indexOf(document!.licence);
    if (licence < 0) licence = licences.push(document!.licence) - 1;
    const before = ids.length;
    tools.tokenizer.encodeInto(text, ids);
    ids.push(tools.endOfText);
    kept.push({ licence, bytes, tokens: ids.length - before, hash: hashOf(words), bands });
  }
  return {
    read: { documents: documents.length, bytes: bytesRead },
    dropped: Object.fromEntries(Object.entries(dropped).sort(([a], [b]) => (a < b ? -1 : 1))),
    licences,
    licenceOf: Uint32Array.from(kept, ({ licence }) => licence),
    textBytes: Uint32Array.from(kept, ({ bytes }) => bytes),
    tokenCounts: Uint32Array.from(kept, ({ tokens }) => tokens),
    hashes: joined(
      kept.map(({ hash }) => hash),
      4,
    ),
    bands: joined(
      kept.map(({ bands }) => bands),
      2 * minhashBands,
    ),
    ids: ids.finish(),
  };
}

/** Line ends of one kind, no lone surrogates, no white space around. */
const cleanText = (text: string): string =>
  text
    .replaceAll('\r\n', '\n')
    .replace(/\p{Surrogate}/gu, '\ufffd')
    .trim();

function reasonToDrop(document: Document, words: Words, { filters, grams }: ChunkTools): string | null {
  for (const { name, filter } of filters) {
    const reason = filter({ text: document.text, words, language: document.language });
    if (reason !== null) return `${name}/${reason}`;
  }
  return grams !== null && isContaminated(words, grams) ? 'contamination/evaluation-set' : null;
}

/** 128 bits of the words in their order. */
function hashOf({ hashes, count }: Words): Uint32Array {
  const state = Uint32Array.of(count, 0x9e3779b9, 0x7f4a7c15, 0x6a09e667);
  for (let i = 0; i < count; i++)
    for (let lane = 0; lane < 4; lane++)
      state[lane] = Math.imul(state[lane]! ^ hashes[i]!, 0x01000193 + 2 * lane) + (state[(lane + 1) & 3]! >>> 11);
  return state.map(finished);
}

function joined(parts: readonly Uint32Array[], each: number): Uint32Array {
  const out = new Uint32Array(parts.length * each);
  for (const [i, part] of parts.entries()) out.set(part, i * each);
  return out;
}

/** Ids as they come, in the width of the shard. */
export class IdBuffer {
  #ids: Uint16Array | Uint32Array;
  length = 0;

  constructor(vocabSize: number, capacity = 1 << 16) {
    this.#ids = bytesPerToken(vocabSize) === 2 ? new Uint16Array(capacity) : new Uint32Array(capacity);
  }

  push(id: number): void {
    if (this.length === this.#ids.length) this.#grow(this.length + 1);
    this.#ids[this.length++] = id;
  }

  /** Room for `count` more: the array to write into from `length` on. */
  reserve(count: number): Uint16Array | Uint32Array {
    if (this.length + count > this.#ids.length) this.#grow(this.length + count);
    return this.#ids;
  }

  finish(): Uint16Array | Uint32Array {
    return this.#ids.slice(0, this.length);
  }

  #grow(least: number): void {
    const size = Math.max(least, 2 * this.#ids.length);
    const grown = this.#ids instanceof Uint16Array ? new Uint16Array(size) : new Uint32Array(size);
    grown.set(this.#ids.subarray(0, this.length));
    this.#ids = grown;
  }
}

/** `what`: for the message. */
export const damagedChunk = (what: string, why: string): DataError =>
  new DataError('DAMAGED', `${what}: ${why}; delete it, the same command makes it again`);
