/** @file Cursors of pages: where the next one begins and of which question, as text that is good in URLs and file names. */
import { fromUtf8, utf8 } from '../../util/bytes.ts';
import { JournalError } from '../errors.ts';

type Place = { readonly number: number; readonly pair: readonly [value: number | string, key: string] };

/** `scope` names the question and its order: a cursor of another one is refused. */
export function sealCursor(scope: string, place: number | readonly [number | string, string]): string {
  return toBase64Url(utf8(JSON.stringify([scope, place])));
}

/** @throws JournalError BAD_CURSOR */
export function openCursor<K extends keyof Place>(scope: string, cursor: string, kind: K): Place[K] {
  const read = parse(cursor);
  if (Array.isArray(read) && read.length === 2 && read[0] === scope && isPlace(read[1], kind))
    return read[1] as Place[K];
  throw new JournalError('BAD_CURSOR', 'expected a cursor of an earlier page of this very question');
}

function isPlace(value: unknown, kind: keyof Place): boolean {
  const isNumber = (each: unknown): boolean => typeof each === 'number' && Number.isFinite(each);
  if (kind === 'number') return isNumber(value);
  const [at, key] = Array.isArray(value) && value.length === 2 ? value : [];
  return (isNumber(at) || typeof at === 'string') && typeof key === 'string';
}

function parse(cursor: string): unknown {
  try {
    const binary = atob(cursor.replaceAll('-', '+').replaceAll('_', '/'));
    return JSON.parse(fromUtf8(Uint8Array.from(binary, (char) => char.charCodeAt(0))));
  } catch {
    return null;
  }
}

function toBase64Url(bytes: Uint8Array): string {
  const text = btoa(String.fromCharCode(...bytes));
  return text.replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
}
