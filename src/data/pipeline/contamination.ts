/**
 * @file Decontamination: a training document that shares 13 words in a row with an evaluation item is dropped (the width of
 * Brown et al., arXiv:2005.14165, appendix C). Items shorter than that have no such row: they are counted, not searched for.
 */
import { HashSet } from './hash-set.ts';
import { finished, WordCutter, type Words } from './words.ts';

export const contaminationWords = 13;

export interface EvaluationGrams {
  /** Of a `HashSet`; other threads read it. */
  readonly table: Uint32Array;
  readonly grams: number;
  readonly items: number;
  /** Of them, those with fewer words than a row has. */
  readonly shortItems: number;
}

export async function gramsOf(
  texts: AsyncIterable<string> | Iterable<string>,
  options: { readonly maxBytes: number },
): Promise<EvaluationGrams> {
  const set = new HashSet({ maxBytes: options.maxBytes, what: 'rows of 13 words of the evaluation sets' });
  const cutter = new WordCutter();
  let [items, shortItems] = [0, 0];
  for await (const text of texts) {
    items++;
    const words = cutter.cut(text);
    if (words.count < contaminationWords) shortItems++;
    eachGram(words, (low, high) => {
      set.add(low, high);
      return false;
    });
  }
  return { table: set.shared(), grams: set.size, items, shortItems };
}

export const isContaminated = (words: Words, grams: HashSet): boolean =>
  eachGram(words, (low, high) => grams.has(low, high));

/** Whether `visit` said yes; it is not asked again then. */
function eachGram({ hashes, count }: Words, visit: (low: number, high: number) => boolean): boolean {
  for (let i = 0; i + contaminationWords <= count; i++) {
    let low = 0;
    let high = 0x2545f491;
    for (let k = 0; k < contaminationWords; k++) {
      const word = hashes[i + k]!;
      low = Math.imul(low ^ word, 0x01000193) + (word >>> 9);
      high = Math.imul(high, 0x85ebca6b) ^ word;
    }
    if (visit(finished(low), finished(high))) return true;
  }
  return false;
}
