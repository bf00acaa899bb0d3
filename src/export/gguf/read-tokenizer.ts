/**
 * @file The tokenizer in a GGUF file's metadata as tokenizer.json and tokenizer_config.json again: the inverse of
 * `tokenizer.ts`, for files that travel alone. Takes what is written here: byte-level BPE cut as GPT-2 does.
 */
import { z } from 'zod';
import { ExportError } from '../errors.ts';
import { type GgufField, openGguf } from './read.ts';
import { maxTokens, type TokenizerFiles, tokenTypes } from './tokenizer.ts';

const fields = z.object({
  'tokenizer.ggml.model': z.literal('gpt2'),
  'tokenizer.ggml.pre': z.literal('gpt-2'),
  'tokenizer.ggml.tokens': z.array(z.string()).max(maxTokens),
  'tokenizer.ggml.token_type': z.array(z.int()).max(maxTokens),
  'tokenizer.ggml.merges': z.array(z.string()).max(maxTokens),
  'tokenizer.ggml.eos_token_id': z.int().min(0),
  'tokenizer.ggml.bos_token_id': z.int().min(0).optional(),
  'tokenizer.ggml.padding_token_id': z.int().min(0).optional(),
  'tokenizer.ggml.add_bos_token': z.boolean().optional(),
  'tokenizer.chat_template': z.string().optional(),
});

/** @throws ExportError UNREADABLE, BAD_TOKENIZER */
export async function readGgufTokenizer(path: string): Promise<TokenizerFiles> {
  const file = await openGguf(path);
  await file.close();
  return tokenizerFiles(path, file.metadata);
}

export function tokenizerFiles(path: string, metadata: ReadonlyMap<string, GgufField>): TokenizerFiles {
  const parsed = fields.safeParse(Object.fromEntries(metadata));
  if (!parsed.success) {
    const { path: where, message } = parsed.error.issues[0]!;
    throw new ExportError('BAD_TOKENIZER', `${path}: ${where.join('.')} is not as it is written here: ${message}`);
  }
  const { data } = parsed;
  const [tokens, types] = [data['tokenizer.ggml.tokens'], data['tokenizer.ggml.token_type']];
  const ids = [...tokens.keys()].filter((id) => types[id] !== tokenTypes.unused);
  const isSpecial = (id: number): boolean => types[id] === tokenTypes.control;
  const added = ids
    .filter((id) => isSpecial(id) || types[id] === tokenTypes.userDefined)
    .map((id) => ({ id, ...addedToken(tokens[id]!, isSpecial(id)) }));
  const vocab = Object.fromEntries(ids.map((id) => [tokens[id]!, id]));
  return {
    json: JSON.stringify(tokenizerJson(vocab, data['tokenizer.ggml.merges'], added)),
    config: JSON.stringify({
      tokenizer_class: 'PreTrainedTokenizerFast',
      added_tokens_decoder: Object.fromEntries(added.map(({ id, ...token }) => [String(id), token])),
      bos_token: nameOf('bos'),
      eos_token: nameOf('eos'),
      pad_token: nameOf('padding'),
      add_bos_token: data['tokenizer.ggml.add_bos_token'] ?? false,
      add_eos_token: false,
      clean_up_tokenization_spaces: false,
      chat_template: data['tokenizer.chat_template'],
    }),
  };

  function nameOf(role: 'bos' | 'eos' | 'padding'): string | undefined {
    const id = data[`tokenizer.ggml.${role}_token_id`];
    if (id !== undefined && tokens[id] === undefined)
      throw new ExportError('BAD_TOKENIZER', `${path}: ${role}_token_id is ${id}, of ${tokens.length} tokens`);
    return id === undefined ? undefined : tokens[id];
  }
}

const addedToken = (content: string, special: boolean) => ({
  ...{ content, single_word: false, lstrip: false, rstrip: false, normalized: false, special },
});

function tokenizerJson(vocab: object, merges: readonly string[], added: readonly object[]): object {
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    ...{ version: '1.0', truncation: null, padding: null, added_tokens: added, normalizer: null },
    ...{ pre_tokenizer: byteLevel, post_processor: null, decoder: byteLevel },
    model: {
      ...{ type: 'BPE', dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null },
      ...{ fuse_unk: false, byte_fallback: false, ignore_merges: false, vocab },
      // In the byte alphabet no token holds a space.
      merges: merges.map((pair) => pair.split(' ')),
    },
  };
}
