/**
 * @file Token shards: files of token ids, little endian, u16 where the vocabulary has at most 65,536 tokens, else u32.
 * A shard is a stream of documents, each closed by the end-of-text token; sequence i of a shard is tokens
 * [i·length, (i+1)·length), a rest shorter than that is not used. Boundaries follow from the ids alone.
 */
import type { Shard } from '../protocol/manifest.ts';
import { assert } from '../util/errors.ts';
import { DataError } from './errors.ts';

export type TokenIds = Uint16Array | Uint32Array;
export type Stage = Shard['stage'];

/** Reads a part of a shard from where it lies; undefined: it is not at hand. */
export interface ShardReader {
  read(shard: Shard, offset: number, length: number): TokenIds | undefined;
}

/** Shards at hand: whole in memory, by the root of their artifact, or read in parts. */
export type LoadedShards = ReadonlyMap<string, TokenIds> | ShardReader;

/** A stretch of a shard's tokens. */
export interface TextPlace {
  readonly shard: Shard;
  /** Of its first token. */
  readonly offset: number;
  readonly length: number;
}

/** What one row of a batch feeds: all three of the sequence's length. */
export interface Sequence {
  readonly inputIds: BigInt64Array;
  /** Restarts at 0 with every document: that alone carries the boundaries (packing). */
  readonly positionIds: BigInt64Array;
  /** Lines up with `inputIds` (the loss shifts); −100, ignored, at each document's start. */
  readonly labels: BigInt64Array;
}

export const IGNORED = -100n;
const isLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

export const bytesPerToken = (vocabSize: number): 2 | 4 => (vocabSize <= 65_536 ? 2 : 4);

/** Bytes of a shard file. Ids must be below `vocabSize`. */
export function encodeShard(ids: ArrayLike<number>, vocabSize: number): Uint8Array {
  const width = bytesPerToken(vocabSize);
  const array = width === 2 ? new Uint16Array(ids) : new Uint32Array(ids);
  return swapped(new Uint8Array(array.buffer), width);
}

/**
 * Ids of a shard file, checked against its catalog entry and the vocabulary. Gives a view of the bytes where their
 * alignment allows.
 */
export function decodeShard(bytes: Uint8Array, shard: Shard, vocabSize: number): TokenIds {
  const width = bytesPerToken(vocabSize);
  if (bytes.byteLength !== shard.tokens * width) {
    throw new DataError(
      'DAMAGED',
      `shard ${shard.source} (${shard.stage}): expected ${shard.tokens} tokens of ${width} bytes, got ${bytes.byteLength} bytes`,
    );
  }
  const aligned = isLittleEndian && bytes.byteOffset % width === 0 ? bytes : swapped(bytes.slice(), width);
  const ids: TokenIds =
    width === 2
      ? new Uint16Array(aligned.buffer, aligned.byteOffset, shard.tokens)
      : new Uint32Array(aligned.buffer, aligned.byteOffset, shard.tokens);
  for (let i = 0; i < ids.length; i++) {
    if (ids[i]! < vocabSize) continue;
    throw new DataError('DAMAGED', `shard ${shard.source} (${shard.stage}): token ${i} is ${ids[i]}, of ${vocabSize}`);
  }
  return ids;
}

/** In place; does nothing on a little-endian machine. */
function swapped(bytes: Uint8Array, width: 2 | 4): Uint8Array {
  if (isLittleEndian) return bytes;
  for (let at = 0; at < bytes.byteLength; at += width) bytes.subarray(at, at + width).reverse();
  return bytes;
}

/** Whole sequences that the shards of `stage` hold, by source. */
export function sequenceCounts(shards: readonly Shard[], stage: Stage, length: number): Map<string, number> {
  assert(Number.isSafeInteger(length) && length >= 1, `sequenceCounts: length ${length} is not a whole number ≥ 1`);
  const counts = new Map<string, number>();
  for (const shard of shards) {
    if (shard.stage !== stage) continue;
    counts.set(shard.source, (counts.get(shard.source) ?? 0) + Math.floor(shard.tokens / length));
  }
  return counts;
}

export interface SequenceRequest {
  readonly stage: Stage;
  readonly source: string;
  /** Counted through the source's shards of this stage in the catalog's order. */
  readonly sequenceIndex: number;
  readonly length: number;
}

