/**
 * @file GPT-2's byte-level pre-tokenizer, as Hugging Face's `ByteLevel` defines it: text is cut into words by one
 * pattern, and each word's UTF-8 bytes are written in an alphabet of 256 printable characters.
 */

/** A fresh pattern a caller: a global one keeps state. */
export const wordPattern = (): RegExp => /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** byte → character: printable Latin-1 stands for itself, the other 68 bytes are U+0100 and following in their order. */
export const byteAlphabet: readonly string[] = makeByteAlphabet();

function makeByteAlphabet(): string[] {
  const isPrintable = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(isPrintable(byte) ? byte : next++));
}

/** Bytes in the order of their characters' code points: the order of the first 256 ids. */
export const bytesInIdOrder: readonly number[] = Array.from({ length: 256 }, (_, byte) => byte).sort(
  (a, b) => byteAlphabet[a]!.codePointAt(0)! - byteAlphabet[b]!.codePointAt(0)!,
);

/** Distinct words of a body of text, and each document as indices into them. */
export class WordTable {
  readonly words: string[] = [];
  readonly #indexOf = new Map<string, number>();
  readonly #pattern = wordPattern();

  /** Cuts a document into word indices, entering words not seen before. */
  add(text: string): Uint32Array {
    const words = text.match(this.#pattern) ?? [];
    const indices = new Uint32Array(words.length);
    for (let i = 0; i < words.length; i++) {
      const word = words[i]!;
      let index = this.#indexOf.get(word);
      if (index === undefined) {
        index = this.words.length;
        this.words.push(word);
        this.#indexOf.set(word, index);
      }
      indices[i] = index;
    }
    return indices;
  }
}
