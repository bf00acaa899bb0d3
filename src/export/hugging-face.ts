/**
 * @file Writes a checkpoint folder in Hugging Face layout: config.json, generation_config.json, model.safetensors (or
 * shards and their index), the tokenizer's files, README.md. Everything goes to a temporary name beside the target, is
 * synced, and appears by one rename: a folder of that name is whole or absent. Never overwrites.
 */
import { type FileHandle, mkdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { type QuasarLongConfig, toConfigJson } from '../model/quasar-long/config.ts';
import { buildContract, countParameters, type TensorSpec } from '../model/quasar-long/contract.ts';
import type { Params } from '../model/quasar-long/init.ts';
import { elementCount } from '../tensor/contract.ts';
import { f32ToBf16 } from '../tensor/half.ts';
import { dtypeSizeBytes, encodeSafetensorsHeader, tensorBytes } from '../tensor/safetensors.ts';
import { asExportError, isPresent, syncFolder, writeAll, writeSynced } from './durable.ts';
import { ExportError } from './errors.ts';
import { type ModelCard, renderModelCard } from './model-card.ts';

export interface HuggingFaceExport {
  readonly config: QuasarLongConfig;
  readonly params: Params;
  /** Files that are copied in as they are: tokenizer.json, tokenizer_config.json. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly card: ModelCard;
  /** Of the parameters: F32 is exact; BF16, rounded to nearest even, halves the size. Buffers are written as they are. */
  readonly dtype?: 'F32' | 'BF16';
  /** Parameters that are written as BF16 whatever `dtype` says: a run's frozen ones may be kept so. */
  readonly narrow?: ReadonlySet<string>;
  /** A file grows no larger, unless one tensor alone is. */
  readonly maxShardBytes?: number;
  /** Defaults that other programs use for sampling. */
  readonly generation?: { readonly temperature: number; readonly topK: number };
}

/**
 * Writes `folder`, which must not exist; its parent must.
 * @throws ExportError; after it, neither the folder nor a temporary one is left
 */
export async function writeHuggingFaceFolder(folder: string, options: HuggingFaceExport): Promise<void> {
  const target = resolve(folder);
  checkParams(options);
  checkFiles(options.files);
  if (await isPresent(target))
    throw new ExportError('TARGET_EXISTS', `${target} is there already; choose another name or remove it`);
  const temporary = join(dirname(target), `.${basename(target)}.partial-${process.pid}`);
  try {
    await mkdir(temporary, { recursive: false });
    await writeFiles(temporary, options);
    await syncFolder(temporary);
    await rename(temporary, target);
    await syncFolder(dirname(target));
  } catch (cause) {
    await rm(temporary, { recursive: true, force: true });
    throw asExportError(cause, target);
  }
}

function checkParams({ config, params }: HuggingFaceExport): void {
  for (const { name, shape, dtype } of buildContract(config)) {
    const values = params.get(name);
    const isTyped = dtype === 'I64' ? values instanceof BigInt64Array : values instanceof Float32Array;
    if (values?.length !== elementCount(shape) || !isTyped)
      throw new ExportError(
        'BAD_PARAMS',
        `${name}: expected ${elementCount(shape)} numbers of ${dtype}, got ${values ? `${values.length} in ${values.constructor.name}` : 'none'}`,
      );
  }
}

function checkFiles(files: ReadonlyMap<string, Uint8Array>): void {
  for (const name of files.keys())
    if (!/^[\w][\w.-]*$/.test(name) || /^(config\.json|generation_config\.json|README\.md|model[.-].*)$/.test(name))
      throw new ExportError(
        'BAD_FILE',
        `${name.slice(0, 80)} cannot be copied in: not a plain name, or one that is written here`,
      );
}

async function writeFiles(folder: string, options: HuggingFaceExport): Promise<void> {
  const { config, generation = { temperature: 0.8, topK: 40 } } = options;
  const dtype = options.dtype ?? 'F32';
  const json = (value: unknown) => new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`);
  const torchDtype = dtype === 'F32' ? 'float32' : 'bfloat16';
  const texts = new Map<string, Uint8Array>([
    ['config.json', json({ ...toConfigJson(config), torch_dtype: torchDtype })],
    [
      'generation_config.json',
      json({
        bos_token_id: config.bos_token_id,
        eos_token_id: config.eos_token_id,
        pad_token_id: config.pad_token_id,
        do_sample: true,
        temperature: generation.temperature,
        top_k: generation.topK,
      }),
    ],
    ['README.md', new TextEncoder().encode(renderModelCard(options.card))],
    ...options.files,
  ]);
  for (const [name, bytes] of texts)
    await writeSynced(join(folder, name), async (file) => void (await writeAll(file, bytes)));

  const tensors = buildContract(config).map((spec) => ({ ...spec, dtype: storedDtype(spec, options) }));
  const shards = planShards(tensors, options.maxShardBytes ?? 5e9);
  const fileName = (shard: number) =>
    shards.length === 1 ? 'model.safetensors' : `model-${pad(shard + 1)}-of-${pad(shards.length)}.safetensors`;
  for (const [i, specs] of shards.entries())
    await writeSynced(join(folder, fileName(i)), async (file) => await writeShard(file, specs, options.params));
  if (shards.length > 1) await writeIndex(folder, shards, fileName, config);
}

/** A tensor with the dtype in which it is written. */
type Stored = Omit<TensorSpec, 'dtype'> & { readonly dtype: 'F32' | 'BF16' | 'I64' };

async function writeIndex(
  folder: string,
  shards: readonly (readonly Stored[])[],
  fileName: (shard: number) => string,
  config: QuasarLongConfig,
): Promise<void> {
  const names = shards.flatMap((specs, i) => specs.map(({ name }) => [name, fileName(i)] as const)).sort();
  const total_size = shards.flat().reduce((sum, spec) => sum + bytesOf(spec), 0);
  const metadata = { total_size, total_parameters: countParameters(config).total };
  const text = JSON.stringify({ metadata, weight_map: Object.fromEntries(names) }, null, 2);
  const bytes = new TextEncoder().encode(`${text}\n`);
  await writeSynced(join(folder, 'model.safetensors.index.json'), async (file) => void (await writeAll(file, bytes)));
}

/** Buffers keep float32: rotary frequencies and decays are multiplied by positions, selection biases differ by little. */
function storedDtype({ name, dtype, isBuffer }: TensorSpec, options: HuggingFaceExport): Stored['dtype'] {
  if (dtype === 'I64' || isBuffer) return dtype;
  return options.dtype === 'BF16' || options.narrow?.has(name) ? 'BF16' : 'F32';
}

const bytesOf = ({ shape, dtype }: Stored): number => elementCount(shape) * dtypeSizeBytes[dtype];
const pad = (index: number): string => String(index).padStart(5, '0');

/** Fills shards in the contract's order. */
function planShards(contract: readonly Stored[], maxBytes: number): Stored[][] {
  const shards: Stored[][] = [];
  let room = 0;
  for (const spec of contract) {
    const size = bytesOf(spec);
    if (shards.length === 0 || size > room) {
      shards.push([]);
      room = maxBytes;
    }
    shards.at(-1)!.push(spec);
    room -= size;
  }
  return shards;
}

async function writeShard(file: FileHandle, specs: readonly Stored[], params: Params): Promise<void> {
  const { header, order } = encodeSafetensorsHeader(
    specs.map(({ name, shape, dtype }) => ({ name, shape, dtype })),
    { format: 'pt' },
  );
  await writeAll(file, header);
  for (const { name, shape, dtype } of order) {
    const values = params.get(name)!;
    const isRounded = dtype === 'BF16' && values instanceof Float32Array;
    await writeAll(file, tensorBytes(isRounded ? f32ToBf16(values) : values, shape).bytes);
  }
}
