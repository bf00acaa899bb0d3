/**
 * @file Text to ids for whole corpora: the same ids as `Tokenizer.encodePlain`, several times faster. Words are cut by a
 * table of character classes instead of a pattern, and looked up by their code units, so that a word seen before costs no
 * string and no garbage; a new one is merged by ranks. Special tokens written out in a text are text.
 */
import { z } from 'zod';
import { DataError } from './errors.ts';
import { byteAlphabet } from './pre-tokenizer.ts';
import { WordMerger } from './word-merger.ts';

/** Where ids go: `IdBuffer` of the pipeline. */
export interface IdSink {
  length: number;
  push(id: number): void;
  reserve(count: number): Uint16Array | Uint32Array;
}

const OTHER = 0;
const LETTER = 1;
const NUMBER = 2;
const SPACE = 3;
const SURROGATE = 4;

/** Class of each code unit, as GPT-2's pattern tells them apart. */
const classOf = makeClasses();
const isLetter = /^\p{L}$/u;
const isNumber = /^\p{N}$/u;

function makeClasses(): Uint8Array {
  const [letter, number, space] = [/^\p{L}$/u, /^\p{N}$/u, /^\s$/u];
  return Uint8Array.from({ length: 65_536 }, (_, unit) => {
    if (unit >= 0xd800 && unit <= 0xdfff) return SURROGATE;
    const character = String.fromCharCode(unit);
    return letter.test(character) ? LETTER : number.test(character) ? NUMBER : space.test(character) ? SPACE : OTHER;
  });
}

/** Longer words are merged each time: they hardly ever come again. */
const longestKept = 48;
/** Places of the table; it is emptied when half of them are taken. */
const places = 1 << 19;
const mostWords = places / 2;
/** u32 a place: hash, start of its units, length << 16 | count of its ids (0: free), its only id or the start of its ids. */
const stride = 4;

const modelSchema = z.looseObject({
  added_tokens: z.array(z.looseObject({ id: z.int().min(0) })),
  model: z.looseObject({
    dropout: z.null().optional(),
    ignore_merges: z.boolean().optional(),
    vocab: z.record(z.string(), z.int().min(0)),
    merges: z.array(z.union([z.tuple([z.string(), z.string()]), z.string()])),
  }),
});

export class FastTokenizer {
  readonly vocabSize: number;
  readonly #merger: WordMerger;
  readonly #table = new Uint32Array(places * stride);
  #units = new Uint16Array(1 << 20);
  #unitCount = 0;
  #ids = new Uint32Array(1 << 18);
  #idCount = 0;
  #words = 0;

