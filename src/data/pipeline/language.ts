/** @file Adapter of `eld`: the language of a text, of 60, by its n-grams. */
import { eld } from 'eld/small';

/** What lies beyond tells no more, and costs time. */
const maxLength = 4_000;

/** ISO 639-1 code; null where it cannot be told. */
export function detectLanguage(text: string): string | null {
  const found = eld.detect(text.length > maxLength ? text.slice(0, maxLength) : text).language;
  return found === '' ? null : found;
}
