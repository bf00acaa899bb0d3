/** @file The documents of one source's file, whatever its format, in the file's order and in bounded memory. */
import { DataError } from '../errors.ts';
import { inputBytes, packingOf } from './input-bytes.ts';
import { type Line, linesOf } from './lines.ts';
import { parquetRows } from './parquet.ts';
import type { Source } from './sources.ts';

export interface Document {
  readonly text: string;
  readonly licence: string;
  /** As the source declares it; null: it does not. */
  readonly language: string | null;
}

export interface ReadOptions {
  readonly maxDocumentBytes: number;
  /** Records that cannot be read are given as null instead of ending everything. */
  readonly skipBad: boolean;
}

/** @throws DataError with file and line or row */
export async function* readDocuments(
  path: string,
  source: Source,
  options: ReadOptions,
): AsyncGenerator<Document | null> {
  const isTable = (await packingOf(path)) === 'parquet';
  if (isTable !== (source.format === 'parquet'))
    throw new DataError(
      'BAD_RECORD',
      `${path}: expected ${source.format}, and this is ${isTable ? 'a Parquet table' : 'no Parquet table'}; see --format`,
    );
  if (isTable) return yield* tableDocuments(path, source, options);
  const lines = linesOf(inputBytes(path), { path, maxBytes: options.maxDocumentBytes, skipBad: options.skipBad });
  if (source.format === 'jsonl') yield* jsonDocuments(path, lines, source, options);
  else yield* textDocuments(path, lines, source, options);
}

async function* jsonDocuments(
  path: string,
  lines: AsyncIterable<Line>,
  source: Source,
  options: ReadOptions,
): AsyncGenerator<Document | null> {
  for await (const { number, text } of lines) {
    if (text === null) yield null;
    else if (text.trim() !== '') yield recordOf(options, `${path}:${number}`, () => documentOfJson(text, source));
  }
}

function documentOfJson(text: string, source: Source): Document {
  let row: unknown;
  try {
    row = JSON.parse(text.startsWith('\uFEFF') ? text.slice(1) : text);
  } catch (cause) {
    throw new Error(`expected a JSON object, got ${JSON.stringify(text.slice(0, 40))}…`, { cause });
  }
  return documentOf((field) => field.split('.').reduce<unknown>(valueIn, row), source);
}

const valueIn = (value: unknown, key: string): unknown =>
  typeof value === 'object' && value !== null && Object.hasOwn(value, key)
    ? (value as Record<string, unknown>)[key]
    : undefined;

async function* tableDocuments(path: string, source: Source, options: ReadOptions): AsyncGenerator<Document | null> {
  const columns = [source.textField, source.licenceField, source.languageField].filter((each) => each !== undefined);
  for await (const { number, values } of parquetRows(path, [...new Set(columns)]))
    yield recordOf(options, `${path} row ${number}`, () => {
      const document = documentOf((field) => values[field], source);
      if (document.text.length > options.maxDocumentBytes)
        throw new Error(`its text is longer than ${options.maxDocumentBytes} bytes; raise --max-document-bytes`);
      return document;
    });
}

/** Throws Error with what is wrong. */
function documentOf(fieldOf: (field: string) => unknown, source: Source): Document {
  const { textField, licence, licenceField, language, languageField } = source;
  const textOf = (field: string): string => {
    const value = fieldOf(field);
    if (typeof value === 'string') return value;
    throw new Error(
      `field ${field}: expected text in UTF-8, ${value === undefined ? 'it is missing' : `got ${kindOf(value)}`}`,
    );
  };
  const own = licence ?? textOf(licenceField!);
  if (own.length === 0 || own.length > 200)
    throw new Error(`field ${licenceField}: expected a licence of 1 to 200 characters, got ${own.length}`);
  return {
    text: textOf(textField),
    licence: own,
    language: language ?? (languageField === undefined ? null : textOf(languageField)),
  };
}

const kindOf = (value: unknown): string => (value === null ? 'null' : Array.isArray(value) ? 'an array' : typeof value);

async function* textDocuments(
  path: string,
  lines: AsyncIterable<Line>,
  source: Source,
  options: ReadOptions,
): AsyncGenerator<Document | null> {
  const { unit, licence, language = null } = source;
  let held: string[] = [];
  let length = 0;
  const close = (): Document => {
    const document = { text: held.join('\n'), licence: licence!, language };
    [held, length] = [[], 0];
    return document;
  };
  for await (const { number, text } of lines) {
    if (text === null) {
      yield null;
      continue;
    }
    const isEmpty = text.trim() === '';
    if (unit !== 'file' && isEmpty) {
      if (held.length > 0) yield close();
      continue;
    }
    held.push(number === 1 ? text.replace(/^\uFEFF/, '') : text);
    length += text.length + 1;
    if (unit === 'line') yield close();
    else if (length > options.maxDocumentBytes)
      throw new DataError(
        'LIMIT',
        `${path}:${number}: a document of more than ${options.maxDocumentBytes} bytes; cut the file with --unit line or paragraph, or raise --max-document-bytes`,
      );
  }
  if (held.length > 0) yield close();
}

function recordOf({ skipBad }: ReadOptions, where: string, read: () => Document): Document | null {
  try {
    return read();
  } catch (cause) {
    if (skipBad) return null;
    throw new DataError('BAD_RECORD', `${where}: ${(cause as Error).message}`, { cause });
  }
}
