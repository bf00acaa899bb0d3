/**
 * @file A byte-level BPE tokenizer (tokenizer.json, tokenizer_config.json) as GGUF metadata. Only the plain ByteLevel
 * pre-tokenizer is taken, which llama.cpp calls `gpt-2`: another way of cutting words has no name there, and a file that
 * cuts them otherwise would read every prompt wrongly.
 */
import { z } from 'zod';
import { ExportError } from '../errors.ts';
import type { GgufValue } from './container.ts';

export interface TokenizerFiles {
  /** Texts of tokenizer.json and tokenizer_config.json. */
  readonly json: string;
  readonly config: string;
}

export const maxTokens = 1 << 20;

const fileSchema = z.looseObject({
  normalizer: z.null().optional(),
  pre_tokenizer: z.looseObject({
    type: z.literal('ByteLevel'),
    add_prefix_space: z.literal(false),
    use_regex: z.literal(true).optional(),
  }),
  added_tokens: z
    .array(z.looseObject({ id: z.int().min(0).max(maxTokens), content: z.string().min(1), special: z.boolean() }))
    .max(1024),
  model: z.looseObject({
    type: z.literal('BPE'),
    byte_fallback: z.literal(false).optional(),
    ignore_merges: z.literal(false).optional(),
    vocab: z.record(z.string(), z.int().min(0).max(maxTokens)),
    merges: z.array(z.union([z.tuple([z.string(), z.string()]), z.string()])).max(maxTokens),
  }),
});
const configSchema = z.looseObject({
  eos_token: z.string(),
  bos_token: z.string().nullish(),
  pad_token: z.string().nullish(),
  add_bos_token: z.boolean().optional(),
  chat_template: z.string().nullish(),
});

/** llama.cpp's llama_token_type. */
export const tokenTypes = { normal: 1, control: 3, userDefined: 4, unused: 5 } as const;

/**
 * Keys `tokenizer.*`. The list of tokens has `vocabSize` entries, one for each row of the embedding: what the tokenizer
 * does not use is filled with unused tokens, as llama.cpp demands.
 * @throws ExportError BAD_TOKENIZER
 */
export function tokenizerMetadata(files: TokenizerFiles, vocabSize: number): ReadonlyMap<string, GgufValue> {
  const file = parse('tokenizer.json', files.json, fileSchema);
  const config = parse('tokenizer_config.json', files.config, configSchema);
  const { tokens, types } = listTokens(file, vocabSize);
  const idOf = (role: string, text: string): GgufValue => {
    const id = tokens.indexOf(text);
    if (id < 0) throw new ExportError('BAD_TOKENIZER', `tokenizer.json has no token ${text.slice(0, 60)} (${role})`);
    return { u32: id };
  };
  const keys = new Map<string, GgufValue>([
    ['tokenizer.ggml.model', { string: 'gpt2' }],
    ['tokenizer.ggml.pre', { string: 'gpt-2' }],
    ['tokenizer.ggml.tokens', { strings: tokens }],
    ['tokenizer.ggml.token_type', { i32s: types }],
    [
      'tokenizer.ggml.merges',
      { strings: file.model.merges.map((pair) => (typeof pair === 'string' ? pair : pair.join(' '))) },
    ],
    ['tokenizer.ggml.eos_token_id', idOf('eos_token', config.eos_token)],
    ['tokenizer.ggml.add_bos_token', { bool: config.add_bos_token ?? false }],
  ]);
  if (config.bos_token) keys.set('tokenizer.ggml.bos_token_id', idOf('bos_token', config.bos_token));
  if (config.pad_token) keys.set('tokenizer.ggml.padding_token_id', idOf('pad_token', config.pad_token));
  if (config.chat_template) keys.set('tokenizer.chat_template', { string: config.chat_template });
  return keys;
}

function listTokens(
  { model, added_tokens: added }: z.output<typeof fileSchema>,
  vocabSize: number,
): { tokens: readonly string[]; types: readonly number[] } {
  const tokens = new Array<string | undefined>(vocabSize).fill(undefined);
  const types = new Array<number>(vocabSize).fill(tokenTypes.unused);
  const put = (text: string, id: number, type: number): void => {
    if (id >= vocabSize)
      throw new ExportError('BAD_TOKENIZER', `tokenizer.json: token ${id} is beyond the model's ${vocabSize} rows`);
    if (tokens[id] !== undefined && tokens[id] !== text)
      throw new ExportError('BAD_TOKENIZER', `tokenizer.json: two tokens have the id ${id}`);
    tokens[id] = text;
    types[id] = type;
  };
  for (const [text, id] of Object.entries(model.vocab)) put(text, id, tokenTypes.normal);
  for (const { id, content, special } of added) put(content, id, special ? tokenTypes.control : tokenTypes.userDefined);
  return { tokens: tokens.map((text, id) => text ?? `<|unused_${id}|>`), types };
}

function parse<T>(name: string, text: string, schema: z.ZodType<T>): T {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new ExportError('BAD_TOKENIZER', `${name}: expected JSON`, { cause });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const where = issue?.path.join('.') || 'the file';
  throw new ExportError('BAD_TOKENIZER', `${name}: ${where} has no form that a GGUF file can say: ${issue?.message}`);
}
