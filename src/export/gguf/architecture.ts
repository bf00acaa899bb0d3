/** @file What an architecture of GGUF files tells the writer: which models it represents, and how. */
import type { QuasarLongConfig } from '../../model/quasar-long/config.ts';
import type { TensorPlan } from '../tensor-plan.ts';
import type { GgufValue } from './container.ts';

export interface GgufArchitecture {
  /** `general.architecture`, and what its keys begin with. */
  readonly name: string;
  /** Rows that are no whole blocks take a wider type instead of being refused: for readers of our own. */
  readonly takesWiderTypes?: boolean;
  /** @throws ExportError UNREPRESENTABLE naming the config's field, where the file would compute something else */
  check(config: QuasarLongConfig, contextLength: number): void;
  /** Keys of the architecture, without its name and the dot. */
  metadata(config: QuasarLongConfig, contextLength: number): ReadonlyMap<string, GgufValue>;
  tensors(config: QuasarLongConfig): readonly TensorPlan[];
}
