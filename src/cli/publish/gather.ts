/** @file The files of a publication: the checkpoint's own, a new card, `release.json` of the record, `eval.json`, exports. */
import { readdir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { EvalReport } from '../../evaluation/eval-report.ts';
import { renderPublishedCard } from '../../publish/card.ts';
import type { Publication, PublishFile } from '../../publish/port.ts';
import { type RunFacts, runFactsOf } from '../../publish/run-facts.ts';
import { describeFiles } from '../../roles/orchestrator/release-writer.ts';
import { utf8 } from '../../util/bytes.ts';
import { UsageError } from '../../util/errors.ts';
import { openRecordedRun } from '../api/recorded-run.ts';
import { systemClock } from '../environment.ts';
import { isRelease, readReport } from '../eval/keep.ts';
import { openSource } from '../export/source.ts';
import type { ExportRun } from '../export/targets.ts';
import { writeExports } from './exports.ts';
import type { PublishCommandOptions } from './options.ts';

export interface Place {
  /** Without links. */
  readonly checkpoint: string;
  /** The run's folder; null: a checkpoint by itself. */
  readonly runDir: string | null;
  /** Where it is kept what was published last. */
  readonly state: string;
  /** A folder for exports on their way. */
  readonly stage: string;
}

/** @throws UsageError where no folder is there */
export async function placeOf(checkpoint: string): Promise<Place> {
  const real = await realpath(checkpoint).catch((cause: unknown) => {
    throw new UsageError(`--checkpoint: there is nothing at ${checkpoint}; give the folder of a checkpoint`, { cause });
  });
  if (!(await stat(real)).isDirectory())
    throw new UsageError(`--checkpoint: ${checkpoint} is a file; a release is published from its folder`);
  if (!(await isRelease(real)))
    return { checkpoint: real, runDir: null, state: `${real}.publish.json`, stage: `${real}.publish` };
  const runDir = resolve(real, '..', '..');
  return {
    ...{ checkpoint: real, runDir },
    state: join(runDir, 'publish.json'),
    stage: join(runDir, 'publish', basename(real)),
  };
}

export async function gather(
  options: PublishCommandOptions,
  { checkpoint, runDir, stage }: Place,
  run: ExportRun,
): Promise<Publication> {
  const facts = runDir === null ? null : await readFacts(runDir, checkpoint);
  const tag = options.tag ?? tagOf(basename(checkpoint));
  const name = options.name ?? (facts === null ? basename(checkpoint) : `${facts.runName} release ${facts.release}`);
  const source = await openSource(checkpoint, name);
  try {
    const fileName = (facts?.runName ?? name).replace(/[^\w.-]+/g, '-');
    const exported = await writeExports(options, source, { stage, name: fileName, run });
    const evaluation = await readReport(checkpoint);
    const card = renderPublishedCard({
      ...{ view: source.view, tag, run: facts, evaluation, exports: exported.exports },
      repo: 'repo' in options.to ? options.to.repo : null,
      parents: evaluation === null || facts === null ? [] : await parentReports(checkpoint, facts),
    });
    const made: PublishFile[] = [
      { path: 'README.md', from: { bytes: utf8(card) } },
      ...(facts === null ? [] : [{ path: 'release.json', from: { bytes: utf8(releaseJson(facts)) } }]),
      ...(evaluation === null
        ? []
        : [{ path: 'eval.json', from: { bytes: utf8(`${JSON.stringify(evaluation, null, 2)}\n`) } }]),
    ];
    const files = [...(await ownFiles(checkpoint, made)), ...made, ...exported.files];
    return { tag, title: name, files: files.sort((a, b) => (a.path < b.path ? -1 : 1)) };
  } finally {
    await source.close();
  }
}

const numberOf = (checkpoint: string): number => Number(/\d+$/.exec(basename(checkpoint))![0]);

function tagOf(name: string): string {
  if (/^[A-Za-z0-9][\w.-]{0,99}$/.test(name)) return name;
  throw new UsageError(`--tag: '${name.slice(0, 100)}' is no tag; give one with --tag`);
}

async function readFacts(runDir: string, checkpoint: string): Promise<RunFacts> {
  const release = numberOf(checkpoint);
  const recorded = await openRecordedRun({ dir: runDir, clock: systemClock });
  try {
    const facts = runFactsOf(recorded.state, release);
    // Just written, its files may not be named yet; their names are the same.
    if (facts !== null) return facts.files.length > 0 ? facts : { ...facts, files: await describeFiles(checkpoint) };
    throw new UsageError(`${runDir}: the journal has no release ${release}`);
  } finally {
    await recorded.close();
  }
}

/** Plain files of the folder; what is made here takes the place of its own. */
async function ownFiles(checkpoint: string, made: readonly PublishFile[]): Promise<PublishFile[]> {
  const entries = await readdir(checkpoint, { withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && !entry.name.startsWith('.') && !made.some(({ path }) => path === entry.name))
    .map(({ name }) => ({ path: name, from: { file: join(checkpoint, name) } }));
}

/** What a reader needs to find the release in the record, and every file's Merkle root. */
function releaseJson(facts: RunFacts): string {
  const { runId, runName, release, releaseId, parentId, treeHead, treeSize, stateHash, countedTokens, files } = facts;
  const fields = { runId, runName, release, releaseId, parentId, treeHead, treeSize, stateHash, countedTokens, files };
  return `${JSON.stringify({ version: 1, ...fields }, null, 2)}\n`;
}

const maxParents = 2;

/** Evaluations of the releases before, as far as they were made and are still there. */
async function parentReports(checkpoint: string, { release }: RunFacts): Promise<readonly EvalReport[]> {
  const reports: EvalReport[] = [];
  for (let number = release - 1; number >= 0 && reports.length < maxParents; number--) {
    const report = await readReport(join(dirname(checkpoint), `release-${number}`)).catch(() => null);
    if (report !== null) reports.unshift(report);
  }
  return reports;
}
