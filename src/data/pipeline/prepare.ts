/**
 * @file Sources to a prepared catalog. First every input becomes chunks, by many threads, each a file of its own that a crash
 * does not cost; then the chunks become shards, by one. Started again after a crash it goes on; the catalog is the same, byte
 * for byte, and appears at once or not at all. Does file I/O.
 */
import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { artifactOf } from '../../protocol/artifact.ts';
import { canonicalJson } from '../../util/canonical-json.ts';
import type { Clock } from '../../util/clock.ts';
import { nodeSha256 } from '../../util/node-sha256.ts';
import { type Catalog, preparedName } from '../catalog.ts';
import { DataError } from '../errors.ts';
import { Tokenizer } from '../tokenizer.ts';
import { Assembly, type SourceTally } from './assemble.ts';
import { type Chunk, chunkVersion } from './chunk.ts';
import { decodeChunk } from './chunk-file.ts';
import { type ChunkJob, ChunkThreads } from './chunk-threads.ts';
import type { EvaluationGrams } from './contamination.ts';
import { type Document, readDocuments } from './documents.ts';
import { download, downloadName } from './download.ts';
import { asDiskFault, sha256OfFile, writeWhole } from './durable.ts';
import { buildFilters, type FilterSpec } from './filters.ts';
import { type DataReport, type InputRecord, reportText, type SourceReport } from './report.ts';
import type { Source, SourceInput } from './sources.ts';

const defaultChunkBytes = 4 << 20;

export interface PrepareDataOptions {
  /** Holds `sources.json`; gets `downloads/`, `work/` and `prepared/`. */
  readonly dir: string;
  readonly sources: readonly Source[];
  /** Texts of tokenizer.json and tokenizer_config.json. */
  readonly tokenizer: { readonly json: string; readonly config: string };
  readonly filters: readonly FilterSpec[];
  /** As it was typed, for the report. */
  readonly filterText: string;
  readonly filterModule: string | null;
  readonly grams: EvaluationGrams | null;
  readonly dropsNearCopies: boolean;
  /** When `maxHashBytes` are full: true goes on and compares with the newest documents only, false ends. */
  readonly forgetsOldest: boolean;
  readonly shardTokens: number;
  readonly threads: number;
  /** Text of a chunk, about: what a crash may cost a thread. 4 MiB by default. */
  readonly chunkBytes?: number;
  readonly maxDocumentBytes: number;
  readonly maxFileBytes: number;
  readonly maxHashBytes: number;
  readonly skipBad: boolean;
  readonly keepsWork: boolean;
  /** For URLs below `endpoint`. */
  readonly hub: { readonly endpoint: string; readonly token: string | null };
  readonly fetch: typeof fetch;
  readonly clock: Pick<Clock, 'sleep'>;
  readonly signal: AbortSignal;
  say(line: string): void;
}

interface FoundInput extends InputRecord {
  readonly path: string;
}

/** @throws DataError; what the file system throws */
export async function prepareData(options: PrepareDataOptions): Promise<{ catalog: Catalog; report: DataReport }> {
  const tokenizer = new Tokenizer(options.tokenizer.json, options.tokenizer.config);
  if (options.filterModule === null) await buildFilters(options.filters); // faults come before anything is read
  const inputs = new Map<string, readonly FoundInput[]>();
  for (const source of options.sources) inputs.set(source.name, await findInputs(source, options));
  const keyOf = await chunkKeys(options);
  const { json: tokenizerJson } = options.tokenizer;
  const setup = {
    tokenizerJson,
    endOfText: tokenizer.endOfText,
    filters: options.filters,
    filterModule: options.filterModule,
  };
  const threads = new ChunkThreads(options.threads, { ...setup, gramTable: options.grams?.table ?? null });
  try {
    for (const source of options.sources)
      await chunkSource(source, inputs.get(source.name)!, { keyOf, threads, options });
  } finally {
    await threads.close();
  }
  const done = await assembleAll(options, tokenizer, inputs, keyOf);
  if (!options.keepsWork) await rm(join(options.dir, 'work'), { recursive: true, force: true });
  return done;
}

