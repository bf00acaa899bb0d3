/**
 * @file MinHash with banding (Broder, "On the resemblance and containment of documents", 1997; Leskovec et al., "Mining of
 * Massive Datasets", chapter 3). Documents that share `s` of their shingles share a band with probability
 * 1 − (1 − s^rows)^bands: with 14 bands of 8 rows, as FineWeb has them (arXiv:2406.17557), 92 % at s = 0.8, 5 % at s = 0.5.
 */
import { finished, type Words } from './words.ts';

export const minhashBands = 14;
export const minhashRows = 8;
/** Words of a shingle. */
export const shingleWords = 5;

const functions = minhashBands * minhashRows;
const offsets = Uint32Array.from({ length: functions }, (_, i) => finished(2 * i + 1));
const factors = Uint32Array.from({ length: functions }, (_, i) => finished(2 * i + 2) | 1);

/** Two 32-bit words a band; null: no words. A text shorter than a shingle is one shingle. */
export function bandsOf({ hashes, count }: Words): Uint32Array | null {
  if (count === 0) return null;
  const least = new Uint32Array(functions).fill(0xffffffff);
  const width = Math.min(shingleWords, count);
  for (let i = 0; i + width <= count; i++) {
    let shingle = 0;
    for (let k = 0; k < width; k++) shingle = Math.imul(shingle ^ hashes[i + k]!, 0x9e3779b1) + (shingle >>> 15);
    shingle = finished(shingle);
    for (let f = 0; f < functions; f++) {
      let value = Math.imul(shingle ^ offsets[f]!, factors[f]!);
      value = (value ^ (value >>> 15)) >>> 0;
      if (value < least[f]!) least[f] = value;
    }
  }
  return bandsOfSignature(least);
}

function bandsOfSignature(least: Uint32Array): Uint32Array {
  const bands = new Uint32Array(2 * minhashBands);
  for (let band = 0; band < minhashBands; band++) {
    // The band's number goes in, so that one table holds all bands.
    let low = finished(band + 1);
    let high = finished(band + 101);
    for (let row = 0; row < minhashRows; row++) {
      const value = least[band * minhashRows + row]!;
      low = finished(low ^ value);
      high = (Math.imul(high, 0x01000193) + finished(value ^ 0x5bd1e995)) >>> 0;
    }
    bands[2 * band] = low;
    bands[2 * band + 1] = finished(high);
  }
  return bands;
}
