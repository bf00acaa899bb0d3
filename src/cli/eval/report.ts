/** @file An evaluation as tables: for the terminal, and for a checkpoint's README.md. */
import type { EvalReport } from '../../evaluation/eval-report.ts';
import { formatPercent } from '../output.ts';
import { formatTable } from '../table.ts';

type Estimate = EvalReport['tasks'][string]['acc'];

const interval = ({ low, high }: Pick<Estimate, 'low' | 'high'>, show: (value: number) => string): string =>
  low === null || high === null ? 'unknown' : `${show(low)} to ${show(high)}`;

const nats = (value: number): string => value.toFixed(4);
const percent = (value: number): string => formatPercent(value);
const signed = (value: number, show: (value: number) => string): string =>
  `${value < 0 ? '-' : '+'}${show(Math.abs(value))}`;
const formatP = (p: number): string => (p < 0.0001 ? '<0.0001' : p.toFixed(4));

export function describeReport(report: EvalReport): string[] {
  const lines: string[] = [];
  const texts = Object.entries(report.texts);
  if (texts.length > 0)
    lines.push(
      ...formatTable(
        ['text', '>loss', '>95 % interval', '>perplexity', '>bits/byte', '>tokens'],
        texts.map(([name, { loss, perplexity, bitsPerByte, tokens }]) => [
          ...[name, nats(loss.value), interval(loss, nats), perplexity.value.toFixed(2)],
          ...[bitsPerByte === null ? '-' : nats(bitsPerByte.value), tokens.toLocaleString('en-US')],
        ]),
      ),
    );
  const tasks = Object.entries(report.tasks);
  if (tasks.length > 0)
    lines.push(
      ...(texts.length > 0 ? [''] : []),
      ...formatTable(
        ['task', '>shots', '>acc', '>± se', '>95 % interval', '>acc_norm', '>± se', '>guessing', '>questions'],
        tasks.map(([name, { shots, acc, accNorm, chance }]) => [
          ...[name, String(shots), percent(acc.value), percent(acc.standardError ?? Number.NaN)],
          ...[interval(acc, percent), percent(accNorm.value), percent(accNorm.standardError ?? Number.NaN)],
          ...[percent(chance), String(acc.items)],
        ]),
      ),
    );
  const cut = tasks.filter(([, { truncated }]) => truncated > 0);
  for (const [name, { truncated }] of cut)
    lines.push(`${name}: ${truncated} questions were longer than the model's context and lost their beginning`);
  return [...lines, ...describeComparison(report)];
}

function describeComparison({ checkpoint, comparison }: EvalReport): string[] {
  if (comparison === undefined) return [];
  const rows = [
    ...Object.entries(comparison.texts).map(([name, test]) => ({ name: `loss, ${name}`, test, show: nats })),
    ...Object.entries(comparison.tasks).flatMap(([name, { acc, accNorm }]) => [
      { name: `acc, ${name}`, test: acc, show: percent },
      { name: `acc_norm, ${name}`, test: accNorm, show: percent },
    ]),
  ];
  return [
    '',
    `${comparison.checkpoint} minus ${checkpoint}, on the same items:`,
    ...formatTable(
      ['measure', '>difference', '>95 % interval', '>p', 'test'],
      rows.map(({ name, test: { difference, p, test }, show }) => [
        ...[name, signed(difference.value, show), interval(difference, (value) => signed(value, show))],
        ...[formatP(p), test],
      ]),
    ),
  ];
}

const begin = '<!-- accrete eval -->';
const end = '<!-- /accrete eval -->';

/** The README with the section of this evaluation, in place of an earlier one. */
export function withEvaluation(readme: string, report: EvalReport): string {
  const section = [begin, ...evaluationSection(report), end].join('\n');
  const from = readme.indexOf(begin);
  const to = readme.indexOf(end, from);
  if (from >= 0 && to >= 0) return `${readme.slice(0, from)}${section}${readme.slice(to + end.length)}`;
  return `${readme.trimEnd()}\n\n${section}\n`;
}

function evaluationSection({ texts, tasks }: EvalReport): string[] {
  const cell = (text: string): string => text.replace(/\s+/g, ' ').replaceAll('|', '\\|');
  const rows = [
    ...Object.entries(texts).map(([name, { loss, bitsPerByte }]) => [
      `Loss, ${name}`,
      `${nats(loss.value)} nats a token${bitsPerByte === null ? '' : `, ${nats(bitsPerByte.value)} bits a byte`}`,
      interval(loss, nats),
    ]),
    ...Object.entries(tasks).map(([name, { shots, acc, accNorm, chance }]) => [
      `${name}, ${shots}-shot`,
      `acc ${percent(acc.value)}, acc_norm ${percent(accNorm.value)} (guessing ${percent(chance)}, ${acc.items} questions)`,
      interval(acc, percent),
    ]),
  ];
  return [
    '## Evaluation',
    '',
    '| | | 95 % interval |',
    '|---|---|---|',
    ...rows.map((row) => `| ${row.map(cell).join(' | ')} |`),
  ];
}
