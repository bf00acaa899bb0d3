/** @file What an architecture of GGUF files tells the writer: which models it represents, and how. */
import type { QuasarLongConfig } from '../../model/quasar-long/config.ts';
import type { TensorValues } from '../../model/quasar-long/init.ts';
import type { GgufValue } from './container.ts';

/** Reads one tensor of a checkpoint by its name; the same one twice in a row should be cheap. */
export type ReadTensor = (name: string) => Promise<TensorValues>;

export interface GgufTensorPlan {
  readonly name: string;
  /** Slowest axis first. */
  readonly shape: readonly number[];
  /** Norms, biases and routers stay F32 in files of every type; matrices take the file's. */
  readonly isExact: boolean;
  /** The values in consecutive parts of whole rows, so that only a part of a large tensor is converted at a time. */
  parts(read: ReadTensor): AsyncIterable<Float32Array>;
}

export interface GgufArchitecture {
  /** `general.architecture`, and what its keys begin with. */
  readonly name: string;
  /** @throws ExportError UNREPRESENTABLE naming the config's field, where the file would compute something else */
  check(config: QuasarLongConfig, contextLength: number): void;
  /** Keys of the architecture, without its name and the dot. */
  metadata(config: QuasarLongConfig, contextLength: number): ReadonlyMap<string, GgufValue>;
  tensors(config: QuasarLongConfig): readonly GgufTensorPlan[];
}
