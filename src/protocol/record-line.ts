/**
 * @file One line of a record: JSON, form, place in the hash chain, signature, and that it is the one canonical text of its entry.
 * The same for whoever folds what it says (`accrete verify`) and whoever checks bytes alone (a page). Never throws.
 */
import { canonicalJson, parseStrictJson } from '../util/canonical-json.ts';
import type { Hash } from './names.ts';
import { maxMessageLength, type OpenCode, type OpenContext, type OpenedEntry, openEntry } from './signing.ts';

const maxLineLength = 4 * maxMessageLength;

interface Fault {
  readonly ok: false;
  /** Kind of the event as the line has it, for people; `entry` where it has none. */
  readonly event: string;
}
/** `code`: why `openEntry` refused the entry; null where its text or place is wrong. */
export type LineFault =
  | (Fault & { readonly code: OpenCode; readonly sentence: string })
  | (Fault & { readonly code: null; readonly expected: string; readonly found: string });

/** Without its line end. `context` is null for the first line, whose entry brings its own. */
export function openLine(
  text: string,
  { seq, headHash, context }: { readonly seq: number; readonly headHash: Hash; readonly context: OpenContext | null },
): ({ readonly ok: true } & OpenedEntry) | LineFault {
  const json = parseStrictJson(text, { maxLength: maxLineLength, maxDepth: 32 });
  if (!json.ok) return misplaced('entry', `entry ${seq} as JSON`, `${json.code}: ${json.sentence}`);
  const event = kindIn(json.value);
  const opened = openEntry(json.value, headHash, context);
  if (!opened.ok) return { ok: false, event, code: opened.code, sentence: opened.sentence };
  if (opened.entry.seq !== seq) return misplaced(event, `entry ${seq}`, `entry ${opened.entry.seq}`);
  if (canonicalJson(opened.entry) === text) return opened;
  return misplaced(event, 'the canonical JSON of the entry', 'another text of it');
}

const misplaced = (event: string, expected: string, found: string): LineFault => ({
  ...{ ok: false, event, code: null, expected, found },
});

function kindIn(value: unknown): string {
  const kind = (value as { message?: { kind?: unknown } } | null)?.message?.kind;
  return typeof kind === 'string' ? kind.slice(0, 32) : 'entry';
}