async function findInputs(source: Source, options: PrepareDataOptions): Promise<readonly FoundInput[]> {
  const found: FoundInput[] = [];
  for (const input of source.inputs) {
    checkStop(options.signal);
    found.push(
      input.url === undefined
        ? await localInput(source, input.path!, options)
        : await remoteInput(source, { ...input, url: input.url }, options),
    );
  }
  return found;
}

async function localInput({ name }: Source, path: string, { signal }: PrepareDataOptions): Promise<FoundInput> {
  const info = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    const sentence =
      cause.code === 'ENOENT'
        ? `${path}: this file of source ${name} is no longer there; put it back, or add the source again as it is now, with --replace`
        : `${path}: this file of source ${name} cannot be read (${cause.code})`;
    throw new DataError('NOT_FOUND', sentence, { cause });
  });
  return { path, name: basename(path), sizeBytes: info.size, sha256: await sha256OfFile(path, signal) };
}

async function remoteInput(
  source: Source,
  input: SourceInput & { readonly url: string },
  options: PrepareDataOptions,
): Promise<FoundInput> {
  const { dir, hub, fetch, clock, signal, say, maxFileBytes } = options;
  const path = join(dir, 'downloads', source.name, downloadName(input.url));
  const token = input.url.startsWith(`${hub.endpoint}/`) ? hub.token : null;
  const { sizeBytes, sha256 } = await download({
    ...{ input, target: path, token, fetch, clock, signal, say },
    ...{ idleMs: 60_000, maxBytes: maxFileBytes },
  });
  return { path, name: input.url, sizeBytes, sha256 };
}

type KeyOf = (source: Source, input: InputRecord) => string;

/** A chunk's folder is named by all that its bytes depend on. */
async function chunkKeys(options: PrepareDataOptions): Promise<KeyOf> {
  const {
    filters,
    filterModule,
    grams,
    tokenizer,
    maxDocumentBytes,
    skipBad,
    chunkBytes = defaultChunkBytes,
  } = options;
  const sha256 = (data: string | Uint8Array): string => createHash('sha256').update(data).digest('hex');
  const settings = {
    ...{ version: chunkVersion, chunkBytes, filters, maxDocumentBytes, skipBad, tokenizer: sha256(tokenizer.json) },
    filterModule: filterModule === null ? null : sha256(await readFile(filterModule)),
    grams: grams === null ? null : sha256(new Uint8Array(grams.table.buffer)),
  };
  return ({ format, unit, textField, licence, licenceField, language, languageField }, input) => {
    const fields = { licence, licenceField, language, languageField };
    const given = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
    return sha256(canonicalJson({ ...settings, format, unit, textField, ...given, input: input.sha256 })).slice(0, 40);
  };
}

const chunkPath = (folder: string, index: number): string => join(folder, `${String(index).padStart(8, '0')}.chunk`);

/** Makes the chunks of a source that are not there yet; of small files many at once. */
async function chunkSource(
  source: Source,
  inputs: readonly FoundInput[],
  work: { readonly keyOf: KeyOf; readonly threads: ChunkThreads; readonly options: PrepareDataOptions },
): Promise<void> {
  const { keyOf, threads, options } = work;
  const progress = progressOf(source.name, options);
  const finished: { readonly folder: string; readonly chunks: number }[] = [];
  for (const input of inputs) {
    const folder = join(options.dir, 'work', keyOf(source, input));
    if ((await chunkCount(folder)) !== null) continue;
    await mkdir(folder, { recursive: true });
    const give = (job: ChunkJob): Promise<void> => threads.give(job, progress);
    finished.push({ folder, chunks: await chunkInput(source, input, { folder, give, options }) });
  }
  await threads.drain();
  for (const { folder, chunks } of finished)
    await writeWhole(join(folder, 'done.json'), Buffer.from(JSON.stringify({ chunks })));
}

