/**
 * @file Reads a checkpoint folder in Hugging Face layout (config.json, model.safetensors or its shards with an index)
 * and checks every name, shape and dtype against the parameter contract before a value is used. Also takes routed
 * experts as one tensor per expert (Ling's layout). Every number must be finite. Does file I/O; writes nothing.
 */
import { type FileHandle, open, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { elementCount } from '../tensor/contract.ts';
import {
  asFloat32,
  asInt64,
  defaultLimits,
  parseSafetensorsHeader,
  readHeaderLength,
  SafetensorsError,
  type TensorBytes,
  type TensorInfo,
} from '../tensor/safetensors.ts';
import { assert } from '../util/errors.ts';
import { ModelError } from './errors.ts';
import { expertTensors, stackExpert } from './expert-layout.ts';
import { parseConfig, type QuasarLongConfig } from './quasar-long/config.ts';
import { buildContract, type TensorSpec } from './quasar-long/contract.ts';
import { bufferValues, type Params, type TensorValues } from './quasar-long/init.ts';

export interface Checkpoint {
  readonly config: QuasarLongConfig;
  /** Every tensor of the contract, in its dtype. */
  readonly params: Params;
}

/** Where one tensor's bytes lie. */
interface Located extends TensorInfo {
  readonly file: string;
  readonly dataOffsetBytes: number;
}

const maxJsonBytes = 64 * 2 ** 20;
const maxShards = 10_000;
/** As float32 holds integers; decoding carries canonical token ids so. */
const maxTokenId = 2n ** 24n;

/** A checkpoint whose tensors are read when they are asked for. */
export interface OpenCheckpoint {
  readonly config: QuasarLongConfig;
  /** A tensor of the contract; the last one read is kept, so that asking for it again costs nothing. */
  read(name: string): Promise<TensorValues>;
  close(): Promise<void>;
}

/**
 * Checks names, and reads no tensor yet. Errors are those of `loadCheckpoint`; `read` throws those about shapes and values.
 */
export async function openCheckpoint(folder: string): Promise<OpenCheckpoint> {
  const config = parseConfig(await readJson(join(folder, 'config.json')));
  const located = await locateTensors(folder);
  const contract = new Map(buildContract(config).map((spec) => [spec.name, spec]));
  checkNames([...contract.values()], located, config);
  const handles = new Map<string, FileHandle>();
  const read: Read = async (name, shape) => {
    const tensor = located.get(name)!;
    if (tensor.shape.length !== shape.length || tensor.shape.some((dim, i) => dim !== shape[i]))
      throw mismatch(`${name}: expected shape [${shape}], got [${tensor.shape}] in ${tensor.file}`);
    const handle = handles.get(tensor.file) ?? (await open(tensor.file, 'r'));
    handles.set(tensor.file, handle);
    const bytes = await readBytes(handle, tensor.dataOffsetBytes + tensor.offsetBytes, tensor.sizeBytes);
    return { ...tensor, bytes };
  };
  let last: { readonly name: string; readonly values: TensorValues } | null = null;
  return {
    config,
    async read(name) {
      if (last?.name === name) return last.values;
      const spec = contract.get(name);
      assert(spec !== undefined, `${name} is not in the parameter contract`);
      last = null;
      last = { name, values: await readSpec(config, spec, located, read) };
      return last.values;
    },
    async close() {
      last = null;
      for (const handle of handles.values()) await handle.close();
      handles.clear();
    },
  };
}

/**
 * Reads the whole model into memory, floating tensors as float32.
 * @throws ModelError CHECKPOINT_UNREADABLE (absent or damaged file), CHECKPOINT_MISMATCH (names, shapes, dtypes),
 * CHECKPOINT_VALUES, BAD_CONFIG, UNSUPPORTED_VARIANT
 */
export async function loadCheckpoint(folder: string): Promise<Checkpoint> {
  const checkpoint = await openCheckpoint(folder);
  try {
    const params = new Map<string, TensorValues>();
    for (const { name } of buildContract(checkpoint.config)) params.set(name, await checkpoint.read(name));
    return { config: checkpoint.config, params };
  } finally {
    await checkpoint.close();
  }
}

type Read = (name: string, shape: readonly number[]) => Promise<TensorBytes>;

async function readSpec(
  config: QuasarLongConfig,
  spec: TensorSpec,
  located: ReadonlyMap<string, Located>,
  read: Read,
): Promise<TensorValues> {
  if (located.has(spec.name)) {
    const bytes = await read(spec.name, spec.shape);
    if (spec.dtype === 'I64') return readIntegers(config, spec, bytes);
    const values = readFloats(spec.name, bytes);
    checkDetermined(config, spec, values);
    return values;
  }
  if (spec.isRouted) return await readExperts(config, spec, read);
  return bufferValues(config, spec)!;
}

function readFloats(name: string, tensor: TensorBytes): Float32Array {
  if (!['F32', 'BF16', 'F16', 'F64'].includes(tensor.dtype))
    throw mismatch(`${name}: expected a floating dtype, got ${tensor.dtype}`);
  const values = asFloat32(tensor);
  for (let i = 0; i < values.length; i++)
    if (!Number.isFinite(values[i]!))
      throw new ModelError(
        'CHECKPOINT_VALUES',
        `${name}: number ${i} of ${values.length} is ${values[i]} as float32; the weights are damaged or from a run that diverged`,
      );
  return values;
}

/** The network computes such buffers itself, so a checkpoint that holds others is of another network (bf16 is near). */
function checkDetermined(config: QuasarLongConfig, spec: TensorSpec, values: Float32Array): void {
  bufferValues(config, spec)?.forEach((wanted, i) => {
    if (Math.abs(values[i]! - Number(wanted)) > Math.abs(Number(wanted)) / 128)
      throw new ModelError(
        'CHECKPOINT_VALUES',
        `${spec.name}: number ${i} is ${values[i]}, but config.json makes it ${wanted}`,
      );
  });
}

/** Engram's integer buffers. */
function readIntegers(config: QuasarLongConfig, { name }: TensorSpec, tensor: TensorBytes): BigInt64Array {
  if (tensor.dtype !== 'I64') throw mismatch(`${name}: expected dtype I64, got ${tensor.dtype}`);
  const values = asInt64(tensor);
  const fault = (rule: string) => new ModelError('CHECKPOINT_VALUES', `${name}: ${rule}`);
  if (name.endsWith('.ngram_orders_buf') && values.join() !== config.engram_ngram_orders.join())
    throw fault(`holds [${values}], but engram_ngram_orders is [${config.engram_ngram_orders}]`);
  if (name.endsWith('.token_map'))
    for (const id of values) if (id < 0n || id >= maxTokenId) throw fault(`${id} is no token id below ${maxTokenId}`);
  return values;
}

async function readExperts(config: QuasarLongConfig, spec: TensorSpec, read: Read): Promise<Float32Array> {
  const out = new Float32Array(elementCount(spec.shape));
  for (const tensor of expertTensors(config, spec.name))
    stackExpert(out, tensor, readFloats(tensor.name, await read(tensor.name, tensor.shape)));
  return out;
}

const isDetermined = ({ name, isBuffer, kind }: TensorSpec): boolean =>
  isBuffer && kind === 'constant' && !name.endsWith('.seeds');

/** Fails on the first tensor that is absent or that nobody asked for. Buffers that the config determines may be absent. */
function checkNames(
  contract: readonly TensorSpec[],
  located: ReadonlyMap<string, Located>,
  config: QuasarLongConfig,
): void {
  const wanted = new Set<string>();
  for (const spec of contract) {
    wanted.add(spec.name);
    if (located.has(spec.name) || isDetermined(spec)) continue;
    if (!spec.isRouted) throw mismatch(`${spec.name} is missing; the config asks for [${spec.shape}]`);
    for (const { name } of expertTensors(config, spec.name)) {
      if (!located.has(name)) throw mismatch(`neither ${spec.name} nor ${name} is in the checkpoint`);
      wanted.add(name);
    }
  }
  for (const [name, { file }] of located)
    if (!wanted.has(name)) throw mismatch(`${name} in ${file} is not part of the model that config.json describes`);
}

async function locateTensors(folder: string): Promise<ReadonlyMap<string, Located>> {
  const files = await listShards(folder);
  const located = new Map<string, Located>();
  for (const file of files) {
    const handle = await open(file, 'r').catch((cause: unknown) => {
      throw unreadable(`${file}: cannot be opened; is the checkpoint complete?`, cause);
    });
    try {
      const { size } = await handle.stat();
      const header = await readHeader(handle, file, size);
      for (const tensor of header.tensors) {
        if (located.has(tensor.name)) throw mismatch(`${tensor.name} is in two shards`);
        located.set(tensor.name, { ...tensor, file, dataOffsetBytes: header.dataOffsetBytes });
      }
    } finally {
      await handle.close();
    }
  }
  return located;
}

async function readHeader(handle: FileHandle, file: string, size: number) {
  try {
    const prefix = await readBytes(handle, 0, Math.min(8, size));
    const length = readHeaderLength(prefix, defaultLimits);
    return parseSafetensorsHeader(await readBytes(handle, 0, Math.min(8 + length, size)), size);
  } catch (cause) {
    if (!(cause instanceof SafetensorsError)) throw cause;
    throw unreadable(`${file}: damaged safetensors file: ${cause.message}; fetch it again`, cause);
  }
}

async function listShards(folder: string): Promise<readonly string[]> {
  const single = join(folder, 'model.safetensors');
  if (await exists(single)) return [single];
  const indexFile = join(folder, 'model.safetensors.index.json');
  if (!(await exists(indexFile)))
    throw unreadable(`${folder} holds neither model.safetensors nor model.safetensors.index.json`);
  const index = (await readJson(indexFile)) as { weight_map?: Record<string, unknown> };
  const names = new Set(Object.values(index.weight_map ?? {}));
  if (names.size === 0 || names.size > maxShards)
    throw unreadable(`${indexFile}: weight_map names ${names.size} shards`);
  return [...names].map((name) => {
    // A shard is a file of this folder: no separators, so that an index cannot point elsewhere.
    if (typeof name !== 'string' || !/^[\w.-]+\.safetensors$/.test(name))
      throw unreadable(`${indexFile}: ${JSON.stringify(name)?.slice(0, 80)} is not a shard's file name`);
    return join(folder, name);
  });
}

async function readBytes(handle: FileHandle, position: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    const { bytesRead } = await handle.read(bytes, done, Math.min(length - done, 2 ** 30), position + done);
    if (bytesRead === 0)
      throw unreadable(`the file ends at byte ${position + done}; ${length - done} more were expected`);
    done += bytesRead;
  }
  return bytes;
}

async function readJson(file: string): Promise<unknown> {
  const info = await stat(file).catch((cause: unknown) => {
    throw unreadable(`${file}: not found; is this a checkpoint folder?`, cause);
  });
  if (info.size > maxJsonBytes) throw unreadable(`${file}: ${info.size} bytes; at most ${maxJsonBytes} are read`);
  try {
    return JSON.parse(await readFile(file, 'utf8'));
  } catch (cause) {
    throw unreadable(`${file}: not JSON`, cause);
  }
}

async function exists(file: string): Promise<boolean> {
  return await stat(file).then(
    (info) => info.isFile(),
    () => false,
  );
}

const unreadable = (message: string, cause?: unknown) => new ModelError('CHECKPOINT_UNREADABLE', message, { cause });
const mismatch = (message: string) => new ModelError('CHECKPOINT_MISMATCH', message);
