/**
 * @file Adapter of `hyparquet`: chosen columns of a Parquet file, a row group at a time. Sizes that the file states are
 * bounded before memory is taken for them. Does file I/O.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { type AsyncBuffer, type Compressors, type FileMetaData, parquetMetadataAsync, parquetRead } from 'hyparquet';
import { compressors as allCompressors } from 'hyparquet-compressors';
import { DataError } from '../errors.ts';

const maxFooterBytes = 64 << 20;
/** Of the columns that are read, of one row group, uncompressed. Writers make row groups of 128 MiB to 1 GiB in all columns. */
const maxRowGroupBytes = 1 << 30;

export interface ParquetRow {
  /** From 1. */
  readonly number: number;
  readonly values: Readonly<Record<string, unknown>>;
}

const decoder = new TextDecoder('utf-8', { fatal: true });
/** Text that is no UTF-8 becomes null: a record without a text, which whoever reads it refuses by its row. */
const strictText = {
  stringFromBytes(bytes: Uint8Array): string | null {
    try {
      return decoder.decode(bytes);
    } catch {
      return null;
    }
  },
};

/** @throws DataError TRUNCATED, DAMAGED, BAD_RECORD (a column that is not there), LIMIT */
export async function* parquetRows(path: string, columns: readonly string[]): AsyncGenerator<ParquetRow> {
  const handle = await open(path, 'r');
  try {
    const file = await bufferOf(handle, path);
    const metadata = await reading(path, () => parquetMetadataAsync(file));
    checkColumns(path, metadata, columns);
    let rowStart = 0;
    for (const group of metadata.row_groups) {
      const rowEnd = rowStart + Number(group.num_rows);
      checkSize(path, group, columns);
      let rows: Record<string, unknown>[] = [];
      const onComplete = (found: Record<string, unknown>[]): void => {
        rows = found;
      };
      const part = { file, metadata, columns: [...columns], rowStart, rowEnd, compressors: boundedCompressors };
      await reading(path, () => parquetRead({ ...part, parsers: strictText, rowFormat: 'object', onComplete }));
      if (rows.length !== rowEnd - rowStart)
        throw new DataError(
          'DAMAGED',
          `${path}: a row group has ${rows.length} rows, its footer says ${group.num_rows}`,
        );
      for (const [i, values] of rows.entries()) yield { number: rowStart + i + 1, values };
      rowStart = rowEnd;
    }
  } finally {
    await handle.close();
  }
}

/** Checks both ends first: a file that is cut short has no footer. */
async function bufferOf(handle: FileHandle, path: string): Promise<AsyncBuffer> {
  const { size } = await handle.stat();
  const slice = async (start: number, end = size): Promise<ArrayBuffer> => {
    const length = end - start;
    const bytes = new Uint8Array(length);
    let done = 0;
    while (done < length) {
      const { bytesRead } = await handle.read(bytes, done, length - done, start + done);
      if (bytesRead === 0) throw new Error(`bytes ${start} to ${end} of ${size} are not there`);
      done += bytesRead;
    }
    return bytes.buffer;
  };
  const tail = size < 12 ? null : new DataView(await slice(size - 8));
  if (tail === null || tail.getUint32(4, true) !== 0x31524150)
    throw new DataError('TRUNCATED', `${path}: the table has no footer: the file is cut short; fetch or copy it again`);
  const footerBytes = tail.getUint32(0, true);
  if (footerBytes > maxFooterBytes || footerBytes > size - 12)
    throw new DataError('DAMAGED', `${path}: a footer of ${footerBytes} bytes in a file of ${size}`);
  return { byteLength: size, slice };
}

function checkColumns(path: string, metadata: FileMetaData, columns: readonly string[]): void {
  const there = metadata.row_groups[0]?.columns.map((column) => column.meta_data?.path_in_schema[0]) ?? columns;
  const missing = columns.filter((column) => !there.includes(column));
  if (missing.length > 0)
    throw new DataError(
      'BAD_RECORD',
      `${path}: the table has no column ${missing.join(', ')}; it has ${[...new Set(there)].join(', ')}`,
    );
}

function checkSize(path: string, group: FileMetaData['row_groups'][number], columns: readonly string[]): void {
  const read = group.columns.filter((column) => columns.includes(column.meta_data?.path_in_schema[0] ?? ''));
  const sizeBytes = read.reduce((sum, column) => sum + Number(column.meta_data?.total_uncompressed_size ?? 0), 0);
  if (sizeBytes <= maxRowGroupBytes) return;
  throw new DataError(
    'LIMIT',
    `${path}: a row group of ${sizeBytes} bytes in the columns ${columns.join(', ')}, bound ${maxRowGroupBytes}; write it in smaller ones`,
  );
}

/** A page's header says how long it is uncompressed, and may lie. */
const boundedCompressors: Compressors = Object.fromEntries(
  Object.entries(allCompressors).map(([codec, decompress]) => [
    codec,
    (input: Uint8Array, outputLength: number) => {
      if (!(outputLength >= 0 && outputLength <= maxRowGroupBytes))
        throw new Error(`a page says that it has ${outputLength} bytes`);
      const output = (decompress as (input: Uint8Array, length: number) => Uint8Array)(input, outputLength);
      if (output.length !== outputLength) throw new Error(`a page of ${output.length} bytes, expected ${outputLength}`);
      return output;
    },
  ]),
);

async function reading<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    if (cause instanceof DataError) throw cause;
    throw new DataError('DAMAGED', `${path}: the table cannot be read (${(cause as Error).message}); fetch it again`, {
      cause,
    });
  }
}
