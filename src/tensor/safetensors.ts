/**
 * @file The safetensors container: u64 header length (little endian), JSON header, data. Reading trusts nothing: the
 * header's size, names, shapes and offsets are bounded and must tile the data exactly before a view is handed out, and
 * no memory is allocated from a number in the file. Tensors are views of the input bytes, never copies. Writing gives
 * one byte string for one set of tensors. Refuses sub-byte and complex dtypes.
 */
import { BaseError } from '../util/errors.ts';
import { bf16ToF32, f16ToF32 } from './half.ts';
import { parseUniqueJson } from './unique-json.ts';

export type SafetensorsErrorCode =
  | 'TRUNCATED'
  | 'HEADER_TOO_LARGE'
  | 'HEADER_MALFORMED'
  | 'TOO_MANY_TENSORS'
  | 'BAD_NAME'
  | 'BAD_DTYPE'
  | 'BAD_SHAPE'
  | 'BAD_OFFSETS'
  | 'NOT_CONTIGUOUS'
  | 'BAD_VALUES';

export class SafetensorsError extends BaseError<SafetensorsErrorCode> {}

export const dtypeSizeBytes = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  I16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  I64: 8,
  F64: 8,
} as const;

export type SafetensorsDtype = keyof typeof dtypeSizeBytes;

export interface TensorInfo {
  readonly name: string;
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  /** Offset of the first byte from the start of the data section. */
  readonly offsetBytes: number;
  readonly sizeBytes: number;
}

export interface SafetensorsHeader {
  readonly metadata: Readonly<Record<string, string>>;
  /** In the order of their offsets. */
  readonly tensors: readonly TensorInfo[];
  /** Where the data section starts in the file. */
  readonly dataOffsetBytes: number;
}

/** A named tensor's bytes, little endian, row-major; `bytes` is a view. */
export interface TensorBytes {
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

export interface SafetensorsLimits {
  readonly headerBytes: number;
  readonly tensorCount: number;
  readonly nameLength: number;
  readonly rank: number;
}

export const defaultLimits: SafetensorsLimits = {
  headerBytes: 16 * 2 ** 20,
  tensorCount: 100_000,
  nameLength: 512,
  rank: 8,
};

/**
 * Length of the JSON header, from a file's first 8 bytes.
 * @throws SafetensorsError TRUNCATED, HEADER_TOO_LARGE
 */
export function readHeaderLength(prefix: Uint8Array, limits: SafetensorsLimits = defaultLimits): number {
  if (prefix.byteLength < 8)
    throw new SafetensorsError('TRUNCATED', `expected 8 bytes of header length, got ${prefix.byteLength}`);
  const length = new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(limits.headerBytes))
    throw new SafetensorsError(
      'HEADER_TOO_LARGE',
      `header says ${length} bytes; at most ${limits.headerBytes} are read`,
    );
  return Number(length);
}

/**
 * Parses and checks the header of a file of `fileSizeBytes`, of which `bytes` holds at least the header.
 * @throws SafetensorsError with the code of the first fault
 */
export function parseSafetensorsHeader(
  bytes: Uint8Array,
  fileSizeBytes: number,
  limits: SafetensorsLimits = defaultLimits,
): SafetensorsHeader {
  const length = readHeaderLength(bytes, limits);
  const dataOffsetBytes = 8 + length;
  if (bytes.byteLength < dataOffsetBytes || fileSizeBytes < dataOffsetBytes)
    throw new SafetensorsError('TRUNCATED', `header says ${length} bytes, the file has ${fileSizeBytes - 8} after it`);
  const json = parseUniqueJson(bytes.subarray(8, dataOffsetBytes));
  if (json.kind === 'fault') throw new SafetensorsError('HEADER_MALFORMED', `header: ${json.reason}`);
  if (!isRecord(json.value)) throw new SafetensorsError('HEADER_MALFORMED', 'header is not a JSON object');
  const { __metadata__: metadata = {}, ...entries } = json.value;
  const names = Object.keys(entries);
  if (names.length > limits.tensorCount)
    throw new SafetensorsError('TOO_MANY_TENSORS', `${names.length} tensors; at most ${limits.tensorCount} are read`);
  const tensors = names.map((name) => parseEntry(name, entries[name], limits));
  tensors.sort((a, b) => a.offsetBytes - b.offsetBytes || a.sizeBytes - b.sizeBytes);
  checkTiling(tensors, fileSizeBytes - dataOffsetBytes);
  return { metadata: parseMetadata(metadata), tensors, dataOffsetBytes };
}

