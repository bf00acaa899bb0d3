/**
 * @file Adapter of `@huggingface/tokenizers`: text ↔ token ids. Refuses files that are not a byte-level BPE of the form
 * that `tokenizer-files.ts` writes; special tokens written out in the text become their ids, as everywhere.
 */
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';
import { z } from 'zod';
import { utf8 } from '../util/bytes.ts';
import { DataError } from './errors.ts';
import { byteAlphabet, wordPattern } from './pre-tokenizer.ts';

const byteOf: ReadonlyMap<string, number> = new Map(byteAlphabet.map((letter, byte) => [letter, byte]));

/** Longest vocabulary that is read from a file. */
const MAX_VOCABULARY = 1 << 20;
/** Words whose ids are remembered; natural text has a few 10^5. */
const MAX_CACHED_WORDS = 1 << 20;

const fileSchema = z.looseObject({
  pre_tokenizer: z.looseObject({ type: z.literal('ByteLevel'), add_prefix_space: z.literal(false) }),
  normalizer: z.null(),
  added_tokens: z.array(z.looseObject({ id: z.int().min(0), content: z.string().min(1) })).max(1024),
  model: z.looseObject({
    type: z.literal('BPE'),
    vocab: z
      .record(z.string(), z.int().min(0).max(MAX_VOCABULARY))
      .refine((vocab) => Object.keys(vocab).length <= MAX_VOCABULARY, `at most ${MAX_VOCABULARY} tokens`),
    merges: z.array(z.union([z.tuple([z.string(), z.string()]), z.string()])).max(MAX_VOCABULARY),
  }),
});
const configSchema = z.looseObject({ eos_token: z.string(), bos_token: z.string().nullish() });

export class Tokenizer {
  readonly vocabSize: number;
  /** Closes a document; also the padding token. */
  readonly endOfText: number;
  readonly startOfText: number | null;
  readonly #library: HuggingFaceTokenizer;
  readonly #byteLengths: Uint16Array;
  readonly #cache = new Map<string, readonly number[]>();
  readonly #pattern = wordPattern();

  /** `json` and `config`: the texts of tokenizer.json and tokenizer_config.json. Throws BAD_TOKENIZER. */
  constructor(json: string, config: string) {
    const file = parseFile('tokenizer.json', json, fileSchema);
    const settings = parseFile('tokenizer_config.json', config, configSchema);
    this.#library = new HuggingFaceTokenizer(file, settings);
    const ids = [...Object.values(file.model.vocab), ...file.added_tokens.map((token) => token.id)];
    this.vocabSize = ids.reduce((most, id) => Math.max(most, id), 0) + 1;
    this.#byteLengths = new Uint16Array(this.vocabSize);
    // A token is written in the byte alphabet: a character a byte.
    for (const [token, id] of Object.entries(file.model.vocab)) this.#byteLengths[id] = token.length;
    for (const { id } of file.added_tokens) this.#byteLengths[id] = 0;
    const endOfText = this.#library.token_to_id(settings.eos_token);
    if (endOfText === undefined) {
      throw new DataError('BAD_TOKENIZER', `tokenizer.json has no token ${settings.eos_token} (eos_token)`);
    }
    this.endOfText = endOfText;
    this.startOfText = settings.bos_token ? (this.#library.token_to_id(settings.bos_token) ?? null) : null;
  }

  /** Ids of a text, prompt or chat. Adds nothing to it. */
  encode(text: string): number[] {
    return this.#library.encode(text, { add_special_tokens: false }).ids;
  }

  /**
   * Ids of a text that cannot hold special tokens on purpose (a corpus, a stranger's words): they are cut like any other
   * text. Much faster than `encode` on long texts: each distinct word passes through the library once.
   */
  encodePlain(text: string): number[] {
    const ids: number[] = [];
    for (const word of text.match(this.#pattern) ?? []) {
      let pieces = this.#cache.get(word);
      if (pieces === undefined) {
        pieces = this.encode(word);
        if (this.#cache.size >= MAX_CACHED_WORDS) this.#cache.clear();
        this.#cache.set(word, pieces);
      }
      for (const id of pieces) ids.push(id);
    }
    return ids;
  }

  /** Bytes of one token: perhaps a part of a character. A special token's are those of its name; null: no such token. */
  bytesOf(id: number): Uint8Array | null {
    const text = this.#library.id_to_token(id);
    if (text === undefined) return null;
    const bytes = [...text].map((letter) => byteOf.get(letter));
    return bytes.every((byte) => byte !== undefined) ? Uint8Array.from(bytes as number[]) : utf8(text);
  }

  /** Bytes of text that a token stands for; none for special tokens. */
  byteLength(id: number): number {
    return this.#byteLengths[id] ?? 0;
  }

  /** Text of ids; special tokens leave no trace unless asked for; bytes that are not UTF-8 become U+FFFD. */
  decode(ids: ArrayLike<number>, options: { readonly keepSpecial?: boolean } = {}): string {
    if (ids.length === 0) return '';
    return this.#library.decode(Array.from(ids), {
      skip_special_tokens: options.keepSpecial !== true,
      clean_up_tokenization_spaces: false,
    });
  }
}

function parseFile<T>(name: string, text: string, schema: z.ZodType<T>): T {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new DataError('BAD_TOKENIZER', `${name}: expected JSON, got ${text.slice(0, 40)}…`, { cause });
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new DataError('BAD_TOKENIZER', `${name}: ${issue?.path.join('.')}: ${issue?.message}`);
  }
  return parsed.data;
}
