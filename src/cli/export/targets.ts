/** @file The formats of `accrete export`. A further one is a name here and an entry of the handler's table. */
import type { ModelView } from '../../export/model-view.ts';
import type { ExportProgress } from '../../export/staged.ts';
import type { Params } from '../../model/quasar-long/init.ts';

export const exportTargetNames = ['hf', 'gguf', 'mlx'] as const;
export type ExportTargetName = (typeof exportTargetNames)[number];

export const layoutNames = ['quasar_long', 'bailing_moe'] as const;

export interface ExportCommandOptions {
  readonly checkpoint: string;
  readonly to: ExportTargetName;
  readonly out: string;
  /** As typed, in upper case; null: the target's default. Each target has types of its own. */
  readonly type: string | null;
  /** MLX: null leaves the matrices as they are. */
  readonly bits: 4 | 8 | null;
  readonly group: 32 | 64 | 128;
  /** Whose layout: null is the target's default. */
  readonly layout: (typeof layoutNames)[number] | null;
  readonly maxShardBytes: number;
  /** Tokens; null: the model's. */
  readonly context: number | null;
  readonly name: string;
  /** Text file that a hybrid model's backbone is measured on. */
  readonly heldOut: string | null;
  /** Nats a token that a backbone may lose. */
  readonly maxGap: number;
  readonly threads: number;
}

export interface ExportSource {
  readonly view: ModelView;
  /** The whole model in memory: for measuring. */
  load(): Promise<Params>;
}

export interface ExportRun {
  readonly signal: AbortSignal;
  onProgress(progress: ExportProgress): void;
  /** A sentence for the operator, while it runs. */
  say(sentence: string): void;
}

export interface ExportReport {
  /** What was written, for `--json`. */
  readonly fields: Readonly<Record<string, string | number>>;
  /** For a reader. */
  readonly sentence: string;
  /** What to type with it, in a folder. */
  next(cwd: string): readonly string[];
}

/** Writes the export, or throws and leaves nothing. */
export type ExportTarget = (
  options: ExportCommandOptions,
  source: ExportSource,
  run: ExportRun,
) => Promise<ExportReport>;
