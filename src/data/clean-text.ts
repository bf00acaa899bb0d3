/**
 * @file From the files of text packages to clean documents. Pure: one function a form of package. What comes out is
 * UTF-8 text without control characters other than the line feed, without runs of blank lines, without spaces at line
 * ends; so a form feed may separate documents in a file.
 */

/** What every document goes through last. */
export function normalizeText(text: string): string {
  return text
    .replace(/\r\n?/g, '\n')
    .replace(/[\u0085\u2028\u2029]/g, '\n')
    .replace(/[\u00a0\t]/g, ' ')
    .replace(/[^\P{Cc}\n]|[\u200b\ufeff\ufffd]/gu, '')
    .replace(/ +\n/g, '\n')
    .replace(/\n{3,}/g, '\n\n')
    .trim();
}

/** Joins the lines of hard-wrapped paragraphs. */
export function unwrapParagraphs(text: string): string {
  return normalizeText(text)
    .split('\n\n')
    .map((paragraph) => paragraph.replace(/\s*\n\s*/g, ' '))
    .join('\n\n');
}

/** Runs of spaces become one; the rest stays. */
export const squeezeSpaces = (text: string): string => normalizeText(text).replace(/ {2,}/g, ' ');

/**
 * Glosses of a WordNet `data.*` file (wndb(5)): one line a meaning, `words: gloss`. A document is `linesPerDocument`
 * neighbouring meanings of one topic (lexicographer file).
 */
export function wordnetDocuments(file: string, linesPerDocument: number): string[] {
  const documents: string[] = [];
  let topic = '';
  let lines: string[] = [];
  const close = (): void => {
    if (lines.length > 0) documents.push(normalizeText(lines.join('\n')));
    lines = [];
  };
  for (const record of file.split('\n')) {
    const meaning = wordnetMeaning(record);
    if (meaning === null) continue;
    if (meaning.topic !== topic || lines.length === linesPerDocument) close();
    topic = meaning.topic;
    lines.push(meaning.line);
  }
  close();
  return documents;
}

/** `offset topic type wordCount(hex) word lexId … | gloss`; lines of the licence begin with two spaces. */
function wordnetMeaning(record: string): { topic: string; line: string } | null {
  const bar = record.indexOf(' | ');
  if (bar < 0 || record.startsWith('  ')) return null;
  const fields = record.slice(0, bar).split(' ');
  const wordCount = Number.parseInt(fields[3] ?? '', 16);
  if (!(wordCount >= 1)) return null;
  const words = Array.from({ length: wordCount }, (_, i) => (fields[4 + 2 * i] ?? '').replace(/\((a|p|ip)\)$/, ''));
  const names = words.map((word) => word.replaceAll('_', ' ')).join(', ');
  return { topic: fields[1] ?? '', line: `${names}: ${record.slice(bar + 3).trim()}` };
}

/**
 * A country profile of the World Factbook: `{section: {field: {text} | {part: {text}}}}`. Sections become headings,
 * fields lines.
 */
export function factbookDocument(json: unknown): string {
  if (!isRecord(json)) return '';
  const sections = Object.entries(json).map(([title, fields]) => {
    if (!isRecord(fields)) return '';
    const lines = Object.entries(fields).map(([name, field]) => `${name}: ${factbookField(field)}`);
    return [title, ...lines.filter((line) => !line.endsWith(': '))].join('\n');
  });
  return squeezeSpaces(sections.filter((section) => section.includes('\n')).join('\n\n'));
}

function factbookField(field: unknown): string {
  if (typeof field === 'string') return field.replaceAll(' ++ ', '; ');
  if (!isRecord(field)) return '';
  return Object.entries(field)
    .map(([name, part]) => (name === 'text' ? factbookField(part) : `${name}: ${factbookField(part)}`))
    .filter((part) => part !== '' && !part.endsWith(': '))
    .join('; ');
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * Text of a Brown Corpus file: `word/tag` tokens, a sentence a line, paragraphs apart by blank lines. Tags go, quotation
 * marks and the spacing of punctuation come back.
 */
export function brownDocument(file: string): string {
  const paragraphs = file
    .split(/\n{3,}/)
    .map((paragraph) => paragraph.trim().split(/\s+/).map(withoutTag).join(' '))
    .map(respaced)
    .filter((paragraph) => paragraph !== '');
  return squeezeSpaces(paragraphs.join('\n\n'));
}

const withoutTag = (token: string): string => {
  const slash = token.lastIndexOf('/');
  return slash > 0 ? token.slice(0, slash) : token;
};

function respaced(text: string): string {
  return text
    .replace(/`` ?/g, '"')
    .replace(/ ?''/g, '"')
    .replace(/ ([,.;:?!)\]}]+)(?= |"|$)/g, '$1')
    .replace(/([([{]) /g, '$1')
    .replace(/([;:?!.,])\1+/g, (run, mark: string) => (mark === '.' ? run : mark));
}
