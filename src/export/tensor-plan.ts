/**
 * @file The neutral view of a checkpoint that all formats are written from: named tensors of a format, each made from
 * tensors of the model's contract, in parts of bounded size, one source in memory at a time.
 */
import type { TensorValues } from '../model/quasar-long/init.ts';
import { ExportError } from './errors.ts';

/** Reads one tensor of a checkpoint by its name; the same one twice in a row should be cheap. */
export type ReadTensor = (name: string) => Promise<TensorValues>;

export interface TensorPlan {
  readonly name: string;
  /** Slowest axis first. */
  readonly shape: readonly number[];
  /** Norms, biases and routers stay float32 where matrices take another type. */
  readonly isExact: boolean;
  /** The one tensor that this is a copy of. */
  readonly source?: string;
  /** The values in consecutive parts of whole rows, so that only a part of a large tensor is converted at a time. */
  parts(read: ReadTensor): AsyncIterable<Float32Array>;
}

/** Numbers of a part, unless one row is more: converting one takes a moment, and memory of that size. */
const partElements = 2 ** 21;

/** The tensor `source` as it is. */
export function copied(name: string, shape: readonly number[], source: string): TensorPlan {
  return {
    ...{ name, shape, isExact: shape.length === 1, source },
    async *parts(read: ReadTensor) {
      const values = floats(source, await read(source));
      const columns = shape.at(-1)!;
      const step = Math.max(1, Math.floor(partElements / columns)) * columns;
      for (let at = 0; at < values.length; at += step) yield values.subarray(at, at + step);
    },
  };
}

export interface ColumnsOf {
  /** The source, [experts, inputs, columns]. */
  readonly name: string;
  readonly columns: number;
  /** The part begins at this column. */
  readonly first: number;
}

/** For each expert the transpose of columns `first` to `first + outputs`: stored input-major here, output-major elsewhere. */
export function transposed(name: string, shape: readonly [number, number, number], source: ColumnsOf): TensorPlan {
  const [experts] = shape;
  return {
    ...{ name, shape, isExact: false },
    async *parts(read: ReadTensor) {
      for (let expert = 0; expert < experts; expert++) yield await transposedExpert(read, shape, source, expert);
    },
  };
}

/** One expert's matrix as a tensor of its own, [outputs, inputs]. */
export function oneExpert(
  name: string,
  shape: readonly [number, number],
  source: ColumnsOf,
  expert: number,
): TensorPlan {
  return {
    ...{ name, shape, isExact: false },
    async *parts(read: ReadTensor) {
      yield await transposedExpert(read, [expert + 1, ...shape], source, expert);
    },
  };
}

async function transposedExpert(
  read: ReadTensor,
  [, outputs, inputs]: readonly [number, number, number],
  source: ColumnsOf,
  expert: number,
): Promise<Float32Array> {
  const values = floats(source.name, await read(source.name));
  const base = expert * inputs * source.columns + source.first;
  const part = new Float32Array(outputs * inputs);
  for (let i = 0; i < inputs; i++)
    for (let o = 0; o < outputs; o++) part[o * inputs + i] = values[base + i * source.columns + o]!;
  return part;
}

function floats(name: string, values: TensorValues): Float32Array {
  if (!(values instanceof Float32Array))
    throw new ExportError('UNREPRESENTABLE', `${name} holds integers, which this format has no place for`);
  return values;
}
