/** @file The other side of `chunk-threads.ts`: makes one chunk after another and writes each as a file. */
import { pathToFileURL } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';
import { assert, BaseError } from '../../util/errors.ts';
import { DataError } from '../errors.ts';
import { FastTokenizer } from '../fast-tokenizer.ts';
import { type ChunkTools, makeChunk } from './chunk.ts';
import { encodeChunk } from './chunk-file.ts';
import type { ChunkJob, ChunkReply, ChunkSetup } from './chunk-threads.ts';
import { writeWhole } from './durable.ts';
import { buildFilters, type FilterFactory } from './filters.ts';
import { HashSet } from './hash-set.ts';

async function openTools(setup: ChunkSetup): Promise<ChunkTools> {
  const more = setup.filterModule === null ? {} : await loadFilters(setup.filterModule);
  return {
    tokenizer: new FastTokenizer(setup.tokenizerJson),
    endOfText: setup.endOfText,
    filters: await buildFilters(setup.filters, more),
    grams: setup.gramTable === null ? null : HashSet.readOnly(setup.gramTable),
  };
}

/** The operator's own filters: `export const filters = { NAME: { bounds, build } }`. */
async function loadFilters(path: string): Promise<Readonly<Record<string, FilterFactory>>> {
  const loaded: { readonly filters?: unknown } = await import(pathToFileURL(path).href).catch((cause: unknown) => {
    throw new DataError('BAD_SOURCE', `${path}: the filters cannot be loaded (${String(cause)})`, { cause });
  });
  const { filters } = loaded;
  const isFactory = (value: unknown): boolean =>
    typeof (value as FilterFactory | null)?.build === 'function' && typeof (value as FilterFactory).bounds === 'object';
  if (typeof filters !== 'object' || filters === null || !Object.values(filters).every(isFactory))
    throw new DataError(
      'BAD_SOURCE',
      `${path}: expected export const filters = { NAME: { bounds: {}, build(bounds) {} } }`,
    );
  return filters as Readonly<Record<string, FilterFactory>>;
}

const port = parentPort;
assert(port !== null, 'chunk-worker.ts runs in a worker thread only');
const opening = openTools(workerData as ChunkSetup);
opening.catch(() => {}); // each job reports the failure
port.on('message', ({ documents, path }: ChunkJob) => {
  void (async () => {
    let reply: ChunkReply;
    try {
      const chunk = makeChunk(documents, await opening);
      await writeWhole(path, encodeChunk(chunk));
      reply = { ok: true, bytes: chunk.read.bytes };
    } catch (error) {
      const code = error instanceof BaseError ? error.code : 'INTERNAL';
      reply = { ok: false, code, message: error instanceof Error ? error.message : String(error) };
    }
    port.postMessage(reply);
  })();
});
