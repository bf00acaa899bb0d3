/**
 * @file Writes a model as one GGUF file for llama.cpp and what is built on it. Tensors stream through memory one after the
 * other. Everything goes to a temporary name beside the target, is synced, and appears by one rename. Never overwrites.
 */
import { type FileHandle, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { QuasarLongConfig } from '../../model/quasar-long/config.ts';
import { countParameters } from '../../model/quasar-long/contract.ts';
import { assert } from '../../util/errors.ts';
import { asExportError, isPresent, syncFolder, writeAll, writeSynced } from '../durable.ts';
import { ExportError } from '../errors.ts';
import type { GgufArchitecture, GgufTensorPlan, ReadTensor } from './architecture.ts';
import { bailingMoe2 } from './bailing-moe2.ts';
import { encodeGgufHeader, type GgufTensorInfo, type GgufValue, padded, tensorBytes } from './container.ts';
import { type GgufTypeName, ggufTypes } from './tensor-types.ts';
import { type TokenizerFiles, tokenizerMetadata } from './tokenizer.ts';

export interface GgufExport {
  readonly config: QuasarLongConfig;
  /** Asked for each tensor in the file's order; of consecutive tensors some share a source. */
  readonly read: ReadTensor;
  readonly tokenizer: TokenizerFiles;
  /** Of the matrices; norms, biases and routers stay F32. */
  readonly type: GgufTypeName;
  /** What programs show as the model's name. */
  readonly name: string;
  /** Tokens of context that the file promises; max_position_embeddings by default. */
  readonly contextLength?: number;
  /** Default `bailingmoe2`. */
  readonly architecture?: GgufArchitecture;
}

export interface GgufSummary {
  readonly architecture: string;
  readonly tensorCount: number;
  readonly sizeBytes: number;
}

/**
 * Writes `file`, which must not exist; its folder must.
 * @throws ExportError, UNREPRESENTABLE or BAD_TOKENIZER before anything is written; after it no file is left
 */
export async function writeGguf(file: string, options: GgufExport): Promise<GgufSummary> {
  const target = resolve(file);
  const { config, architecture = bailingMoe2, contextLength = config.max_position_embeddings } = options;
  architecture.check(config, contextLength);
  const plans = architecture.tensors(config);
  const infos = plans.map((plan) => infoOf(plan, options.type));
  const header = encodeGgufHeader(metadataOf(options, architecture, contextLength), infos);
  if (await isPresent(target))
    throw new ExportError('TARGET_EXISTS', `${target} is there already; choose another name or remove it`);
  const temporary = join(dirname(target), `.${basename(target)}.partial-${process.pid}`);
  try {
    await writeSynced(temporary, async (handle) => {
      await writeAll(handle, header.bytes);
      for (const [i, plan] of plans.entries()) await writeTensor(handle, plan, infos[i]!, options.read);
    });
    await rename(temporary, target);
    await syncFolder(dirname(target));
  } catch (cause) {
    await rm(temporary, { force: true });
    throw asExportError(cause, target);
  }
  const sizeBytes = header.bytes.length + header.dataBytes;
  return { architecture: architecture.name, tensorCount: plans.length, sizeBytes };
}

function infoOf({ name, shape, isExact }: GgufTensorPlan, type: GgufTypeName): GgufTensorInfo {
  const stored = isExact ? 'F32' : type;
  const { blockElements } = ggufTypes[stored];
  if (shape.at(-1)! % blockElements !== 0)
    throw new ExportError(
      'UNREPRESENTABLE',
      `${name}: rows of ${shape.at(-1)} numbers are no multiple of ${blockElements}, the block of ${stored}; choose another type`,
    );
  return { name, shape, type: stored };
}

function metadataOf(
  { config, tokenizer, type, name }: GgufExport,
  architecture: GgufArchitecture,
  contextLength: number,
): ReadonlyMap<string, GgufValue> {
  const own = [...architecture.metadata(config, contextLength)];
  return new Map<string, GgufValue>([
    ['general.architecture', { string: architecture.name }],
    ['general.type', { string: 'model' }],
    ['general.name', { string: name }],
    ['general.size_label', { string: sizeLabel(countParameters(config).total) }],
    ['general.file_type', { u32: ggufTypes[type].fileType }],
    ...own.map(([key, value]) => [`${architecture.name}.${key}`, value] as const),
    ...tokenizerMetadata(tokenizer, config.vocab_size),
  ]);
}

/** As hubs show sizes: 17.8M, 16.3B. */
function sizeLabel(count: number): string {
  const [unit, letter] = count >= 1e9 ? [1e9, 'B'] : count >= 1e6 ? [1e6, 'M'] : [1e3, 'K'];
  return `${(count / Number(unit)).toFixed(1)}${letter}`;
}

async function writeTensor(
  handle: FileHandle,
  plan: GgufTensorPlan,
  info: GgufTensorInfo,
  read: ReadTensor,
): Promise<void> {
  const wanted = tensorBytes(info);
  let done = 0;
  for await (const part of plan.parts(read)) {
    const bytes = encode(info, part);
    await writeAll(handle, bytes);
    done += bytes.length;
  }
  assert(done === wanted, `${info.name}: ${done} bytes written, ${wanted} planned`);
  await writeAll(handle, new Uint8Array(padded(done) - done));
}

function encode({ name, type }: GgufTensorInfo, values: Float32Array): Uint8Array {
  try {
    return ggufTypes[type].encode(values);
  } catch (cause) {
    if (!(cause instanceof ExportError)) throw cause;
    throw new ExportError(cause.code, `${name}: ${cause.message}`, { cause });
  }
}
