/**
 * @file The address after `#/` names the page: static hosts need no rewriting, and a page below any path works. Addresses are
 * `#/miners/5F…?sort=reward`; parameters of a pattern are `:name`.
 */
import { computed, signal } from '@preact/signals';

const readHash = (): string => globalThis.location?.hash.replace(/^#\/?/, '') ?? '';
const hash = signal(readHash());

/** Path without the question, e.g. `miners/5F…`; empty for the overview. */
export const path = computed(() => hash.value.split('?', 1)[0]!.replace(/\/+$/, ''));
export const query = computed(() => new URLSearchParams(hash.value.split('?')[1] ?? ''));

export const hrefOf = (to: string): string => `#/${to}`;

export function startRouter(onNavigate: () => void): () => void {
  const listen = (): void => {
    const before = path.peek();
    hash.value = readHash();
    if (path.peek() !== before) onNavigate();
  };
  addEventListener('hashchange', listen);
  return () => removeEventListener('hashchange', listen);
}

/** Changes the question in place: no entry in the history for a sort or a letter of a search. */
export function replaceQuery(changes: Readonly<Record<string, string | null>>): void {
  const next = new URLSearchParams(query.peek());
  for (const [key, value] of Object.entries(changes)) {
    if (value === null || value === '') next.delete(key);
    else next.set(key, value);
  }
  const text = next.toString();
  history.replaceState(null, '', `#/${path.peek()}${text === '' ? '' : `?${text}`}`);
  hash.value = readHash();
}

/** Parameters if `actual` is of the pattern, else null. */
export function matchPath(pattern: string, actual: string): Readonly<Record<string, string>> | null {
  const wanted = pattern.split('/');
  const given = actual.split('/');
  if (wanted.length !== given.length) return null;
  const params: Record<string, string> = {};
  for (const [i, part] of wanted.entries()) {
    if (part.startsWith(':')) {
      if (given[i] === '') return null;
      params[part.slice(1)] = safeDecode(given[i]!);
    } else if (part !== given[i]) return null;
  }
  return params;
}

/** An address may be typed by hand: a lone `%` stays what it is. */
function safeDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
