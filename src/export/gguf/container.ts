/**
 * @file The GGUF container, version 3 (ggml's docs/gguf.md): header, metadata and table of tensors as bytes, all
 * little-endian. It knows no architecture and does no I/O.
 */
import { concatBytes, utf8 } from '../../util/bytes.ts';
import { assert } from '../../util/errors.ts';
import { type GgufTypeName, ggufTypes } from './tensor-types.ts';

/** A value of the metadata, under the container's own names of types. */
export type GgufValue =
  | { readonly u32: number }
  | { readonly u64: number }
  | { readonly f32: number }
  | { readonly bool: boolean }
  | { readonly string: string }
  | { readonly strings: readonly string[] }
  | { readonly i32s: readonly number[] };

export type GgufMetadata = ReadonlyMap<string, GgufValue>;

export interface GgufTensorInfo {
  readonly name: string;
  /** Slowest axis first, as everywhere here; the file has them in reverse. At most four axes. */
  readonly shape: readonly number[];
  readonly type: GgufTypeName;
}

export interface GgufHeader {
  /** Everything before the data, padding included. */
  readonly bytes: Uint8Array;
  /** Of each tensor, from the end of `bytes`. */
  readonly offsets: readonly number[];
  readonly dataBytes: number;
}

/** Of the data and of each tensor; the container's default. */
export const alignmentBytes = 32;

export const typeIds = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9, u64: 10 } as const;

/** The header of a file whose tensors follow in this order, each padded to `alignmentBytes`. */
export function encodeGgufHeader(metadata: GgufMetadata, tensors: readonly GgufTensorInfo[]): GgufHeader {
  const parts = [utf8('GGUF'), u32(3), u64(tensors.length), u64(metadata.size)];
  for (const [key, value] of metadata) parts.push(string(key), encodeValue(value));
  const offsets: number[] = [];
  let dataBytes = 0;
  for (const tensor of tensors) {
    assert(tensor.shape.length >= 1 && tensor.shape.length <= 4, `${tensor.name} has ${tensor.shape.length} axes`);
    parts.push(string(tensor.name), u32(tensor.shape.length), ...tensor.shape.toReversed().map(u64));
    parts.push(u32(ggufTypes[tensor.type].id), u64(dataBytes));
    offsets.push(dataBytes);
    dataBytes = padded(dataBytes + tensorBytes(tensor));
  }
  const bytes = concatBytes(...parts);
  return { bytes: concatBytes(bytes, new Uint8Array(padded(bytes.length) - bytes.length)), offsets, dataBytes };
}

/** Without padding. */
export function tensorBytes({ name, shape, type }: GgufTensorInfo): number {
  const { blockElements, blockBytes } = ggufTypes[type];
  assert(shape.at(-1)! % blockElements === 0, `a row of ${name} is no multiple of ${blockElements}`);
  return (shape.reduce((product, size) => product * size, 1) / blockElements) * blockBytes;
}

export const padded = (bytes: number): number => Math.ceil(bytes / alignmentBytes) * alignmentBytes;

function encodeValue(value: GgufValue): Uint8Array {
  if ('u32' in value) return concatBytes(u32(typeIds.u32), u32(value.u32));
  if ('u64' in value) return concatBytes(u32(typeIds.u64), u64(value.u64));
  if ('f32' in value) return concatBytes(u32(typeIds.f32), f32(value.f32));
  if ('bool' in value) return concatBytes(u32(typeIds.bool), Uint8Array.of(Number(value.bool)));
  if ('string' in value) return concatBytes(u32(typeIds.string), string(value.string));
  const [type, items] =
    'strings' in value
      ? ([typeIds.string, value.strings.map(string)] as const)
      : ([typeIds.i32, value.i32s.map((item) => u32(item >>> 0))] as const);
  return concatBytes(u32(typeIds.array), u32(type), u64(items.length), ...items);
}

function u32(value: number): Uint8Array {
  assert(Number.isInteger(value) && value >= 0 && value < 2 ** 32, `${value} is no 32-bit number`);
  return number(4, (view) => view.setUint32(0, value, true));
}

const u64 = (value: number): Uint8Array => number(8, (view) => view.setBigUint64(0, BigInt(value), true));
const f32 = (value: number): Uint8Array => number(4, (view) => view.setFloat32(0, value, true));

function number(bytes: number, write: (view: DataView) => void): Uint8Array {
  const out = new Uint8Array(bytes);
  write(new DataView(out.buffer));
  return out;
}

function string(text: string): Uint8Array {
  const bytes = utf8(text);
  return concatBytes(u64(bytes.length), bytes);
}
