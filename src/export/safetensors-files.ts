/** @file Tensors as files of an export: safetensors of at most a stated size, and their index where there are several. */
import { elementCount } from '../tensor/contract.ts';
import { f32ToBf16, f32ToF16 } from '../tensor/half.ts';
import { dtypeSizeBytes, encodeSafetensorsHeader, type SafetensorsDtype } from '../tensor/safetensors.ts';
import { ExportError } from './errors.ts';
import { type ExportFile, wholeFile } from './staged.ts';
import type { ReadTensor, TensorPlan } from './tensor-plan.ts';

export interface StoredTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: SafetensorsDtype;
  bytes(): AsyncIterable<Uint8Array>;
}

export type FloatDtype = 'F32' | 'BF16' | 'F16';

export interface SafetensorsOptions {
  /** A file grows no larger, unless one tensor alone is. */
  readonly maxShardBytes: number;
  /** Who reads it: PyTorch's programs or MLX. */
  readonly format: 'pt' | 'mlx';
  readonly totalParameters: number;
}

export function safetensorsFiles(tensors: readonly StoredTensor[], options: SafetensorsOptions): ExportFile[] {
  const shards = fillShards(tensors, storedBytes, options.maxShardBytes);
  const nameOf = (shard: number): string => shardName(shard, shards.length);
  const files = shards.map((shard, i) => shardFile(nameOf(i), shard, options.format));
  if (shards.length === 1) return files;
  const total_size = tensors.reduce((sum, tensor) => sum + storedBytes(tensor), 0);
  const names = shards.flatMap((shard, i) => shard.map(({ name }) => [name, nameOf(i)] as const)).sort();
  const metadata = { total_size, total_parameters: options.totalParameters };
  const index = { metadata, weight_map: Object.fromEntries(names) };
  return [...files, jsonFile('model.safetensors.index.json', index)];
}

export const jsonFile = (name: string, value: unknown): ExportFile =>
  wholeFile(name, new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`));

export const textFile = (name: string, text: string): ExportFile => wholeFile(name, new TextEncoder().encode(text));

const storedBytes = ({ shape, dtype }: StoredTensor): number => elementCount(shape) * dtypeSizeBytes[dtype];

export function shardName(shard: number, count: number): string {
  const pad = (n: number): string => String(n).padStart(5, '0');
  return count === 1 ? 'model.safetensors' : `model-${pad(shard + 1)}-of-${pad(count)}.safetensors`;
}

/** In the given order. */
export function fillShards<T>(tensors: readonly T[], bytesOf: (tensor: T) => number, maxBytes: number): T[][] {
  const shards: T[][] = [];
  let room = 0;
  for (const tensor of tensors) {
    const size = bytesOf(tensor);
    if (shards.length === 0 || size > room) {
      shards.push([]);
      room = maxBytes;
    }
    shards.at(-1)!.push(tensor);
    room -= size;
  }
  return shards;
}

function shardFile(name: string, tensors: readonly StoredTensor[], format: 'pt' | 'mlx'): ExportFile {
  // By name the matrices of an expert would stand together, and each would have the whole stack of all experts read anew.
  const { header, order } = encodeSafetensorsHeader(tensors, { format }, 'as-given');
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  const parts = order.map(({ name, sizeBytes }) => ({ name, sizeBytes, bytes: () => byName.get(name)!.bytes() }));
  return { name, parts: [...wholeFile('header', header).parts, ...parts] };
}

/** A plan's values in `dtype`. */
export function storedAs(plan: TensorPlan, dtype: FloatDtype, read: ReadTensor): StoredTensor {
  return {
    ...{ name: plan.name, shape: plan.shape, dtype },
    async *bytes() {
      for await (const part of plan.parts(read)) yield floatBytes(plan.name, part, dtype);
    },
  };
}

export function floatBytes(name: string, values: Float32Array, dtype: FloatDtype): Uint8Array {
  if (dtype === 'F16') {
    const at = values.findIndex((value) => !(Math.abs(value) < 65520));
    if (at >= 0) throw new ExportError('UNREPRESENTABLE', `${name}: ${values[at]} is no float16; export F32 instead`);
  }
  const stored = dtype === 'F32' ? values : dtype === 'BF16' ? f32ToBf16(values) : f32ToF16(values);
  return new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
}
