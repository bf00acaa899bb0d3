/** @file What every format of an export is written from: a checkpoint that is read tensor by tensor, with its texts. */
import type { QuasarLongConfig } from '../model/quasar-long/config.ts';
import { ExportError } from './errors.ts';
import type { TokenizerFiles } from './gguf/tokenizer.ts';
import type { ReadTensor } from './tensor-plan.ts';

export interface ModelView {
  readonly name: string;
  readonly config: QuasarLongConfig;
  readonly read: ReadTensor;
  readonly tokenizer: TokenizerFiles;
  /** The checkpoint's README.md; null if there is none. */
  readonly readme: string | null;
  /** Changes whenever the checkpoint does. */
  readonly source: string;
}

/** The SPDX id in a README's front matter; null where it says none. */
export function licenceOf(readme: string | null): string | null {
  const front = /^---\n([\s\S]*?)\n---/.exec(readme ?? '')?.[1] ?? '';
  return /^license:\s*"?([\w.-]{1,60})"?\s*$/m.exec(front)?.[1] ?? null;
}

/** A README without its front matter. */
export const bodyOf = (readme: string): string => readme.replace(/^---\n[\s\S]*?\n---\n+/, '');

/** special_tokens_map.json and the chat template as files of their own, as hubs' tools look for them. */
export function tokenizerTexts({ json, config }: TokenizerFiles): ReadonlyMap<string, string> {
  const fields = parseObject(config);
  const special = ['bos_token', 'eos_token', 'pad_token', 'unk_token'].filter((key) => typeof fields[key] === 'string');
  const map = Object.fromEntries(special.map((key) => [key, fields[key]]));
  const template = fields.chat_template;
  return new Map([
    ['tokenizer.json', json],
    ['tokenizer_config.json', config],
    ['special_tokens_map.json', `${JSON.stringify(map, null, 2)}\n`],
    ...(typeof template === 'string' ? ([['chat_template.jinja', template]] as const) : []),
  ]);
}

function parseObject(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw new ExportError('BAD_TOKENIZER', 'tokenizer_config.json: expected a JSON object');
}
