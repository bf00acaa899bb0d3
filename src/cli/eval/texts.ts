/**
 * @file The texts of an evaluation: held-out shards of a prepared corpus and files, as sequences for the loss and as pieces
 * of running text for own tasks. Shards of training text are not opened.
 */
import { readdirSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import type { Catalog, CatalogShard } from '../../data/catalog.ts';
import { loadCatalog, readCatalogFile } from '../../data/prepared.ts';
import {
  decodeShard,
  evenlySpaced,
  packSequence,
  readSequence,
  type Sequence,
  type TokenIds,
} from '../../data/shards.ts';
import type { Tokenizer } from '../../data/tokenizer.ts';
import { heldOutStages } from '../../evaluation/held-out.ts';
import { UsageError } from '../../util/errors.ts';
import { corpusDir as preparedDir } from '../paths.ts';
import type { EvalOptions, NamedFile } from './options.ts';

const maxTextBytes = 64 << 20;
/** For own tasks: of each source, so many blocks evenly spaced. */
const pieceBlocks = 64;
const pieceTokens = 2_048;

export interface EvalTexts {
  /** For the loss, by name: `held-out/moby-dick`. */
  readonly sequences: ReadonlyMap<string, readonly Sequence[]>;
  /** Running text by name. */
  readonly pieces: ReadonlyMap<string, readonly string[]>;
  /** The corpus that was read; null: none. */
  readonly corpus: string | null;
}

export interface TextOptions extends Pick<EvalOptions, 'heldOut' | 'texts' | 'sequences' | 'seqLen'> {
  readonly tokenizer: Tokenizer;
  /** The checkpoint's tokenizer.json. */
  readonly tokenizerJson: string;
  /** Folder of prepared corpora; the clone's by default. */
  readonly corpusDir?: string;
}

/** @throws UsageError, DataError */
export async function readTexts(options: TextOptions): Promise<EvalTexts> {
  const sequences = new Map<string, readonly Sequence[]>();
  const pieces = new Map<string, readonly string[]>();
  const corpusDir = options.corpusDir ?? preparedDir;
  const catalog = chooseCatalog(corpusDir, options);
  if (catalog !== null) {
    for (const [name, shards] of heldOutSources(catalog)) {
      const loaded = new Map(
        shards.map((shard) => [
          shard.artifact.root as string,
          decodeShard(readCatalogFile(corpusDir, catalog, shard), shard, catalog.vocabSize),
        ]),
      );
      sequences.set(name, sequencesOf(catalog, shards, loaded, options));
      pieces.set(name, piecesOf([...loaded.values()], catalog.endOfText, options.tokenizer));
    }
  }
  for (const file of options.texts) {
    const text = await readText(file);
    sequences.set(file.name, cut(options.tokenizer.encodePlain(text), file, options));
    pieces.set(file.name, [text]);
  }
  return { sequences, pieces, corpus: catalog?.preset ?? null };
}

/** Names of prepared corpora. */
function preparedIn(corpusDir: string): readonly string[] {
  try {
    return readdirSync(corpusDir, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name)
      .sort();
  } catch {
    return []; // nothing has been prepared
  }
}

/** The corpus whose ids are the checkpoint's; null where none is wanted, or none is there and none was named. */
function chooseCatalog(corpusDir: string, { heldOut, tokenizerJson }: TextOptions): Catalog | null {
  if (heldOut === 'none') return null;
  const isSame = (catalog: Catalog): boolean =>
    Buffer.from(readCatalogFile(corpusDir, catalog, catalog.tokenizer)).toString('utf8') === tokenizerJson;
  if (heldOut !== 'auto') {
    const catalog = loadCatalog(corpusDir, heldOut);
    if (isSame(catalog)) return catalog;
    throw new UsageError(
      `--held-out ${heldOut}: the corpus has another tokenizer than the checkpoint, so its ids mean other texts; measure text files with --text`,
    );
  }
  const found = preparedIn(corpusDir)
    .map((preset) => loadCatalog(corpusDir, preset))
    .find(isSame);
  return found ?? null;
}

/** Shards by `STAGE/SOURCE`, in order. */
function heldOutSources({ shards }: Catalog): ReadonlyMap<string, readonly CatalogShard[]> {
  const sources = new Map<string, CatalogShard[]>();
  for (const stage of heldOutStages)
    for (const shard of shards) {
      const name = `${stage}/${shard.source}`;
      if (shard.stage === stage) sources.set(name, [...(sources.get(name) ?? []), shard]);
    }
  return sources;
}

function sequencesOf(
  { endOfText }: Catalog,
  shards: readonly CatalogShard[],
  loaded: ReadonlyMap<string, TokenIds>,
  { sequences: count, seqLen: length }: TextOptions,
): readonly Sequence[] {
  const { stage } = shards[0]!;
  return evenlySpaced(shards, { stage, length, count }).map((request) =>
    readSequence(shards, loaded, { ...request, endOfText }),
  );
}

/** Documents of blocks, decoded. */
function piecesOf(shards: readonly TokenIds[], endOfText: number, tokenizer: Tokenizer): readonly string[] {
  return shards.flatMap((ids) => {
    const step = Math.max(pieceTokens, Math.floor(ids.length / pieceBlocks));
    const pieces: string[] = [];
    for (let at = 0; at < ids.length; at += step)
      for (const part of splitAt([...ids.subarray(at, at + pieceTokens)], endOfText))
        pieces.push(tokenizer.decode(part));
    return pieces;
  });
}

function splitAt(ids: readonly number[], mark: number): number[][] {
  const parts: number[][] = [[]];
  for (const id of ids) {
    if (id === mark) parts.push([]);
    else parts.at(-1)!.push(id);
  }
  return parts;
}

async function readText({ name, path }: NamedFile): Promise<string> {
  const info = await stat(path).catch((cause: unknown) => {
    throw new UsageError(`--text ${name}: there is no file at ${path}`, { cause });
  });
  if (!info.isFile() || info.size > maxTextBytes)
    throw new UsageError(`--text ${name}: expected a text file of at most ${maxTextBytes} bytes at ${path}`);
  return await readFile(path, 'utf8');
}

/** Whole sequences, evenly spaced where there are more than asked for. */
function cut(ids: readonly number[], { name, path }: NamedFile, options: TextOptions): readonly Sequence[] {
  const { seqLen, sequences, tokenizer } = options;
  const whole = Math.floor(ids.length / seqLen);
  if (whole === 0)
    throw new UsageError(
      `--text ${name}: ${path} has ${ids.length} tokens, a sequence has ${seqLen}; --seq-len shortens it`,
    );
  const count = Math.min(whole, sequences);
  return Array.from({ length: count }, (_, k) => {
    const at = Math.floor(((k + 0.5) * whole) / count) * seqLen;
    return packSequence(ids.slice(at, at + seqLen), tokenizer.endOfText);
  });
}
