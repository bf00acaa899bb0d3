/**
 * @file A document as normalised words: letters and digits in lower case, everything else a boundary; a character of a
 * script without spaces is a word by itself. What duplicates, contamination and repetition are found by.
 */

/** Code unit → its lower-case form as a part of a word; 0: a boundary. Surrogates are letters. */
const partOf = makeParts();
/** Han, kana and their extensions. */
const isAlone = (unit: number): boolean =>
  (unit >= 0x3040 && unit <= 0x30ff) || (unit >= 0x3400 && unit <= 0x9fff) || (unit >= 0xf900 && unit <= 0xfaff);

function makeParts(): Uint16Array {
  const parts = new Uint16Array(65_536);
  const isPart = /[\p{L}\p{N}\p{M}]/u;
  for (let unit = 0; unit < 65_536; unit++) {
    if (unit >= 0xd800 && unit <= 0xdfff) parts[unit] = unit;
    else {
      const character = String.fromCharCode(unit);
      if (!isPart.test(character)) continue;
      const lower = character.toLowerCase();
      parts[unit] = lower.length === 1 ? lower.charCodeAt(0) : unit;
    }
  }
  return parts;
}

export interface Words {
  /** A 32-bit hash a word, in the text's order. */
  readonly hashes: Uint32Array;
  /** Code units a word. */
  readonly lengths: Uint32Array;
  readonly count: number;
}

/** The buffers grow and are used again: what it returns is good until the next call. */
export class WordCutter {
  #hashes = new Uint32Array(1 << 14);
  #lengths = new Uint32Array(1 << 14);

  cut(text: string): Words {
    if (this.#hashes.length < text.length) {
      this.#hashes = new Uint32Array(2 * text.length);
      this.#lengths = new Uint32Array(2 * text.length);
    }
    const [hashes, lengths] = [this.#hashes, this.#lengths];
    let count = 0;
    let hash = 0;
    let length = 0;
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      const part = partOf[unit]!;
      const closes = part === 0 || (unit >= 0x3040 && isAlone(unit));
      if (closes && length > 0) {
        hashes[count] = finished(hash);
        lengths[count++] = length;
        hash = 0;
        length = 0;
      }
      if (part === 0) continue;
      hash = Math.imul(hash ^ part, 0x01000193) + 0x9e3779b9;
      length++;
      if (closes) {
        hashes[count] = finished(hash);
        lengths[count++] = 1;
        hash = 0;
        length = 0;
      }
    }
    if (length > 0) {
      hashes[count] = finished(hash);
      lengths[count++] = length;
    }
    return { hashes, lengths, count };
  }
}

/** Finaliser of MurmurHash3 (32 bits): each bit of the input moves each of the output. */
export function finished(h: number): number {
  h ^= h >>> 16;
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
