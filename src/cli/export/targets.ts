/** @file The formats of `accrete export`. A further one is a name here and an entry of the handler's table. */

export const exportTargetNames = ['gguf'] as const;
export type ExportTargetName = (typeof exportTargetNames)[number];

export interface ExportCommandOptions {
  readonly checkpoint: string;
  readonly to: ExportTargetName;
  readonly out: string;
  /** As typed, in upper case; each target has types of its own. */
  readonly type: string;
  /** Tokens; null: the model's. */
  readonly context: number | null;
  readonly name: string;
}

export interface ExportReport {
  /** What was written, for `--json`. */
  readonly fields: Readonly<Record<string, string | number>>;
  /** For a reader. */
  readonly sentence: string;
}

/** Writes the export, or throws and leaves nothing. */
export type ExportTarget = (options: ExportCommandOptions) => Promise<ExportReport>;
