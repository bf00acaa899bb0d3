/** @file Does `accrete up`: exit code 0 only if the loss fell, a release was made and every miner has accepted work. */
import { spawnSync } from 'node:child_process';
import { relative } from 'node:path';
import { BaseError } from '../../util/errors.ts';
import type { Handler } from '../command.ts';
import type { Io } from '../io.ts';
import { corpusDir, setupScript } from '../paths.ts';
import { parseUpOptions, type UpOptions } from './options.ts';
import { newestRelease } from './releases.ts';
import { openRunFolder, waitForPort } from './run-folder.ts';
import { formatSummary, summarize } from './summary.ts';
import { type Outcome, Supervisor } from './supervisor.ts';

export const handle: Handler = async (settings, io) => {
  const options = parseUpOptions(settings);
  const folder = await openRunFolder(options);
  try {
    await waitForPort(options.port, io.stop);
    await ensureCorpus(options.preset);
    const outcome = await new Supervisor(options, folder, io).run();
    return tell(outcome, options, io);
  } finally {
    await folder.release();
  }
};

class SetupFailed extends BaseError<'SETUP_FAILED'> {}

/** Prepares the text of the preset if that has not been done; its progress goes to standard error. */
async function ensureCorpus(preset: string): Promise<void> {
  const { loadCatalog } = await import('../../data/prepared.ts');
  try {
    loadCatalog(corpusDir, preset);
  } catch (error) {
    if (!(error instanceof BaseError) || error.code !== 'NOT_PREPARED') throw error;
    const done = spawnSync(process.execPath, [setupScript, '--preset', preset], { stdio: ['ignore', 2, 2] });
    if (done.status === 0) return;
    throw new SetupFailed(
      'SETUP_FAILED',
      'the text corpus could not be prepared, the reason is above; type: ./bin/accrete doctor',
      { cause: error },
    );
  }
}

function tell(outcome: Outcome, options: UpOptions, io: Io): number {
  if (outcome.network === null) {
    const sentence = outcome.failure ?? 'stopped before the network had started';
    if (options.json) io.out(JSON.stringify({ timeMs: Date.now(), event: 'summary', problems: [sentence] }));
    else io.err(`accrete: ${sentence}`);
    return 1;
  }
  const checkpoint = newestRelease(options.dir);
  const summary = summarize(outcome.network, { elapsedMs: outcome.elapsedMs, checkpoint, failure: outcome.failure });
  if (options.json) {
    io.out(JSON.stringify({ timeMs: Date.now(), event: 'summary', ...summary }));
  } else {
    for (const line of formatSummary(summary, nextCommands(checkpoint, options, io))) io.out(line);
  }
  return summary.problems.length === 0 ? 0 : 1;
}

function nextCommands(checkpoint: string | null, options: UpOptions, io: Io): string[] {
  const resume = `./bin/accrete up --preset ${options.preset} --seed ${options.seed} --dir ${pathFor(options.dir, io)}     # trains on`;
  if (checkpoint === null) return [resume];
  return [`./bin/accrete generate --checkpoint ${pathFor(checkpoint, io)} --prompt "The people of"`, resume];
}

/** As short as it can be typed. */
function pathFor(path: string, io: Io): string {
  const short = relative(io.cwd, path);
  const shown = short.startsWith('..') ? path : short || '.';
  return /^[\w./-]+$/.test(shown) ? shown : `'${shown.replaceAll("'", "'\\''")}'`;
}
