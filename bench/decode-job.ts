/** @file What both sides of the decoding benchmark agree on: the model, its GGUF file, questions and answers. */
import { trainBpe } from '../src/data/bpe-trainer.ts';
import { tokenizerConfigJson, tokenizerJson } from '../src/data/tokenizer-files.ts';
import { writeGguf } from '../src/export/gguf/write.ts';
import type { QuasarLongConfig } from '../src/model/quasar-long/config.ts';
import { initParams } from '../src/model/quasar-long/init.ts';
import { presetConfig } from '../src/model/quasar-long/presets.ts';

export interface DecodeQuestion {
  readonly prompt: readonly number[];
  /** Tokens to decode. */
  readonly count: number;
}

/** Instead: what follows each token of the prompt. */
export interface LogitsQuestion {
  readonly prompt: readonly number[];
  readonly logits: true;
}

/** For each token but the last: the likeliest next one, and the log-probability of the one that came. */
export type LogitsAnswer = readonly { readonly greedy: number; readonly next: number }[];

export interface DecodeAnswer {
  readonly ids: readonly number[];
  /** From token to token; the first holds the reading of the prompt. */
  readonly ms: readonly number[];
}

export const subjectNames = ['nano-gguf', 'nano'] as const;
export type SubjectName = (typeof subjectNames)[number];

/** Nano as it is but for the hybrid layers, which llama.cpp does not have. */
export function subjectConfig(name: SubjectName): QuasarLongConfig {
  const whole = presetConfig('nano-gguf').max_position_embeddings;
  if (name === 'nano-gguf') return presetConfig(name);
  return presetConfig(name, {
    hybrid_attention_layers: [],
    nope_after_position: whole,
    max_position_embeddings: whole,
  });
}

/** The weights that our side draws, as float32. */
export async function writeSubject(name: SubjectName, file: string): Promise<void> {
  const config = subjectConfig(name);
  const params = initParams(config, 'bench');
  // Bytes as tokens: the benchmark speaks in ids.
  const bytes = trainBpe([], [], { tokenCount: 256 });
  const tokenizer = { json: JSON.stringify(tokenizerJson(bytes)), config: JSON.stringify(tokenizerConfigJson()) };
  await writeGguf(file, { config, read: async (tensor) => params.get(tensor)!, tokenizer, type: 'F32', name });
}
