/** @file Lines of a stream of bytes: strict UTF-8, at most so many bytes each; whatever is wrong is told with the line. */
import { DataError } from '../errors.ts';

export interface Line {
  /** From 1. */
  readonly number: number;
  /** Without its end; null: too long, or no UTF-8, where such lines are skipped. */
  readonly text: string | null;
}

export interface LineOptions {
  /** For messages. */
  readonly path: string;
  readonly maxBytes: number;
  /** Lines that cannot be read are given as null instead of ending everything. */
  readonly skipBad: boolean;
}

/** @throws DataError BAD_RECORD, LIMIT */
export async function* linesOf(bytes: AsyncIterable<Uint8Array>, options: LineOptions): AsyncGenerator<Line> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let parts: Uint8Array[] = [];
  let length = 0;
  let number = 1;
  const finish = (): Line => {
    const line = { number, text: textOf(parts, { decoder, length, number, ...options }) };
    [parts, length] = [[], 0];
    number++;
    return line;
  };
  for await (const chunk of bytes) {
    let from = 0;
    for (let end = chunk.indexOf(0x0a); end >= 0; end = chunk.indexOf(0x0a, from)) {
      length += end - from;
      if (length <= options.maxBytes) parts.push(chunk.subarray(from, end));
      yield finish();
      from = end + 1;
    }
    length += chunk.length - from;
    if (length <= options.maxBytes && from < chunk.length) parts.push(chunk.subarray(from));
    // What is too long is not kept while its end is looked for.
    else if (length > options.maxBytes) {
      parts = [];
      if (!options.skipBad) throw tooLong(options, number);
    }
  }
  if (length > 0) yield finish();
}

function textOf(
  parts: readonly Uint8Array[],
  options: LineOptions & {
    readonly decoder: Pick<InstanceType<typeof TextDecoder>, 'decode'>;
    readonly length: number;
    readonly number: number;
  },
): string | null {
  const { decoder, length, number, path, maxBytes, skipBad } = options;
  if (length > maxBytes) {
    if (skipBad) return null;
    throw tooLong(options, number);
  }
  try {
    const text = decoder.decode(parts.length === 1 ? parts[0]! : Buffer.concat(parts));
    return text.endsWith('\r') ? text.slice(0, -1) : text;
  } catch (cause) {
    if (skipBad) return null;
    throw new DataError(
      'BAD_RECORD',
      `${path}:${number}: the line is no UTF-8; convert the file, or leave such records out with --skip-bad-records`,
      { cause },
    );
  }
}

const tooLong = ({ path, maxBytes }: LineOptions, number: number): DataError =>
  new DataError(
    'LIMIT',
    `${path}:${number}: the line is longer than ${maxBytes} bytes; raise --max-document-bytes, or leave such records out with --skip-bad-records`,
  );
