/** @file Does `accrete data prepare`: progress on standard error, then the report. */
import { readFile, stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { preparedName } from '../../data/catalog.ts';
import { type EvaluationGrams, gramsOf } from '../../data/pipeline/contamination.ts';
import { parseFilters } from '../../data/pipeline/filters.ts';
import { type PrepareDataOptions, prepareData } from '../../data/pipeline/prepare.ts';
import { reportText } from '../../data/pipeline/report.ts';
import { UsageError } from '../../util/errors.ts';
import type { Handler } from '../command.ts';
import { ensureCorpus } from '../corpus.ts';
import { systemClock } from '../environment.ts';
import { openTaskFile } from '../eval/task-file.ts';
import type { Io } from '../io.ts';
import { corpusDir, typedPath } from '../paths.ts';
import { hubEndpoint } from '../publish/options.ts';
import type { Settings } from '../settings.ts';
import { holding, readSources } from './folder.ts';

const maxTokenizerBytes = 64 << 20;
const mebibyte = 1 << 20;

export const handle: Handler = async (settings, io) => {
  const options = await parsePrepareOptions(settings, io);
  const { catalog, report } = await holding(options.dir, () => prepareData(options));
  if (!catalog.shards.some(({ stage }) => stage === 'held-out'))
    io.err(
      'no text is held out: no release of a run on it could be evaluated, and accrete up refuses it; add a source again with --replace --held-out-every 10',
    );
  if (settings.switch('json')) {
    io.out(JSON.stringify({ dir: options.dir, shards: catalog.shards.length, ...report }));
    return 0;
  }
  io.out(reportText(report).trimEnd());
  io.out(
    `\nprepared in ${join(options.dir, preparedName)}; train on it: ./bin/accrete up --data ${typedPath(options.dir, io.cwd)}`,
  );
  return 0;
};

async function parsePrepareOptions(settings: Settings, io: Io): Promise<PrepareDataOptions> {
  const dir = settings.path('dir');
  const sources = await readSources(dir);
  if (sources.length === 0)
    throw new UsageError(
      `${dir} has no sources yet; add one: ./bin/accrete data add FROM --name NAME --licence LICENCE --dir ${typedPath(dir, io.cwd)}`,
    );
  const shardTokens = settings.count('shard-tokens', { min: 1024, max: 2 ** 28 });
  if (shardTokens % 1024 !== 0) throw new UsageError(`--shard-tokens: expected a multiple of 1024, got ${shardTokens}`);
  const maxHashBytes = settings.count('memory-mib', { min: 1, max: 1 << 20 }) * mebibyte;
  const threads = settings.count('threads', { min: 0, max: 256 });
  return {
    ...{ dir, sources, shardTokens, maxHashBytes, tokenizer: await readTokenizer(settings, io) },
    ...{ filters: parseFilters(settings.text('filters')), filterText: settings.text('filters') },
    filterModule: settings.has('filter-module') ? settings.path('filter-module') : null,
    grams: await evaluationGrams(settings, io, maxHashBytes),
    dropsNearCopies: !settings.switch('keep-near-copies'),
    forgetsOldest: settings.switch('forget-oldest'),
    threads: threads === 0 ? availableParallelism() : threads,
    maxDocumentBytes: settings.count('max-document-bytes', { min: 1024, max: 2 ** 29 }),
    maxFileBytes: settings.count('max-file-gib', { min: 1, max: 1 << 20 }) * 1024 * mebibyte,
    skipBad: settings.switch('skip-bad-records'),
    keepsWork: !settings.switch('remove-work'),
    hub: { endpoint: hubEndpoint(io.environment), token: io.environment.HF_TOKEN || null },
    ...{ fetch, clock: systemClock, signal: io.stop, say: (line: string) => io.err(line) },
  };
}

async function readTokenizer(settings: Settings, io: Io): Promise<PrepareDataOptions['tokenizer']> {
  const name = settings.text('tokenizer');
  const isPreset = ['tiny', 'nano', 'small'].includes(name);
  if (isPreset) ensureCorpus(name);
  const folder = isPreset ? join(corpusDir, name) : resolve(io.cwd, name);
  const read = async (file: string): Promise<string> => {
    const path = join(folder, file);
    const info = await stat(path).catch(() => null);
    if (info === null || !info.isFile())
      throw new UsageError(`--tokenizer: there is no ${path}; expected tiny, nano, small or a folder with a tokenizer`);
    if (info.size > maxTokenizerBytes)
      throw new UsageError(`--tokenizer: ${path} has ${info.size} bytes, bound ${maxTokenizerBytes}`);
    return await readFile(path, 'utf8');
  };
  return { json: await read('tokenizer.json'), config: await read('tokenizer_config.json') };
}

async function evaluationGrams(settings: Settings, io: Io, maxBytes: number): Promise<EvaluationGrams | null> {
  if (!settings.has('evaluation')) return null;
  const files = settings
    .text('evaluation')
    .split(',')
    .map((part) => {
      const at = part.indexOf('=');
      if (at < 1 || at === part.length - 1)
        throw new UsageError(`--evaluation: expected NAME=FILE, got '${part.slice(0, 200)}'`);
      return { name: part.slice(0, at).trim(), path: resolve(io.cwd, part.slice(at + 1).trim()) };
    });
  return await gramsOf(itemsOf(files), { maxBytes });
}

/** Each question with each answer, as a model sees it: a row of words may begin in the one and end in the other. */
async function* itemsOf(files: readonly { readonly name: string; readonly path: string }[]): AsyncGenerator<string> {
  for (const { name, path } of files) {
    if (/\.(txt|md)$/i.test(path)) {
      const text = await readFile(path, 'utf8').catch((cause: unknown) => {
        throw new UsageError(`--evaluation: there is no file at ${path}`, { cause });
      });
      yield text;
      continue;
    }
    const { items } = await openTaskFile({ name, path });
    for await (const { query, choices } of items()) for (const choice of choices) yield `${query} ${choice}`;
  }
}
