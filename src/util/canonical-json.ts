/**
 * @file Canonical JSON (RFC 8785) and a strict, bounded parser. One value has one text, so that hashes and signatures of
 * it agree everywhere; text that two readers could understand differently (repeated keys, lone surrogates) is refused.
 */

/**
 * The RFC 8785 text of plain JSON data. Throws TypeError for what JSON cannot hold: undefined, functions, numbers that
 * are not finite, text that is not well-formed Unicode.
 */
export function canonicalJson(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return canonicalString(value);
    case 'number':
      if (!Number.isFinite(value)) throw new TypeError(`JSON holds finite numbers only, got ${value}`);
      // RFC 8785 section 3.2.2.3 takes over ECMAScript's number format; -0 becomes 0.
      return value === 0 ? '0' : `${value}`;
    case 'boolean':
      return value ? 'true' : 'false';
    case 'object':
      if (value === null) return 'null';
      return Array.isArray(value) ? canonicalArray(value) : canonicalObject(value as Readonly<Record<string, unknown>>);
    default:
      throw new TypeError(`JSON cannot hold a value of type ${typeof value}`);
  }
}

function canonicalArray(list: readonly unknown[]): string {
  let text = '[';
  for (let i = 0; i < list.length; i++) text += i === 0 ? canonicalJson(list[i]) : `,${canonicalJson(list[i])}`;
  return `${text}]`;
}

function canonicalObject(record: Readonly<Record<string, unknown>>): string {
  let text = '{';
  // Default sort compares UTF-16 code units, as section 3.2.3 asks.
  for (const key of Object.keys(record).sort())
    text += `${text.length === 1 ? '' : ','}${keyText(key)}${canonicalJson(record[key])}`;
  return `${text}}`;
}

/** Records have few different keys: each is quoted once. */
const keyTexts = new Map<string, string>();
const keptKeys = 4_096;

function keyText(key: string): string {
  const known = keyTexts.get(key);
  if (known !== undefined) return known;
  const text = `${canonicalString(key)}:`;
  if (keyTexts.size < keptKeys && key.length <= 64) keyTexts.set(key, text);
  return text;
}

function canonicalString(text: string): string {
  if (!text.isWellFormed()) throw new TypeError('JSON text must be well-formed Unicode, got a lone surrogate');
  return JSON.stringify(text);
}

export type StrictJson =
  | { readonly ok: true; readonly value: unknown }
  | {
      readonly ok: false;
      readonly code: 'OVERSIZED' | 'MALFORMED' | 'TOO_DEEP' | 'REPEATED_KEY' | 'BAD_TEXT';
      readonly sentence: string;
    };

/** Bounds of one text: its length in UTF-16 units, and how deep arrays and objects may nest. */
export interface JsonLimits {
  readonly maxLength: number;
  readonly maxDepth: number;
}

/** Parses JSON from a stranger. Never throws. The length is checked before anything is allocated for the text. */
export function parseStrictJson(text: string, { maxLength, maxDepth }: JsonLimits): StrictJson {
  const fault = (code: Extract<StrictJson, { ok: false }>['code'], sentence: string): StrictJson => ({
    ok: false,
    code,
    sentence,
  });
  if (text.length > maxLength)
    return fault('OVERSIZED', `expected at most ${maxLength} characters of JSON, got ${text.length}`);
  const depth = measureDepth(text);
  if (depth > maxDepth) return fault('TOO_DEEP', `expected at most ${maxDepth} levels of JSON, got ${depth}`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return fault('MALFORMED', `not JSON: ${(error as Error).message.slice(0, 100)}`);
  }
  const repeated = findRepeatedKey(text);
  if (repeated !== null)
    return fault('REPEATED_KEY', `the key ${JSON.stringify(repeated.slice(0, 60))} is not allowed`);
  const bad = findBadLeaf(value);
  return bad === null ? { ok: true, value } : fault('BAD_TEXT', bad);
}

/** Index after the string that starts at `start`; the end of the text if it is not closed. */
function endOfString(text: string, start: number): number {
  for (let from = start + 1; ; ) {
    const quote = text.indexOf('"', from);
    if (quote < 0) return text.length;
    let escapes = 0;
    while (text.charCodeAt(quote - 1 - escapes) === 0x5c) escapes++;
    if (escapes % 2 === 0) return quote + 1;
    from = quote + 1;
  }
}

function measureDepth(text: string): number {
  let depth = 0;
  let deepest = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit === 0x22) i = endOfString(text, i) - 1;
    else if (unit === 0x7b || unit === 0x5b) deepest = Math.max(deepest, ++depth);
    else if (unit === 0x7d || unit === 0x5d) depth--;
  }
  return deepest;
}

/** A key that is twice in one object, or `__proto__`, which is a trap for readers in JavaScript. Text is valid JSON. */
function findRepeatedKey(text: string): string | null {
  const open: Set<string>[] = [];
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit === 0x7b) open.push(new Set());
    else if (unit === 0x7d) open.pop();
    else if (unit === 0x22) {
      const end = endOfString(text, i);
      if (isFollowedByColon(text, end)) {
        const quoted = text.slice(i, end);
        const key = quoted.includes('\\') ? (JSON.parse(quoted) as string) : quoted.slice(1, -1);
        const keys = open.at(-1)!;
        if (keys.has(key) || key === '__proto__') return key;
        keys.add(key);
      }
      i = end - 1;
    }
  }
  return null;
}

function isFollowedByColon(text: string, from: number): boolean {
  let i = from;
  while (/[ \t\n\r]/.test(text[i] ?? '')) i++;
  return text[i] === ':';
}

function findBadLeaf(value: unknown): string | null {
  if (typeof value === 'string') return !value.isWellFormed() ? 'text holds a lone surrogate' : null;
  if (typeof value === 'number') return Number.isFinite(value) ? null : 'a number is too large';
  if (typeof value !== 'object' || value === null) return null;
  for (const [key, member] of Object.entries(value)) {
    const bad = !key.isWellFormed() ? 'a key holds a lone surrogate' : findBadLeaf(member);
    if (bad !== null) return bad;
  }
  return null;
}
