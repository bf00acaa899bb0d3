/**
 * @file Reads a GGUF file: metadata, table of tensors, and one tensor's values at a time. Trusts nothing: counts, lengths,
 * dimensions and offsets are bounded by the file before memory is allocated. Knows the types that are written here.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { ExportError } from '../errors.ts';
import { alignmentBytes } from './container.ts';
import { type GgufTypeName, ggufTypeNames, ggufTypes } from './tensor-types.ts';

export type GgufField = number | bigint | boolean | string | readonly GgufField[];

export interface GgufTensor {
  readonly name: string;
  /** Slowest axis first. */
  readonly shape: readonly number[];
  readonly type: GgufTypeName;
  /** In the file. */
  readonly offsetBytes: number;
  readonly sizeBytes: number;
}

export interface OpenGguf {
  readonly metadata: ReadonlyMap<string, GgufField>;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  /** @throws ExportError UNREADABLE for a name that the file lacks, and for numbers that are not finite */
  read(name: string): Promise<Float32Array>;
  close(): Promise<void>;
}

const maxHeaderBytes = 64 * 2 ** 20;
const limits = { tensors: 100_000, keys: 10_000, nameBytes: 1024, axes: 4, depth: 2 } as const;

/** @throws ExportError UNREADABLE */
export async function openGguf(path: string): Promise<OpenGguf> {
  const handle = await open(path, 'r').catch((cause: unknown) => {
    throw new ExportError('UNREADABLE', `${path}: cannot be opened`, { cause });
  });
  try {
    const { size } = await handle.stat();
    const head = await readAt(handle, 0, Math.min(size, maxHeaderBytes), path);
    const { metadata, tensors } = parseHeader(new Cursor(head, path), size);
    return {
      ...{ metadata, tensors },
      async read(name) {
        const tensor = tensors.get(name);
        if (tensor === undefined) throw new ExportError('UNREADABLE', `${path}: there is no tensor ${name}`);
        const bytes = await readAt(handle, tensor.offsetBytes, tensor.sizeBytes, path);
        const values = ggufTypes[tensor.type].decode(bytes);
        const at = values.findIndex((value) => !Number.isFinite(value));
        if (at >= 0) throw new ExportError('UNREADABLE', `${path}: ${name}: number ${at} is ${values[at]}`);
        return values;
      },
      close: async () => await handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function readAt(handle: FileHandle, position: number, length: number, path: string): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    const { bytesRead } = await handle.read(bytes, done, Math.min(length - done, 2 ** 30), position + done);
    if (bytesRead === 0) throw new ExportError('UNREADABLE', `${path} ends at byte ${position + done}; fetch it again`);
    done += bytesRead;
  }
  return bytes;
}

function parseHeader(cursor: Cursor, fileBytes: number) {
  if (cursor.text(4) !== 'GGUF') throw cursor.fault('is no GGUF file');
  const version = cursor.u32();
  if (version !== 3) throw cursor.fault(`has version ${version}; 3 is read`);
  const tensorCount = cursor.count(limits.tensors, 'tensors');
  const keyCount = cursor.count(limits.keys, 'keys');
  const metadata = new Map<string, GgufField>();
  for (let i = 0; i < keyCount; i++) {
    const key = cursor.string(limits.nameBytes);
    metadata.set(key, readField(cursor, cursor.u32(), 0));
  }
  const infos = Array.from({ length: tensorCount }, () => readInfo(cursor));
  const dataAt = Math.ceil(cursor.at / alignmentBytes) * alignmentBytes;
  const tensors = new Map<string, GgufTensor>();
  for (const info of infos) {
    const tensor = { ...info, offsetBytes: dataAt + info.offsetBytes };
    if (tensor.offsetBytes % alignmentBytes !== 0 || tensor.offsetBytes + tensor.sizeBytes > fileBytes)
      throw cursor.fault(`has ${info.name} at bytes that are not there; it was cut short`);
    if (tensors.has(info.name)) throw cursor.fault(`has ${info.name} twice`);
    tensors.set(info.name, tensor);
  }
  return { metadata, tensors };
}

function readInfo(cursor: Cursor): GgufTensor {
  const name = cursor.string(limits.nameBytes);
  const axes = cursor.u32();
  if (axes < 1 || axes > limits.axes) throw cursor.fault(`${name} has ${axes} axes`);
  const shape = Array.from({ length: axes }, () => cursor.size()).reverse();
  const id = cursor.u32();
  const type = ggufTypeNames.find((known) => ggufTypes[known].id === id);
  if (type === undefined) throw cursor.fault(`${name} has type ${id}, which is not read here`);
  const { blockElements, blockBytes } = ggufTypes[type];
  const elements = shape.reduce((product, dim) => product * dim, 1);
  if (!(elements > 0 && elements < 2 ** 40) || shape.at(-1)! % blockElements !== 0)
    throw cursor.fault(`${name} has shape [${shape}] in ${type}`);
  return { name, shape, type, offsetBytes: cursor.size(), sizeBytes: (elements / blockElements) * blockBytes };
}

/** The container's numbers of types. */
function readField(cursor: Cursor, type: number, depth: number): GgufField {
  const scalars: Readonly<Record<number, () => GgufField>> = {
    0: () => cursor.view(1).getUint8(0),
    1: () => cursor.view(1).getInt8(0),
    2: () => cursor.view(2).getUint16(0, true),
    3: () => cursor.view(2).getInt16(0, true),
    4: () => cursor.u32(),
    5: () => cursor.view(4).getInt32(0, true),
    6: () => cursor.view(4).getFloat32(0, true),
    7: () => cursor.view(1).getUint8(0) !== 0,
    8: () => cursor.string(maxHeaderBytes),
    10: () => cursor.view(8).getBigUint64(0, true),
    11: () => cursor.view(8).getBigInt64(0, true),
    12: () => cursor.view(8).getFloat64(0, true),
  };
  if (type === 9 && depth < limits.depth) {
    const itemType = cursor.u32();
    const count = cursor.count(cursor.left, 'items');
    return Array.from({ length: count }, () => readField(cursor, itemType, depth + 1));
  }
  const read = scalars[type];
  if (read === undefined) throw cursor.fault(`has a value of type ${type}`);
  return read();
}

/** Reads on through the header; what lies beyond its bytes is a fault. */
class Cursor {
  at = 0;
  readonly #bytes: Uint8Array;
  readonly #path: string;

  constructor(bytes: Uint8Array, path: string) {
    this.#bytes = bytes;
    this.#path = path;
  }

  get left(): number {
    return this.#bytes.length - this.at;
  }

  view(length: number): DataView {
    if (length > this.left) throw this.fault('ends within its header; it was cut short');
    const view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset + this.at, length);
    this.at += length;
    return view;
  }

  u32(): number {
    return this.view(4).getUint32(0, true);
  }

  size(): number {
    const size = Number(this.view(8).getBigUint64(0, true));
    if (!Number.isSafeInteger(size)) throw this.fault(`has a size of ${size}`);
    return size;
  }

  count(most: number, what: string): number {
    const count = this.size();
    if (count > most) throw this.fault(`has ${count} ${what}; at most ${most} are read`);
    return count;
  }

  text(length: number): string {
    const { buffer, byteOffset } = this.view(length);
    return new TextDecoder().decode(new Uint8Array(buffer as ArrayBuffer, byteOffset, length));
  }

  string(most: number): string {
    return this.text(this.count(most, 'bytes in a text'));
  }

  fault(what: string): ExportError {
    return new ExportError('UNREADABLE', `${this.#path}: ${what}`);
  }
}