  /** `json`: the text of a tokenizer.json that `Tokenizer` has taken. @throws DataError BAD_TOKENIZER */
  constructor(json: string) {
    const parsed = modelSchema.safeParse(JSON.parse(json));
    if (!parsed.success) {
      const issue = parsed.error.issues[0]!;
      throw new DataError('BAD_TOKENIZER', `tokenizer.json: ${issue.path.join('.')}: ${issue.message}`);
    }
    const { model, added_tokens } = parsed.data;
    const ids = [...Object.values(model.vocab), ...added_tokens.map(({ id }) => id)];
    this.vocabSize = ids.reduce((most, id) => Math.max(most, id), 0) + 1;
    const missing = byteAlphabet.find((letter) => !Object.hasOwn(model.vocab, letter));
    if (missing !== undefined)
      throw new DataError('BAD_TOKENIZER', `tokenizer.json: no token for the byte that is written '${missing}'`);
    this.#merger = new WordMerger({
      vocab: model.vocab,
      merges: model.merges.map((merge) => (typeof merge === 'string' ? (merge.split(' ') as [string, string]) : merge)),
      wholeWordsFirst: model.ignore_merges === true,
    });
  }

  encodeInto(text: string, sink: IdSink): void {
    const end = text.length;
    let at = 0;
    while (at < end) at = this.#word(text, at, end, sink);
  }

  /** Adds the ids of the word that begins at `from`; gives its end. GPT-2's alternatives, in their order. */
  #word(text: string, from: number, end: number, sink: IdSink): number {
    const first = text.charCodeAt(from);
    if (first === 0x27) {
      const length = contractionAt(text, from);
      if (length > 0) return this.#emit(text, from, from + length, sink);
    }
    let at = from;
    let kind = classAt(text, at);
    if (kind === SPACE) {
      const next = from + 1 < end ? classAt(text, from + 1) : SPACE;
      if (first !== 0x20 || next === SPACE) return this.#spaces(text, from, end, sink);
      kind = next;
      at++;
    }
    // The run of one class, hashed as it is read.
    let hash = at === from ? 0 : 0x9e3779b9;
    while (at < end) {
      const unit = text.charCodeAt(at);
      const found = classOf[unit]!;
      if (found !== kind) {
        if (found !== SURROGATE || classAt(text, at) !== kind) break;
        if (unit < 0xdc00 && at + 1 < end) {
          const low = text.charCodeAt(at + 1);
          if (low >= 0xdc00 && low <= 0xdfff) {
            hash = Math.imul(hash ^ unit, 0x01000193) + 0x7f4a7c15;
            hash = Math.imul(hash ^ low, 0x01000193) + 0x7f4a7c15;
            at += 2;
            continue;
          }
        }
      }
      hash = Math.imul(hash ^ unit, 0x01000193) + 0x7f4a7c15;
      at++;
    }
    return this.#find(text, from, at, hash, sink);
  }

  /** `\s+(?!\S)|\s+`: all of a run of spaces but the one before a word, which is alone if it is no plain space. */
  #spaces(text: string, from: number, end: number, sink: IdSink): number {
    let at = from + 1;
    while (at < end && classOf[text.charCodeAt(at)] === SPACE) at++;
    return this.#emit(text, from, at < end && at - from > 1 ? at - 1 : at, sink);
  }

  #emit(text: string, from: number, to: number, sink: IdSink): number {
    const hasSpace = text.charCodeAt(from) === 0x20;
    let hash = hasSpace ? 0x9e3779b9 : 0;
    for (let i = hasSpace ? from + 1 : from; i < to; i++)
      hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193) + 0x7f4a7c15;
    return this.#find(text, from, to, hash, sink);
  }

  /** The word's ids from the table, or merged and put there; gives `to`. */
  #find(text: string, from: number, to: number, hash: number, sink: IdSink): number {
    const length = to - from;
    if (length > longestKept) {
      for (const id of this.#merger.merge(text.slice(from, to))) sink.push(id);
      return to;
    }
    const key = (hash ^ (hash >>> 15)) >>> 0;
    const table = this.#table;
    let place = key & (places - 1);
    for (;;) {
      const slot = place * stride;
      const sizes = table[slot + 2]!;
      if (sizes === 0) break;
      if (table[slot] === key && sizes >>> 16 === length && this.#isSame(text, from, length, table[slot + 1]!)) {
        const count = sizes & 0xffff;
        if (count === 1) sink.push(table[slot + 3]!);
        else this.#copy(table[slot + 3]!, count, sink);
        return to;
      }
      place = (place + 1) & (places - 1);
    }
    this.#keep(text.slice(from, to), key, sink);
    return to;
  }

  #isSame(text: string, from: number, length: number, start: number): boolean {
    const units = this.#units;
    for (let i = 0; i < length; i++) if (units[start + i] !== text.charCodeAt(from + i)) return false;
    return true;
  }

  #copy(start: number, count: number, sink: IdSink): void {
    const out = sink.reserve(count);
    for (let i = 0; i < count; i++) out[sink.length + i] = this.#ids[start + i]!;
    sink.length += count;
  }

  #keep(word: string, key: number, sink: IdSink): void {
    const ids = this.#merger.merge(word);
    for (const id of ids) sink.push(id);
    if (this.#words >= mostWords) this.#empty();
    if (this.#unitCount + word.length > this.#units.length) this.#units = doubled(this.#units, Uint16Array);
    if (this.#idCount + ids.length > this.#ids.length) this.#ids = doubled(this.#ids, Uint32Array);
    let place = key & (places - 1);
    while (this.#table[place * stride + 2] !== 0) place = (place + 1) & (places - 1);
    const slot = place * stride;
    this.#table[slot] = key;
    this.#table[slot + 1] = this.#unitCount;
    this.#table[slot + 2] = (word.length << 16) | ids.length;
    this.#table[slot + 3] = ids.length === 1 ? ids[0]! : this.#idCount;
    for (let i = 0; i < word.length; i++) this.#units[this.#unitCount++] = word.charCodeAt(i);
    if (ids.length > 1) for (const id of ids) this.#ids[this.#idCount++] = id;
    this.#words++;
  }

  #empty(): void {
    this.#table.fill(0);
    this.#unitCount = 0;
    this.#idCount = 0;
    this.#words = 0;
  }
}

/** Of the character that begins there. */
function classAt(text: string, at: number): number {
  const found = classOf[text.charCodeAt(at)]!;
  if (found !== SURROGATE) return found;
  const character = String.fromCodePoint(text.codePointAt(at)!);
  return isLetter.test(character) ? LETTER : isNumber.test(character) ? NUMBER : OTHER;
}

/** Length of 's, 't, 're, 've, 'm, 'll or 'd; 0: none. */
function contractionAt(text: string, at: number): number {
  const next = text.charCodeAt(at + 1);
  if (next === 0x73 || next === 0x74 || next === 0x6d || next === 0x64) return 2;
  const after = text.charCodeAt(at + 2);
  if ((next === 0x72 || next === 0x76) && after === 0x65) return 3;
  return next === 0x6c && after === 0x6c ? 3 : 0;
}

function doubled<T extends Uint16Array | Uint32Array>(array: T, make: new (length: number) => T): T {
  const grown = new make(2 * array.length);
  grown.set(array);
  return grown;
}
