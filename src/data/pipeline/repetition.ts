/** @file How much of a document repeats itself: lines, paragraphs, runs of words, as shares of its characters. */
import { finished, type Words } from './words.ts';

/** Share of the pieces, and of their characters, that are copies of an earlier piece. */
export function duplicateShares(
  text: string,
  separator: RegExp,
): { readonly count: number; readonly characters: number } {
  const pieces = text.split(separator).filter((piece) => piece.trim() !== '');
  if (pieces.length < 2) return { count: 0, characters: 0 };
  const seen = new Set<string>();
  let [copies, characters] = [0, 0];
  for (const piece of pieces) {
    if (seen.has(piece)) {
      copies++;
      characters += piece.length;
    } else seen.add(piece);
  }
  return { count: copies / pieces.length, characters: characters / Math.max(1, text.length) };
}

/** Share of the letters in the most frequent run of 2, 3 and 4 words; 0 where none occurs twice. */
export function topRunShares(words: Words): readonly number[] {
  const letters = lettersOf(words);
  return [2, 3, 4].map((width) => {
    const counts = new Map<number, number>();
    let best = 0;
    eachRun(words, width, (hash, at) => {
      const count = (counts.get(hash) ?? 0) + 1;
      counts.set(hash, count);
      if (count < 2) return;
      let length = 0;
      for (let k = at; k < at + width; k++) length += words.lengths[k]!;
      best = Math.max(best, count * length);
    });
    return best / Math.max(1, letters);
  });
}

/**
 * Whether, for some width from 5 on, the letters in runs that occur again are a greater share than the width's bound. Each
 * letter counts once, however many runs it lies in.
 */
export function characterRuns(words: Words, bounds: readonly number[], scale: number): boolean {
  const letters = lettersOf(words);
  return bounds.some((bound, i) => {
    const width = 5 + i;
    const seen = new Set<number>();
    let repeated = 0;
    let countedTo = 0;
    eachRun(words, width, (hash, at) => {
      if (!seen.has(hash)) {
        seen.add(hash);
        return;
      }
      for (let k = Math.max(at, countedTo); k < at + width; k++) repeated += words.lengths[k]!;
      countedTo = at + width;
    });
    return repeated > scale * bound * Math.max(1, letters);
  });
}

function lettersOf({ lengths, count }: Words): number {
  let letters = 0;
  for (let i = 0; i < count; i++) letters += lengths[i]!;
  return letters;
}

/** 53 bits a run: two 32-bit hashes, the second cut. */
function eachRun({ hashes, count }: Words, width: number, visit: (hash: number, at: number) => void): void {
  for (let i = 0; i + width <= count; i++) {
    let low = width;
    let high = 0x9747b28c;
    for (let k = i; k < i + width; k++) {
      low = Math.imul(low ^ hashes[k]!, 0x01000193) + (low >>> 13);
      high = Math.imul(high, 0x85ebca6b) ^ hashes[k]!;
    }
    visit(finished(low) + (finished(high) >>> 11) * 2 ** 32, i);
  }
}
