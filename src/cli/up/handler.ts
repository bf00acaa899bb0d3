/** @file Does `accrete up`: exit code 0 only if the loss fell, a release was made and every miner has accepted work. */

import { basename } from 'node:path';
import { BaseError } from '../../util/errors.ts';
import type { Handler } from '../command.ts';
import { ensureCorpus } from '../corpus.ts';
import type { Io } from '../io.ts';
import { openTexts } from '../orchestrate/texts.ts';
import { nextCommands } from './next-commands.ts';
import { parseUpOptions, type UpOptions } from './options.ts';
import { requireRegistered } from './registered.ts';
import { newestRelease } from './releases.ts';
import { openRunFolder, waitForPort } from './run-folder.ts';
import { formatSummary, summarize } from './summary.ts';
import { type Outcome, Supervisor } from './supervisor.ts';
import { syncersOf } from './syncers.ts';

export const handle: Handler = async (settings, io) => {
  const options = parseUpOptions(settings);
  // Before a folder is bound to a run that cannot begin.
  if (options.data !== null) openTexts(options);
  const folder = await openRunFolder(options);
  try {
    for (const { port } of syncersOf(options)) await waitForPort(port, io.stop);
    await requireRegistered(options, settings);
    if (options.data === null) ensureCorpus(options.preset);
    const outcome = await new Supervisor(options, folder, io).run();
    return await tell(outcome, options, io);
  } finally {
    await folder.release();
  }
};

async function tell(outcome: Outcome, options: UpOptions, io: Io): Promise<number> {
  if (outcome.network === null) {
    const sentence = outcome.failure ?? 'stopped before the network had started';
    if (options.json) io.out(JSON.stringify({ timeMs: Date.now(), event: 'summary', problems: [sentence] }));
    else io.err(`accrete: ${sentence}`);
    return 1;
  }
  const checkpoint = newestRelease(syncersOf(options).map(({ dir }) => dir));
  const { ggufFiles, ggufFailure } = await ggufFilesOf(checkpoint, options, io);
  const failure = outcome.failure ?? ggufFailure;
  const summary = summarize(outcome.network, { elapsedMs: outcome.elapsedMs, checkpoint, failure });
  if (options.json) {
    io.out(JSON.stringify({ timeMs: Date.now(), event: 'summary', ...summary, ggufFiles }));
  } else {
    for (const line of formatSummary(
      { ...summary, ggufFiles },
      nextCommands({ checkpoint, ggufFiles }, options, io.cwd),
    ))
      io.out(line);
  }
  return summary.problems.length === 0 ? 0 : 1;
}

interface GgufResult {
  readonly ggufFiles: readonly string[];
  readonly ggufFailure: string | null;
}

/** A second signal leaves them out. The run is over whatever becomes of them: its summary is told all the same. */
async function ggufFilesOf(checkpoint: string | null, options: UpOptions, io: Io): Promise<GgufResult> {
  // Release 0 is the model before training.
  if (checkpoint === null || basename(checkpoint) === 'release-0' || options.preset !== 'nano-gguf')
    return { ggufFiles: [], ggufFailure: null };
  const { writeGgufFiles } = await import('./gguf-files.ts');
  try {
    return { ggufFiles: await writeGgufFiles(options.dir, checkpoint, io.force), ggufFailure: null };
  } catch (error) {
    if (!(error instanceof BaseError)) throw error;
    return { ggufFiles: [], ggufFailure: `no GGUF files: ${error.message}` };
  }
}
