/** @file The README.md of an export: what the files are and how they run, then what the checkpoint says of itself. */
import { countParameters } from '../model/quasar-long/contract.ts';
import { bodyOf, licenceOf, type ModelView } from './model-view.ts';

export interface ExportCard {
  readonly tags: readonly string[];
  /** One sentence. */
  readonly what: string;
  readonly run: readonly { readonly title: string; readonly command: string }[];
  /** Paragraphs. */
  readonly notes: readonly string[];
  /** Measured numbers. */
  readonly numbers?: readonly (readonly [label: string, value: string])[];
}

export function renderExportCard(view: ModelView, { tags, what, run, notes, numbers = [] }: ExportCard): string {
  const { total, active } = countParameters(view.config);
  const rows = [
    ['Parameters', total.toLocaleString('en-US')],
    ['Active per token', active.toLocaleString('en-US')],
    ...numbers,
  ];
  return [
    '---',
    `license: ${JSON.stringify(licenceOf(view.readme) ?? 'other')}`,
    'pipeline_tag: text-generation',
    `tags: ${JSON.stringify([...tags, 'mixture-of-experts', 'accrete'])}`,
    '---',
    '',
    `# ${oneLine(view.name)}`,
    '',
    what,
    ...notes.flatMap((note) => ['', note]),
    '',
    '| | |',
    '|---|---|',
    ...rows.map(([label, value]) => `| ${label} | ${value} |`),
    '',
    '## Running it',
    ...run.flatMap(({ title, command }) => ['', `${title}:`, '', '```sh', command, '```']),
    '',
    ...(view.readme === null ? [] : ['## The checkpoint', '', bodyOf(view.readme).replace(/^#/gm, '###').trim(), '']),
  ].join('\n');
}

const oneLine = (text: string): string => text.replace(/\s+/g, ' ').trim();
