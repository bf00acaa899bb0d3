/**
 * @file What a data folder is made of: `sources.json`, a list of sources with their files, licence and use. `accrete data
 * add` writes it, `accrete data prepare` reads it. Remote files are pinned where the server tells what they are.
 */
import { z } from 'zod';
import { DataError } from '../errors.ts';

export const sourceFormats = ['text', 'jsonl', 'parquet'] as const;
export type SourceFormat = (typeof sourceFormats)[number];
/** What a document of a text file is: the whole file, each line, or what lies between empty lines. */
export const textUnits = ['file', 'paragraph', 'line'] as const;

const fieldSchema = z.string().min(1).max(128);
const hexSchema = (length: number) => z.string().regex(new RegExp(`^[0-9a-f]{${length}}$`));

/** One input: `path` on this machine, or `url` to fetch. */
const inputSchema = z
  .strictObject({
    path: z.string().min(1).max(4096).optional(),
    url: z
      .url({ protocol: /^https?$/ })
      .max(4096)
      .optional(),
    sizeBytes: z.int().min(0).optional(),
    /** As a hub tells it: of large files. */
    sha256: hexSchema(64).optional(),
    /** As a hub tells it: Git's hash of a blob. */
    gitSha1: hexSchema(40).optional(),
  })
  .refine(({ path, url }) => (path === undefined) !== (url === undefined), 'expected a path or a url');
export type SourceInput = z.infer<typeof inputSchema>;

export const sourceSchema = z
  .strictObject({
    name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,47}$/, 'expected a name of a-z, 0-9 and -'),
    /** As it was given, for people. */
    from: z.string().min(1).max(4096),
    /** The hub's commit. */
    revision: hexSchema(40).optional(),
    format: z.enum(sourceFormats),
    unit: z.enum(textUnits),
    /** Of JSON lines and tables; dots lead into objects of JSON lines. */
    textField: fieldSchema,
    /** One of the two says what each document's licence is. */
    licence: z.string().min(1).max(200).optional(),
    licenceField: fieldSchema.optional(),
    /** Of all documents; absent: `languageField`, or what a filter detects. */
    language: z.string().min(2).max(16).optional(),
    languageField: fieldSchema.optional(),
    stage: z.enum(['train', 'held-out-other']),
    /** One in so many documents is held out, by its hash; 0: none. */
    heldOutEvery: z.int().min(0).max(1_000_000),
    /** Integer share in a run's mixture. */
    share: z.int().min(1).max(1_000_000),
    about: z.string().max(200),
    inputs: z.array(inputSchema).min(1).max(1_000_000),
  })
  .refine(({ licence, licenceField }) => (licence === undefined) !== (licenceField === undefined), {
    path: ['licence'],
    message: 'expected a licence of all documents, or the name of the field that has it (licenceField)',
  });
export type Source = z.infer<typeof sourceSchema>;

const sourcesSchema = z.strictObject({ version: z.literal(1), sources: z.array(sourceSchema).max(4096) });

export function parseSources(text: string, where: string): readonly Source[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new DataError('BAD_SOURCE', `${where}: expected JSON (${(cause as Error).message})`, { cause });
  }
  const parsed = sourcesSchema.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw new DataError('BAD_SOURCE', `${where}: ${issue.path.join('.')}: ${issue.message}`);
  }
  const names = parsed.data.sources.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new DataError('BAD_SOURCE', `${where}: two sources are called ${twice}`);
  return parsed.data.sources;
}

export const formatSources = (sources: readonly Source[]): string =>
  `${JSON.stringify({ version: 1, sources }, null, 2)}\n`;

/** By the name's ending, packing aside; null: it does not say. */
export function formatOfName(name: string): SourceFormat | null {
  const plain = name.toLowerCase().replace(/\.(gz|zst|zstd)$/, '');
  if (/\.(jsonl|ndjson|json)$/.test(plain)) return 'jsonl';
  if (/\.parquet$/.test(plain)) return 'parquet';
  return /\.(txt|text|md)$/.test(plain) ? 'text' : null;
}
