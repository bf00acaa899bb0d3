/** @file The README.md of an exported checkpoint: front matter that hubs read, and the numbers of the run as tables. */

export interface ModelCard {
  readonly name: string;
  /** SPDX id in lower case, as hubs spell it. */
  readonly licence: string;
  /** One paragraph: what this checkpoint is. */
  readonly summary: string;
  /** Rows of the table of measured numbers, for example ['Held-out loss', '3.21 nats/token']. */
  readonly numbers: readonly (readonly [label: string, value: string])[];
  /** What it was trained on. */
  readonly sources: readonly { readonly name: string; readonly tokens: number; readonly licence: string }[];
  /** Paragraphs on limits of use. */
  readonly notes: readonly string[];
}

/** Markdown; text from outside cannot break a table or the front matter. */
export function renderModelCard(card: ModelCard): string {
  const numbers = card.numbers.map(([label, value]) => `| ${cell(label)} | ${cell(value)} |`);
  const sources = card.sources.map(
    ({ name, tokens, licence }) => `| ${cell(name)} | ${tokens.toLocaleString('en-US')} | ${cell(licence)} |`,
  );
  return [
    '---',
    `license: ${JSON.stringify(card.licence)}`,
    'pipeline_tag: text-generation',
    'tags: ["quasar_long", "mixture-of-experts", "linear-attention", "accrete"]',
    '---',
    '',
    `# ${line(card.name)}`,
    '',
    line(card.summary),
    '',
    ...(numbers.length > 0 ? ['## Numbers', '', '| | |', '|---|---|', ...numbers, ''] : []),
    ...(sources.length > 0
      ? ['## Training data', '', '| source | tokens | licence |', '|---|---|---|', ...sources, '']
      : []),
    '## Running it',
    '',
    '```sh',
    "accrete generate --checkpoint . --prompt 'Once upon a time'",
    '```',
    '',
    'The folder has the layout of a Hugging Face checkpoint. Its linear-attention branches are part of the',
    '`quasar_long` architecture; programs that know only the softmax backbone give other results.',
    ...card.notes.flatMap((note) => ['', line(note)]),
    '',
  ].join('\n');
}

const line = (text: string): string => text.replace(/\s+/g, ' ').trim();
const cell = (text: string): string => line(text).replaceAll('|', '\\|');
