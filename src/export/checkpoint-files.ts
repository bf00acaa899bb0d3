/**
 * @file The files of a checkpoint in Hugging Face layout as bytes, tensor by tensor: config.json, generation_config.json,
 * README.md, the files that are copied in, model.safetensors (or shards and their index). One checkpoint gives one byte
 * string a file, so that whoever has the tensors can check a folder. Memory holds one tensor or part at a time.
 */
import { type QuasarLongConfig, toConfigJson } from '../model/quasar-long/config.ts';
import { buildContract, countParameters, type TensorSpec } from '../model/quasar-long/contract.ts';
import type { TensorValues } from '../model/quasar-long/init.ts';
import { elementCount } from '../tensor/contract.ts';
import { f32ToBf16 } from '../tensor/half.ts';
import { dtypeSizeBytes, encodeSafetensorsHeader, tensorBytes } from '../tensor/safetensors.ts';
import { ExportError } from './errors.ts';
import { type ModelCard, renderModelCard } from './model-card.ts';
import { fillShards, shardName } from './safetensors-files.ts';

export interface CheckpointContent {
  readonly config: QuasarLongConfig;
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

/** Part of a file; `of` says what it holds: a tensor's name, `header`, or the file's own name. */
export interface FileChunk {
  readonly of: string;
  readonly bytes: Uint8Array;
}

export interface CheckpointFile {
  readonly name: string;
  chunks(): AsyncIterable<FileChunk>;
}

/** A tensor in its contract's shape: whole, or in consecutive parts. */
export type ReadSpec = (spec: TensorSpec) => TensorValues | Promise<TensorValues> | AsyncIterable<TensorValues>;

/** In the order of writing. @throws ExportError BAD_FILE */
export function checkpointFiles(content: CheckpointContent, read: ReadSpec): CheckpointFile[] {
  checkFiles(content.files);
  const tensors = buildContract(content.config).map((spec): Stored => ({ spec, dtype: storedDtype(spec, content) }));
  const shards = fillShards(tensors, bytesOf, content.maxShardBytes ?? 5e9);
  const nameOf = (shard: number): string => shardName(shard, shards.length);
  const index = shards.length > 1 ? [['model.safetensors.index.json', indexOf(shards, nameOf, content)] as const] : [];
  return [
    ...[...textsOf(content)].map(wholeFile),
    ...shards.map((tensors, i) => ({ name: nameOf(i), chunks: () => shardChunks(tensors, read) })),
    ...index.map(wholeFile),
  ];
}

const wholeFile = ([name, bytes]: readonly [string, Uint8Array]): CheckpointFile => ({
  name,
  async *chunks() {
    yield { of: name, bytes };
  },
});

function checkFiles(files: ReadonlyMap<string, Uint8Array>): void {
  for (const name of files.keys())
    if (!/^[\w][\w.-]*$/.test(name) || /^(config\.json|generation_config\.json|README\.md|model[.-].*)$/.test(name))
      throw new ExportError(
        'BAD_FILE',
        `${name.slice(0, 80)} cannot be copied in: not a plain name, or one that is written here`,
      );
}

const json = (value: unknown): Uint8Array => new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`);

function textsOf(content: CheckpointContent): ReadonlyMap<string, Uint8Array> {
  const { config, generation } = content;
  const torchDtype = (content.dtype ?? 'F32') === 'F32' ? 'float32' : 'bfloat16';
  return new Map([
    ['config.json', json({ ...toConfigJson(config), torch_dtype: torchDtype })],
    ['generation_config.json', json(generationConfig(config, generation))],
    ['README.md', new TextEncoder().encode(renderModelCard(content.card))],
    ...content.files,
  ]);
}

export function generationConfig(
  { bos_token_id, eos_token_id, pad_token_id }: QuasarLongConfig,
  { temperature, topK } = { temperature: 0.8, topK: 40 },
): object {
  return { bos_token_id, eos_token_id, pad_token_id, do_sample: true, temperature, top_k: topK };
}

function indexOf(
  shards: readonly (readonly Stored[])[],
  nameOf: (shard: number) => string,
  { config }: CheckpointContent,
): Uint8Array {
  const names = shards.flatMap((tensors, i) => tensors.map(({ spec }) => [spec.name, nameOf(i)] as const)).sort();
  const total_size = shards.flat().reduce((sum, tensor) => sum + bytesOf(tensor), 0);
  const metadata = { total_size, total_parameters: countParameters(config).total };
  return json({ metadata, weight_map: Object.fromEntries(names) });
}

/** A tensor with the dtype in which it is written. */
interface Stored {
  readonly spec: TensorSpec;
  readonly dtype: 'F32' | 'BF16' | 'I64';
}

/** Buffers keep float32: rotary frequencies and decays are multiplied by positions, selection biases differ by little. */
export function storedDtype(
  { name, dtype, isBuffer }: TensorSpec,
  content: Pick<CheckpointContent, 'dtype' | 'narrow'>,
): Stored['dtype'] {
  if (dtype === 'I64' || isBuffer) return dtype;
  return content.dtype === 'BF16' || content.narrow?.has(name) ? 'BF16' : 'F32';
}

const bytesOf = ({ spec, dtype }: Stored): number => elementCount(spec.shape) * dtypeSizeBytes[dtype];

async function* shardChunks(tensors: readonly Stored[], read: ReadSpec): AsyncGenerator<FileChunk> {
  const { header, order } = encodeSafetensorsHeader(
    tensors.map(({ spec: { name, shape }, dtype }) => ({ name, shape, dtype })),
    { format: 'pt' },
  );
  yield { of: 'header', bytes: header };
  const byName = new Map(tensors.map(({ spec }) => [spec.name, spec]));
  for (const { name, shape, dtype } of order) {
    for await (const values of partsOf(read(byName.get(name)!))) {
      const isRounded = dtype === 'BF16' && values instanceof Float32Array;
      yield { of: name, bytes: tensorBytes(isRounded ? f32ToBf16(values) : values, shape).bytes };
    }
  }
}

async function* partsOf(read: ReturnType<ReadSpec>): AsyncGenerator<TensorValues> {
  if (Symbol.asyncIterator in read) yield* read;
  else yield await read;
}