/** Reads a whole file held in memory. Values are views of `bytes`, in the order of the file. */
export function readSafetensors(
  bytes: Uint8Array,
  limits: SafetensorsLimits = defaultLimits,
): { readonly metadata: Readonly<Record<string, string>>; readonly tensors: ReadonlyMap<string, TensorBytes> } {
  const header = parseSafetensorsHeader(bytes, bytes.byteLength, limits);
  const tensors = new Map<string, TensorBytes>();
  for (const { name, dtype, shape, offsetBytes, sizeBytes } of header.tensors) {
    const begin = header.dataOffsetBytes + offsetBytes;
    tensors.set(name, { dtype, shape, bytes: bytes.subarray(begin, begin + sizeBytes) });
  }
  return { metadata: header.metadata, tensors };
}

/**
 * The header of a file holding `tensors` (length word included, padded to 8 bytes) and the order in which their bytes
 * must follow: larger elements first, so that every tensor is aligned, then by name; or as given, where tensors that are
 * made from one source should follow each other.
 */
export function encodeSafetensorsHeader(
  tensors: readonly { readonly name: string; readonly dtype: SafetensorsDtype; readonly shape: readonly number[] }[],
  metadata: Readonly<Record<string, string>> = {},
  within: 'by-name' | 'as-given' = 'by-name',
): { readonly header: Uint8Array; readonly order: readonly TensorInfo[] } {
  const byName = (a: string, b: string): number => (within === 'as-given' || a === b ? 0 : a < b ? -1 : 1);
  const sorted = [...tensors].sort(
    (a, b) => dtypeSizeBytes[b.dtype] - dtypeSizeBytes[a.dtype] || byName(a.name, b.name),
  );
  const entries: string[] = [];
  if (Object.keys(metadata).length > 0) {
    const pairs = Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1));
    entries.push(`"__metadata__":${JSON.stringify(Object.fromEntries(pairs))}`);
  }
  const order: TensorInfo[] = [];
  let offsetBytes = 0;
  for (const { name, dtype, shape } of sorted) {
    const sizeBytes = dtypeSizeBytes[dtype] * shape.reduce((product, dim) => product * dim, 1);
    const end = offsetBytes + sizeBytes;
    entries.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [offsetBytes, end] })}`);
    order.push({ name, dtype, shape, offsetBytes, sizeBytes });
    offsetBytes = end;
  }
  const json = new TextEncoder().encode(`{${entries.join(',')}}`);
  const length = Math.ceil(json.byteLength / 8) * 8;
  const header = new Uint8Array(8 + length).fill(0x20, 8);
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  header.set(json, 8);
  return { header, order };
}

/** One file in memory. The same tensors give the same bytes, whatever the order of the map. */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, TensorBytes>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const infos = [...tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape }));
  const { header, order } = encodeSafetensorsHeader(infos, metadata);
  const last = order.at(-1);
  const out = new Uint8Array(header.byteLength + (last ? last.offsetBytes + last.sizeBytes : 0));
  out.set(header, 0);
  for (const { name, offsetBytes, sizeBytes } of order) {
    const { bytes } = tensors.get(name)!;
    if (bytes.byteLength !== sizeBytes)
      throw new SafetensorsError('BAD_SHAPE', `${name}: shape needs ${sizeBytes} bytes, got ${bytes.byteLength}`);
    out.set(bytes, header.byteLength + offsetBytes);
  }
  return out;
}

/** Wraps typed values for writing; a view, no copy. */
export function tensorBytes(values: Float32Array | Int32Array | BigInt64Array | Uint16Array, shape: readonly number[]) {
  const dtype: SafetensorsDtype =
    values instanceof Float32Array
      ? 'F32'
      : values instanceof Int32Array
        ? 'I32'
        : values instanceof BigInt64Array
          ? 'I64'
          : 'BF16';
  return { dtype, shape, bytes: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) };
}

/** A floating tensor as float32: a view when it is aligned F32, else converted. @throws SafetensorsError BAD_DTYPE */
export function asFloat32(tensor: TensorBytes): Float32Array {
  const { buffer, byteOffset, byteLength } = aligned(tensor);
  switch (tensor.dtype) {
    case 'F32':
      return new Float32Array(buffer, byteOffset, byteLength / 4);
    case 'BF16':
      return bf16ToF32(new Uint16Array(buffer, byteOffset, byteLength / 2));
    case 'F16':
      return f16ToF32(new Uint16Array(buffer, byteOffset, byteLength / 2));
    case 'F64':
      return Float32Array.from(new Float64Array(buffer, byteOffset, byteLength / 8));
    default:
      throw new SafetensorsError('BAD_DTYPE', `expected a floating tensor, got ${tensor.dtype}`);
  }
}

/** An integer tensor as int32 (I64 must fit). @throws SafetensorsError BAD_DTYPE, BAD_VALUES */
export function asInt32(tensor: TensorBytes): Int32Array {
  const { buffer, byteOffset, byteLength } = aligned(tensor);
  if (tensor.dtype === 'I32') return new Int32Array(buffer, byteOffset, byteLength / 4);
  if (tensor.dtype !== 'I64') throw new SafetensorsError('BAD_DTYPE', `expected I32 or I64, got ${tensor.dtype}`);
  return Int32Array.from(new BigInt64Array(buffer, byteOffset, byteLength / 8), (value) => {
    if (value !== BigInt.asIntN(32, value)) throw new SafetensorsError('BAD_VALUES', `${value} does not fit in int32`);
    return Number(value);
  });
}

/** An integer tensor as int64: a view when it is aligned I64. @throws SafetensorsError BAD_DTYPE */
export function asInt64(tensor: TensorBytes): BigInt64Array {
  const { buffer, byteOffset, byteLength } = aligned(tensor);
  if (tensor.dtype === 'I64') return new BigInt64Array(buffer, byteOffset, byteLength / 8);
  if (tensor.dtype !== 'I32') throw new SafetensorsError('BAD_DTYPE', `expected I32 or I64, got ${tensor.dtype}`);
  return BigInt64Array.from(new Int32Array(buffer, byteOffset, byteLength / 4), BigInt);
}

/** Typed-array views need aligned offsets; a misaligned tensor (header length not a multiple of 8) is copied. */
function aligned({ dtype, bytes }: TensorBytes): Uint8Array {
  return bytes.byteOffset % dtypeSizeBytes[dtype] === 0 ? bytes : bytes.slice();
}

function parseEntry(name: string, entry: unknown, limits: SafetensorsLimits): TensorInfo {
  if (name.length === 0 || name.length > limits.nameLength)
    throw new SafetensorsError('BAD_NAME', `a name has ${name.length} characters; 1 to ${limits.nameLength} are read`);
  if (!isRecord(entry)) throw new SafetensorsError('HEADER_MALFORMED', `${name}: entry is not an object`);
  const { dtype, shape, data_offsets: offsets, ...rest } = entry;
  if (Object.keys(rest).length > 0)
    throw new SafetensorsError('HEADER_MALFORMED', `${name}: unknown field ${Object.keys(rest)[0]}`);
  if (typeof dtype !== 'string' || !Object.hasOwn(dtypeSizeBytes, dtype))
    throw new SafetensorsError('BAD_DTYPE', `${name}: dtype ${String(dtype).slice(0, 20)} is not read here`);
  if (!isSizes(shape) || shape.length > limits.rank)
    throw new SafetensorsError('BAD_SHAPE', `${name}: shape must be at most ${limits.rank} sizes`);
  if (!isSizes(offsets) || offsets.length !== 2 || offsets[0]! > offsets[1]!)
    throw new SafetensorsError('BAD_OFFSETS', `${name}: data_offsets must be [begin, end] with begin <= end`);
  const sizeBytes = offsets[1]! - offsets[0]!;
  const expected = shape.reduce((product, dim) => product * dim, dtypeSizeBytes[dtype as SafetensorsDtype]);
  if (expected !== sizeBytes)
    throw new SafetensorsError(
      'BAD_SHAPE',
      `${name}: ${dtype} [${shape}] needs ${expected} bytes, offsets give ${sizeBytes}`,
    );
  return { name, dtype: dtype as SafetensorsDtype, shape, offsetBytes: offsets[0]!, sizeBytes };
}

/** Offsets must cover the data section once, without a gap: no overlap, no hidden bytes. */
function checkTiling(tensors: readonly TensorInfo[], dataSizeBytes: number): void {
  let end = 0;
  for (const tensor of tensors) {
    if (tensor.offsetBytes !== end)
      throw new SafetensorsError('NOT_CONTIGUOUS', `${tensor.name}: starts at ${tensor.offsetBytes}, expected ${end}`);
    end += tensor.sizeBytes;
    if (end > dataSizeBytes)
      throw new SafetensorsError(
        'TRUNCATED',
        `${tensor.name}: ends at ${end}, the data section has ${dataSizeBytes} bytes`,
      );
  }
  if (end !== dataSizeBytes)
    throw new SafetensorsError('NOT_CONTIGUOUS', `tensors cover ${end} of ${dataSizeBytes} bytes of data`);
}

function parseMetadata(metadata: unknown): Readonly<Record<string, string>> {
  if (!isRecord(metadata) || !Object.values(metadata).every((value) => typeof value === 'string'))
    throw new SafetensorsError('HEADER_MALFORMED', '__metadata__ must map strings to strings');
  return metadata as Record<string, string>;
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isSizes = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
