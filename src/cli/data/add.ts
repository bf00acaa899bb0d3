/** @file Does `accrete data add`: finds the source's files, pins those of a hub, and writes them to `sources.json`. */
import { readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { hubFiles, parseHubAddress } from '../../data/pipeline/hub-files.ts';
import {
  formatOfName,
  type Source,
  type SourceFormat,
  type SourceInput,
  sourceSchema,
} from '../../data/pipeline/sources.ts';
import { UsageError } from '../../util/errors.ts';
import type { Handler } from '../command.ts';
import type { Io } from '../io.ts';
import { formatBytes, formatCount } from '../output.ts';
import { hubEndpoint } from '../publish/options.ts';
import type { Settings } from '../settings.ts';
import { holding, readSources, writeSources } from './folder.ts';

export const handle: Handler = async (settings, io) => {
  const dir = settings.path('dir');
  const found = await findFiles(settings, io);
  const source = sourceOf(settings, found);
  await holding(dir, async () => {
    const sources = await readSources(dir);
    const isThere = sources.some(({ name }) => name === source.name);
    if (isThere && !settings.switch('replace'))
      throw new UsageError(`--name: ${dir} has a source ${source.name} already; choose another name, or add --replace`);
    const others = isThere ? sources.map((each) => (each.name === source.name ? source : each)) : [...sources, source];
    await writeSources(dir, others);
  });
  const sizeBytes = source.inputs.reduce((sum, input) => sum + (input.sizeBytes ?? 0), 0);
  const licence = source.licence ?? `of field ${source.licenceField}`;
  const size = sizeBytes > 0 ? `, ${formatBytes(sizeBytes)}` : '';
  const files = `${formatCount(source.inputs.length)} ${source.format} file${source.inputs.length === 1 ? '' : 's'}`;
  io.out(
    settings.switch('json')
      ? JSON.stringify(source)
      : `${source.name}: ${files}${size}, licence ${licence}${source.revision ? `, at commit ${source.revision}` : ''}`,
  );
  return 0;
};

interface Found {
  readonly from: string;
  readonly inputs: readonly SourceInput[];
  /** Paths or URLs, to tell the format by. */
  readonly names: readonly string[];
  readonly revision?: string;
  readonly licence?: string | null;
}

async function findFiles(settings: Settings, io: Io): Promise<Found> {
  const from = settings.argument ?? '';
  if (from.startsWith('hf://')) return await hubSource(from, io);
  if (/^https?:\/\//i.test(from)) {
    if (!URL.canParse(from)) throw new UsageError(`'${from.slice(0, 200)}' is no URL`);
    const url = new URL(from);
    if (url.username !== '') throw new UsageError('a URL with a password in it would be written down; leave it out');
    return { from: url.href, inputs: [{ url: url.href }], names: [url.pathname] };
  }
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(from))
    throw new UsageError(`expected a path, an http(s) URL or hf://datasets/OWNER/NAME, got '${from.slice(0, 200)}'`);
  return await localSource(from, resolve(io.cwd, from), settings);
}

async function hubSource(from: string, io: Io): Promise<Found> {
  const address = parseHubAddress(from);
  if (address === null)
    throw new UsageError(`expected hf://datasets/OWNER/NAME[@REVISION][/PATH], got '${from.slice(0, 200)}'`);
  const token = io.environment.HF_TOKEN || null;
  const { inputs, revision, licence } = await hubFiles(address, {
    endpoint: hubEndpoint(io.environment),
    token,
    fetch,
  });
  return { from, inputs, revision, licence, names: inputs.map(({ url }) => decodeURI(new URL(url!).pathname)) };
}

async function localSource(from: string, path: string, settings: Settings): Promise<Found> {
  const info = await stat(path).catch((cause: unknown) => {
    throw new UsageError(`there is nothing at ${path}; give a file, a folder, a URL or hf://datasets/OWNER/NAME`, {
      cause,
    });
  });
  if (info.isFile()) return { from, inputs: [{ path, sizeBytes: info.size }], names: [path] };
  const wanted = settings.has('format') ? settings.text('format') : null;
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile() && formatOfName(entry.name) !== null)
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => wanted === null || formatOfName(file) === wanted)
    .sort();
  if (paths.length === 0)
    throw new UsageError(
      `${path} has no ${wanted ?? 'text, JSON lines or Parquet'} file (.txt, .md, .jsonl, .parquet; .gz, .zst)`,
    );
  const inputs = await Promise.all(paths.map(async (file) => ({ path: file, sizeBytes: (await stat(file)).size })));
  return { from, inputs, names: paths };
}

function sourceOf(settings: Settings, found: Found): Source {
  const optional = (name: string): string | undefined => (settings.has(name) ? settings.text(name) : undefined);
  const licenceField = optional('licence-field');
  const licence = optional('licence') ?? (licenceField === undefined ? (found.licence ?? undefined) : undefined);
  if (licence === undefined && licenceField === undefined)
    throw new UsageError(
      'the licence is missing; add --licence TEXT, or --licence-field NAME where each document has its own',
    );
  const fields = {
    ...{ name: settings.text('name'), from: found.from, format: formatIn(settings, found), inputs: found.inputs },
    ...{ unit: settings.choice('unit', ['file', 'paragraph', 'line']), textField: settings.text('text-field') },
    stage: settings.choice('stage', ['train', 'held-out-other']),
    heldOutEvery: settings.count('held-out-every', { min: 0, max: 1_000_000 }),
    share: settings.count('share', { min: 1, max: 1_000_000 }),
    about: optional('about') ?? '',
    ...{ revision: found.revision, licence, licenceField },
    ...{ language: optional('language'), languageField: optional('language-field') },
  };
  if (fields.format === 'text' && (licenceField !== undefined || fields.languageField !== undefined))
    throw new UsageError('text has no fields; give --licence and --language for all of it');
  const given = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
  const parsed = sourceSchema.safeParse(given);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  throw new UsageError(`--${issue.path.join('.')}: ${issue.message}`);
}

function formatIn(settings: Settings, { names, from }: Found): SourceFormat {
  if (settings.has('format')) return settings.choice('format', ['text', 'jsonl', 'parquet']);
  const formats = [...new Set(names.map(formatOfName))];
  if (formats.length === 1 && formats[0] !== null) return formats[0]!;
  throw new UsageError(
    formats.includes(null)
      ? `${from}: the name does not tell the format; add --format text, jsonl or parquet`
      : `${from} holds ${formats.join(' and ')}; add each with --format as a source of its own`,
  );
}
