/** @file Reads a prepared corpus from its folder: catalog, tokenizer and shards, each checked against the catalog. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { artifactOf } from '../protocol/artifact.ts';
import { readFilePart } from '../util/node-read.ts';
import { nodeSha256 } from '../util/node-sha256.ts';
import { type Catalog, parseCatalog, preparedName } from './catalog.ts';
import { DataError } from './errors.ts';
import { decodeShard, type TokenIds } from './shards.ts';
import { Tokenizer } from './tokenizer.ts';

/** Where the set-up of a clone puts the corpus: a folder a preset. */
export const CORPUS_DIR: string = fileURLToPath(new URL('../../.accrete/corpus', import.meta.url));

/** Largest catalog that is read. */
const MAX_CATALOG_BYTES = 64 << 20;

export interface Corpus {
  readonly dir: string;
  readonly catalog: Catalog;
  readonly tokenizer: Tokenizer;
  /** Shards by the root of their artifact, as `readSequence` takes them. */
  readonly loaded: ReadonlyMap<string, TokenIds>;
}

/** The catalog alone: fast. NOT_PREPARED, DAMAGED. */
export function loadCatalog(corpusDir: string, preset: string): Catalog {
  const file = join(corpusDir, preset, 'catalog.json');
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (cause) {
    throw new DataError(
      'NOT_PREPARED',
      preset === preparedName
        ? `no prepared catalog in ${corpusDir}; run: ./bin/accrete data prepare --dir ${corpusDir}`
        : `no prepared corpus of preset ${preset} in ${corpusDir}; run: npm run setup -- --preset ${preset}`,
      { cause },
    );
  }
  if (bytes.byteLength > MAX_CATALOG_BYTES) throw new DataError('DAMAGED', `${file}: ${bytes.byteLength} bytes`);
  return parseCatalog(bytes.toString('utf8'), file);
}

/** Bytes of a file that the catalog names, checked against their artifact root. HASH_MISMATCH, DAMAGED. */
export function readCatalogFile(
  corpusDir: string,
  catalog: Catalog,
  entry: { readonly file: string; readonly artifact: Catalog['tokenizer']['artifact'] },
): Uint8Array {
  const path = join(corpusDir, catalog.preset, entry.file);
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    throw new DataError('DAMAGED', `${path}: listed in the catalog but not readable; prepare the corpus again`, {
      cause,
    });
  }
  const actual = artifactOf(bytes, nodeSha256);
  if (actual.root !== entry.artifact.root || actual.sizeBytes !== entry.artifact.sizeBytes) {
    throw new DataError(
      'HASH_MISMATCH',
      `${path}: expected root ${entry.artifact.root}, got ${actual.root}; prepare the corpus again`,
    );
  }
  return bytes;
}

/** Bytes [from, to) of a file that the catalog names, unchecked: whoever began a run of it has read all of it. DAMAGED. */
export function readCatalogPart(
  corpusDir: string,
  catalog: Catalog,
  { file }: { readonly file: string },
  range: { readonly from: number; readonly to: number },
): Uint8Array {
  const path = join(corpusDir, catalog.preset, file);
  const bytes = readFilePart(path, range);
  if (bytes?.byteLength === range.to - range.from) return bytes;
  throw new DataError(
    'DAMAGED',
    `${path}: expected bytes ${range.from} to ${range.to}, ${bytes === null ? 'there is no such file' : 'it is shorter'}; prepare the corpus again`,
  );
}

/** Everything of one preset, checked: what a learner, a validator or an evaluation reads from. */
export function loadCorpus(corpusDir: string, preset: string): Corpus {
  const catalog = loadCatalog(corpusDir, preset);
  const textOf = (entry: Catalog['tokenizer']): string =>
    Buffer.from(readCatalogFile(corpusDir, catalog, entry)).toString('utf8');
  const tokenizer = new Tokenizer(textOf(catalog.tokenizer), textOf(catalog.tokenizerConfig));
  const loaded = new Map(
    catalog.shards.map((shard) => [
      shard.artifact.root as string,
      decodeShard(readCatalogFile(corpusDir, catalog, shard), shard, catalog.vocabSize),
    ]),
  );
  return { dir: corpusDir, catalog, tokenizer, loaded };
}

export type CorpusDescription =
  | { readonly ready: true; readonly sources: number; readonly sizeBytes: number }
  | { readonly ready: false; readonly reason: string };

/** What is prepared of a preset, for people; reads the catalog alone. */
export function describeCorpus(corpusDir: string = CORPUS_DIR, preset = 'nano'): CorpusDescription {
  try {
    const { shards } = loadCatalog(corpusDir, preset);
    const sizeBytes = shards.reduce((sum, shard) => sum + shard.artifact.sizeBytes, 0);
    return { ready: true, sources: new Set(shards.map((shard) => shard.source)).size, sizeBytes };
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    return { ready: false, reason: error.message };
  }
}
