/**
 * @file Keeps an evaluation with its checkpoint: `DIR.eval.json` beside the folder, and a table in its README.md. The files of
 * a run's release are named by the record, so they are left alone; `accrete publish` makes their table.
 */
import { readFile, rename, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type EvalReport, evalReportSchema } from '../../evaluation/eval-report.ts';
import { UsageError } from '../../util/errors.ts';
import { withEvaluation } from './report.ts';

const maxReportBytes = 4 << 20;

export const reportFileOf = (checkpoint: string): string => `${checkpoint}.eval.json`;

/** What was written, for the operator. */
export async function keepReport(checkpoint: string, report: EvalReport): Promise<readonly string[]> {
  const file = reportFileOf(checkpoint);
  await replace(file, `${JSON.stringify(report, null, 2)}\n`);
  const said = [`results written to ${file}`];
  if (await isRelease(checkpoint))
    return [...said, `${join(checkpoint, 'README.md')} stays as the run's record names it`];
  const readme = join(checkpoint, 'README.md');
  const text = await readFile(readme, 'utf8').catch(() => null);
  if (text === null) return said;
  await replace(readme, withEvaluation(text, report));
  return [...said, `a table was written to ${readme}`];
}

/** A folder `RUN/releases/release-N` of a run with a journal. */
export async function isRelease(checkpoint: string): Promise<boolean> {
  if (basename(dirname(checkpoint)) !== 'releases' || !/^release-\d+$/.test(basename(checkpoint))) return false;
  return (await stat(join(checkpoint, '..', '..', 'journal.jsonl')).catch(() => null)) !== null;
}

async function replace(path: string, text: string): Promise<void> {
  const next = join(dirname(path), `.${basename(path)}.${process.pid}`);
  await writeFile(next, text);
  await rename(next, path);
}

/** Null where there is none. @throws UsageError for one that cannot be read */
export async function readReport(checkpoint: string): Promise<EvalReport | null> {
  const path = reportFileOf(checkpoint);
  const info = await stat(path).catch(() => null);
  if (info === null) return null;
  try {
    if (info.size > maxReportBytes) throw new Error(`${info.size} bytes`);
    return evalReportSchema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (cause) {
    throw new UsageError(`${path} is no evaluation of this version; remove it, or run accrete eval --write again`, {
      cause,
    });
  }
}
