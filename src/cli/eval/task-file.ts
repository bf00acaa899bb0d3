/** @file Task files: JSON lines, read as a stream, a line at a time; whatever is wrong is told with file and line. */
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { EvaluationError } from '../../evaluation/errors.ts';
import { formatOf, type TaskFormat, type TaskItem } from '../../evaluation/tasks/formats.ts';
import { fromUtf8 } from '../../util/bytes.ts';
import { UsageError } from '../../util/errors.ts';
import type { NamedFile } from './options.ts';

const maxLineBytes = 1 << 20;
const maxLabelBytes = 16 << 20;
/** Of a split that is held in memory. */
const maxPoolRows = 200_000;

export interface TaskFile {
  readonly name: string;
  readonly format: TaskFormat;
  /** From the first row, each time. `limit`: rows at most. */
  items(limit?: number): AsyncIterable<TaskItem>;
}

/** @throws UsageError for a file that cannot be read; EvaluationError BAD_TASK for one that is no task, now or while reading */
export async function openTaskFile({ name, path }: NamedFile): Promise<TaskFile> {
  const info = await stat(path).catch((cause: unknown) => {
    throw new UsageError(`task ${name}: there is no file at ${path}`, { cause });
  });
  if (!info.isFile()) throw new UsageError(`task ${name}: ${path} is no file; give the JSON lines of one split`);
  const [first] = await take(rowsOf(path), 1);
  if (first === undefined) throw new EvaluationError('BAD_TASK', `${path}: the file has no rows`);
  const format = at(path, first.line, () => formatOf(name, first.row));
  const labels = format.hasLabelFile ? await readLabels(path) : null;
  return {
    ...{ name, format },
    async *items(limit = Number.POSITIVE_INFINITY) {
      let count = 0;
      for await (const { line, row } of rowsOf(path)) {
        if (count === limit) return;
        const labelled = labels === null ? row : { label: labels[count], ...(row as object) };
        count++;
        yield at(path, line, () => format.parse(labelled));
      }
    },
  };
}

/** A whole split, for examples. */
export async function readPool(file: NamedFile, format: TaskFormat): Promise<readonly TaskItem[]> {
  const opened = await openTaskFile(file);
  if (opened.format !== format)
    throw new UsageError(
      `--fewshot-from: ${file.path} is ${opened.format.name}, the task ${file.name} is ${format.name}`,
    );
  const pool = await take(opened.items(), maxPoolRows + 1);
  if (pool.length > maxPoolRows)
    throw new UsageError(`--fewshot-from: ${file.path} has more than ${maxPoolRows} rows; give a part of them`);
  return pool;
}

async function take<T>(items: AsyncIterable<T>, count: number): Promise<T[]> {
  const taken: T[] = [];
  for await (const item of items) {
    taken.push(item);
    if (taken.length === count) break;
  }
  return taken;
}

/** What `read` finds wrong, with its place. */
function at<T>(path: string, line: number, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (!(cause instanceof EvaluationError)) throw cause;
    throw new EvaluationError('BAD_TASK', `${path}:${line}: ${cause.message}`, { cause });
  }
}

/** `valid-labels.lst` beside `valid.jsonl`: a label a line. */
async function readLabels(path: string): Promise<readonly string[] | null> {
  const file = path.replace(/\.jsonl?$/, '-labels.lst');
  const info = await stat(file).catch(() => null);
  if (file === path || info === null) return null;
  if (info.size > maxLabelBytes) throw new EvaluationError('BAD_TASK', `${file}: ${info.size} bytes are no labels`);
  return (await readFile(file, 'utf8')).split(/\r?\n/).map((label) => label.trim());
}

interface Row {
  readonly line: number;
  readonly row: unknown;
}

async function* rowsOf(path: string): AsyncGenerator<Row> {
  let line = 0;
  for await (const bytes of linesOf(path)) {
    line++;
    const text = decode(path, line, bytes);
    if (text.trim() === '') continue;
    yield { line, row: parse(path, line, text) };
  }
}

function decode(path: string, line: number, bytes: Uint8Array): string {
  try {
    return fromUtf8(bytes).replace(/^\uFEFF/, '');
  } catch (cause) {
    throw new EvaluationError('BAD_TASK', `${path}:${line}: no UTF-8; is the file compressed?`, { cause });
  }
}

function parse(path: string, line: number, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new EvaluationError('BAD_TASK', `${path}:${line}: expected a JSON object, got ${text.slice(0, 40).trim()}…`, {
      cause,
    });
  }
}

async function* linesOf(path: string): AsyncGenerator<Uint8Array> {
  let rest: Buffer = Buffer.alloc(0);
  let lines = 0;
  for await (const chunk of createReadStream(path)) {
    rest = Buffer.concat([rest, chunk as Buffer]);
    for (let end = rest.indexOf(0x0a); end >= 0; end = rest.indexOf(0x0a)) {
      lines++;
      yield rest.subarray(0, end);
      rest = rest.subarray(end + 1);
    }
    if (rest.length > maxLineBytes)
      throw new EvaluationError('BAD_TASK', `${path}:${lines + 1}: the line is longer than ${maxLineBytes} bytes`);
  }
  if (rest.length > 0) yield rest;
}