const tellEveryMs = 2_000;

/** Tells how far it is, now and then. */
function progressOf(name: string, { say }: PrepareDataOptions): (bytes: number) => void {
  const startMs = performance.now();
  let [toldMs, chunks, bytesDone] = [startMs, 0, 0];
  return (bytes) => {
    chunks++;
    bytesDone += bytes;
    const nowMs = performance.now();
    if (nowMs - toldMs < tellEveryMs) return;
    toldMs = nowMs;
    const rate = bytesDone / 1e3 / (nowMs - startMs);
    say(`${name}: ${chunks} chunks, ${(bytesDone / 1e6).toFixed(1)} MB of text, ${rate.toFixed(1)} MB/s`);
  };
}

/** Gives how many chunks the input has. */
async function chunkInput(
  source: Source,
  input: FoundInput,
  work: {
    readonly folder: string;
    readonly give: (job: ChunkJob) => Promise<void>;
    readonly options: PrepareDataOptions;
  },
): Promise<number> {
  const { folder, give, options } = work;
  const { chunkBytes = defaultChunkBytes } = options;
  let index = 0;
  let held: (Document | null)[] = [];
  let heldBytes = 0;
  const flush = async (): Promise<void> => {
    checkStop(options.signal);
    const path = chunkPath(folder, index++);
    const documents = held;
    [held, heldBytes] = [[], 0];
    // Renamed there: what has the name is whole.
    if (await isThere(path)) return;
    await give({ documents, path });
  };
  for await (const document of readDocuments(input.path, source, options)) {
    held.push(document);
    heldBytes += (document?.text.length ?? 0) + 64;
    if (heldBytes >= chunkBytes) await flush();
  }
  if (held.length > 0) await flush();
  return index;
}

const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/** Null: not all of them are made. */
async function chunkCount(folder: string): Promise<number | null> {
  try {
    const { chunks } = JSON.parse(await readFile(join(folder, 'done.json'), 'utf8')) as { chunks: unknown };
    return Number.isSafeInteger(chunks) && (chunks as number) >= 0 ? (chunks as number) : null;
  } catch {
    return null; // Not there, or cut short by a crash of the machine: made again.
  }
}

async function* chunksOf(folders: readonly string[], signal: AbortSignal): AsyncGenerator<Chunk> {
  for (const folder of folders) {
    const chunks = (await chunkCount(folder)) ?? 0;
    for (let i = 0; i < chunks; i++) {
      checkStop(signal);
      const path = chunkPath(folder, i);
      try {
        yield decodeChunk(await readFile(path), path);
      } catch (error) {
        // Damaged or gone: the next start makes it again.
        await rm(join(folder, 'done.json'), { force: true });
        if (error instanceof DataError && error.code === 'DAMAGED') await rm(path, { force: true });
        throw error;
      }
    }
  }
}