/** The catalog entry that holds a sequence, and the offset of its first token there. */
export function locateSequence(shards: readonly Shard[], request: SequenceRequest): { shard: Shard; offset: number } {
  let left = request.sequenceIndex;
  for (const shard of shards) {
    if (shard.stage !== request.stage || shard.source !== request.source) continue;
    const count = Math.floor(shard.tokens / request.length);
    if (left < count) return { shard, offset: left * request.length };
    left -= count;
  }
  const { stage, source, sequenceIndex, length } = request;
  throw new DataError(
    'OUT_OF_RANGE',
    `no sequence ${sequenceIndex} of ${length} tokens in the ${stage} shards of ${source}: the catalog holds ${sequenceIndex - left}`,
  );
}

/** Reads one sequence. `endOfText` closes documents. */
export const readSequence = (
  shards: readonly Shard[],
  loaded: LoadedShards,
  { endOfText, ...request }: SequenceRequest & { readonly endOfText: number },
): Sequence => readPart(shards, loaded, request, { endOfText, from: 0, length: request.length });

/** Reads `length` tokens of a sequence, from its token `from` on. */
export function readPart(
  shards: readonly Shard[],
  loaded: LoadedShards,
  request: SequenceRequest,
  { endOfText, from, length }: { readonly endOfText: number; readonly from: number; readonly length: number },
): Sequence {
  const { shard, offset } = locateSequence(shards, request);
  return readLocated(loaded, { shard, offset: offset + from, length, endOfText });
}

/** The sequence that begins at a token of a shard. */
export function readLocated(
  loaded: LoadedShards,
  place: { readonly shard: Shard; readonly offset: number; readonly length: number; readonly endOfText: number },
): Sequence {
  const { shard, offset, length, endOfText } = place;
  const ids =
    'read' in loaded
      ? loaded.read(shard, offset, length)
      : loaded.get(shard.artifact.root)?.subarray(offset, offset + length);
  if (ids === undefined) {
    throw new DataError(
      'SHARD_MISSING',
      `shard ${shard.source} (${shard.stage}, ${shard.artifact.root}) is not loaded`,
    );
  }
  return packSequence(ids, endOfText);
}

/** A document starts at the first token and after each end-of-text token. */
export function packSequence(ids: ArrayLike<number>, endOfText: number): Sequence {
  const length = ids.length;
  const inputIds = new BigInt64Array(length);
  const positionIds = new BigInt64Array(length);
  const labels = new BigInt64Array(length);
  let start = 0;
  for (let i = 0; i < length; i++) {
    if (i > 0 && ids[i - 1] === endOfText) start = i;
    const id = BigInt(ids[i]!);
    inputIds[i] = id;
    positionIds[i] = BigInt(i - start);
    labels[i] = i === start ? IGNORED : id;
  }
  return { inputIds, positionIds, labels };
}

/** Stacks sequences of one length into rows: each array is (rows, length), row-major. */
export function stackSequences(rows: readonly Sequence[]): Sequence {
  const length = rows[0]?.inputIds.length ?? 0;
  const stack = (pick: (row: Sequence) => BigInt64Array): BigInt64Array => {
    const out = new BigInt64Array(rows.length * length);
    rows.forEach((row, i) => {
      assert(pick(row).length === length, 'stackSequences: rows differ in length');
      out.set(pick(row), i * length);
    });
    return out;
  };
  return {
    inputIds: stack((row) => row.inputIds),
    positionIds: stack((row) => row.positionIds),
    labels: stack((row) => row.labels),
  };
}

/**
 * `count` sequences of a stage, evenly spaced over each source's shards, so that all validators read the same text.
 * Sources share the count by `shares` (a phase's mixture), or by their sizes. Fewer where the stage holds fewer.
 */
export function evenlySpaced(
  shards: readonly Shard[],
  options: { stage: Stage; length: number; count: number; shares?: Readonly<Record<string, number>> },
): SequenceRequest[] {
  const { stage, length, count, shares } = options;
  const sizes = [...sequenceCounts(shards, stage, length)].filter(([, size]) => size > 0).sort(byName);
  const weights = sizes.map(([source, size]) => (shares === undefined ? size : (shares[source] ?? 0)));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const requests: SequenceRequest[] = [];
  let before = 0;
  sizes.forEach(([source, size], i) => {
    // Rounding the running sum keeps the whole at `count`.
    const from = total === 0 ? 0 : Math.round((before / total) * count);
    before += weights[i]!;
    const wanted = total === 0 ? 0 : Math.round((before / total) * count) - from;
    const taken = Math.min(wanted, size);
    for (let k = 0; k < taken; k++) {
      requests.push({ stage, source, sequenceIndex: Math.floor(((k + 0.5) * size) / taken), length });
    }
  });
  return requests;
}

const byName = (a: readonly [string, number], b: readonly [string, number]): number =>
  a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0;
