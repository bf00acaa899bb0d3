/**
 * @file A trained vocabulary in Hugging Face's two files. Ids: `<|endoftext|>` is 0 and `<|startoftext|>` 1, then
 * 256 bytes, then the merges. End of text is the padding token too, as in the released quasar_long tokenizer.
 */
import type { BpeVocabulary } from './bpe-trainer.ts';

export const START_OF_TEXT = '<|startoftext|>';
export const END_OF_TEXT = '<|endoftext|>';
/** In the order of their ids, from 0. */
export const SPECIAL_TOKENS: readonly string[] = [END_OF_TEXT, START_OF_TEXT];

/** Role names in upper case, user as HUMAN; no terminator after a turn: upstream's chat form. */
export const CHAT_TEMPLATE =
  "{% for message in messages %}{% set role = message['role'] | upper %}" +
  "{% if role == 'USER' %}{% set role = 'HUMAN' %}{% endif %}" +
  "{{ '<role>' + role + '</role>' + message['content'] }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<role>ASSISTANT</role>' }}{% endif %}";

/** The object of `tokenizer.json`: ByteLevel alone before and after, so that other engines call it plain GPT-2. */
export function tokenizerJson(vocabulary: BpeVocabulary): object {
  const vocab: Record<string, number> = Object.create(null);
  for (const [id, token] of [...SPECIAL_TOKENS, ...vocabulary.tokens].entries()) vocab[token] = id;
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: SPECIAL_TOKENS.map((content) => ({ id: vocab[content]!, ...specialToken(content) })),
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges: vocabulary.merges,
    },
  };
}

/** The object of `tokenizer_config.json`. */
export function tokenizerConfigJson(): object {
  return {
    tokenizer_class: 'PreTrainedTokenizerFast',
    added_tokens_decoder: Object.fromEntries(SPECIAL_TOKENS.map((content, i) => [String(i), specialToken(content)])),
    bos_token: START_OF_TEXT,
    eos_token: END_OF_TEXT,
    pad_token: END_OF_TEXT,
    add_bos_token: false,
    add_eos_token: false,
    clean_up_tokenization_spaces: false,
    chat_template: CHAT_TEMPLATE,
  };
}

const specialToken = (content: string) => ({
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
});