async function assembleAll(
  options: PrepareDataOptions,
  tokenizer: Tokenizer,
  inputs: ReadonlyMap<string, readonly FoundInput[]>,
  keyOf: KeyOf,
): Promise<{ catalog: Catalog; report: DataReport }> {
  const { dir, sources, say, signal } = options;
  const target = join(dir, preparedName);
  const partial = `${target}.part`;
  await rm(partial, { recursive: true, force: true });
  await mkdir(partial, { recursive: true });
  const write = (file: string, bytes: Uint8Array): Promise<void> => writeWhole(join(partial, file), bytes);
  const { vocabSize, endOfText } = tokenizer;
  const assembly = new Assembly({ ...options, vocabSize, endOfText, writeShard: write });
  const reports: SourceReport[] = [];
  for (const source of sources) {
    const found = inputs.get(source.name)!;
    const folders = found.map((input) => join(dir, 'work', keyOf(source, input)));
    const tally = await assembly.add(source, chunksOf(folders, signal));
    reports.push(sourceReport(source, found, tally));
    say(`${source.name}: ${tally.read.documents} documents read, ${assembly.shards.length} shards so far`);
  }
  const report: DataReport = {
    version: 1,
    settings: settingsOf(options),
    ...(options.forgetsOldest ? { forgottenDocuments: assembly.forgottenDocuments } : {}),
    evaluation: evaluationOf(options),
    sources: reports,
  };
  const catalog = catalogOf(options, tokenizer, assembly);
  await write('tokenizer.json', Buffer.from(options.tokenizer.json));
  await write('tokenizer_config.json', Buffer.from(options.tokenizer.config));
  await write('report.json', Buffer.from(`${JSON.stringify(report, null, 2)}\n`));
  await write('report.txt', Buffer.from(reportText(report)));
  await write('catalog.json', Buffer.from(`${JSON.stringify(catalog, null, 2)}\n`));
  await replaceFolder(partial, target);
  return { catalog, report };
}

const sourceReport = (source: Source, found: readonly FoundInput[], tally: SourceTally): SourceReport => ({
  ...{ name: source.name, from: source.from, revision: source.revision ?? null },
  licence: source.licence ?? `field ${source.licenceField}`,
  inputs: found.map(({ name, sizeBytes, sha256 }) => ({ name, sizeBytes, sha256 })),
  ...tally,
});

function settingsOf(options: PrepareDataOptions): DataReport['settings'] {
  const { filterText, dropsNearCopies, shardTokens, maxDocumentBytes, skipBad, forgetsOldest, maxHashBytes } = options;
  return {
    ...{ filters: filterText, nearCopies: dropsNearCopies, shardTokens, maxDocumentBytes, skipBadRecords: skipBad },
    // What is dropped depends on it then.
    ...(forgetsOldest ? { maxHashBytes } : {}),
  };
}

const evaluationOf = ({ grams }: PrepareDataOptions): DataReport['evaluation'] => ({
  items: grams?.items ?? 0,
  shortItems: grams?.shortItems ?? 0,
  grams: grams?.grams ?? 0,
});

function catalogOf(options: PrepareDataOptions, tokenizer: Tokenizer, { shards }: Assembly): Catalog {
  const trained = new Set(shards.filter(({ stage }) => stage === 'train').map(({ source }) => source));
  if (trained.size === 0)
    throw new DataError(
      'BAD_SOURCE',
      'no document is left to train on; the filters dropped all, see --filters, or every source is held out',
    );
  const named = (file: string, text: string) => ({ file, artifact: artifactOf(Buffer.from(text), nodeSha256) });
  const mixture = options.sources
    .filter(({ name }) => trained.has(name))
    .map(({ name, share }) => [name, share] as const);
  return {
    ...{ version: 2, preset: preparedName, vocabSize: tokenizer.vocabSize, endOfText: tokenizer.endOfText },
    ...{ startOfText: tokenizer.startOfText, shardTokens: options.shardTokens },
    tokenizer: named('tokenizer.json', options.tokenizer.json),
    tokenizerConfig: named('tokenizer_config.json', options.tokenizer.config),
    mixture: Object.fromEntries(mixture),
    shards,
  };
}

/** The old folder moves away first: a crash between the two renames leaves it under `.old`, and the next start goes on. */
async function replaceFolder(partial: string, target: string): Promise<void> {
  const old = `${target}.old`;
  try {
    await rm(old, { recursive: true, force: true });
    await rename(target, old).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
    await rename(partial, target);
    await rm(old, { recursive: true, force: true });
  } catch (cause) {
    throw asDiskFault(target, cause);
  }
}

function checkStop(signal: AbortSignal): void {
  if (signal.aborted) throw new DataError('INTERRUPTED', 'stopped; the same command goes on where it stopped');
}
