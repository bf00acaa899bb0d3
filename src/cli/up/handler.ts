/** @file Does `accrete up`: exit code 0 only if the loss fell, a release was made and every miner has accepted work. */
import { basename } from 'node:path';
import type { Handler } from '../command.ts';
import { ensureCorpus } from '../corpus.ts';
import type { Io } from '../io.ts';
import { typedPath } from '../paths.ts';
import { parseUpOptions, type UpOptions } from './options.ts';
import { requireRegistered } from './registered.ts';
import { newestRelease } from './releases.ts';
import { openRunFolder, waitForPort } from './run-folder.ts';
import { formatSummary, summarize } from './summary.ts';
import { type Outcome, Supervisor } from './supervisor.ts';

export const handle: Handler = async (settings, io) => {
  const options = parseUpOptions(settings);
  const folder = await openRunFolder(options);
  try {
    await waitForPort(options.port, io.stop);
    await requireRegistered(options, settings);
    ensureCorpus(options.preset);
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
  const checkpoint = newestRelease(options.dir);
  const ggufFiles = options.preset === 'nano-gguf' ? await ggufFilesOf(checkpoint, options, io) : [];
  const summary = summarize(outcome.network, { elapsedMs: outcome.elapsedMs, checkpoint, failure: outcome.failure });
  if (options.json) {
    io.out(JSON.stringify({ timeMs: Date.now(), event: 'summary', ...summary, ggufFiles }));
  } else {
    for (const line of formatSummary(summary, nextCommands(checkpoint, ggufFiles, options, io))) io.out(line);
  }
  return summary.problems.length === 0 ? 0 : 1;
}

/** A second signal leaves them out. */
async function ggufFilesOf(checkpoint: string | null, options: UpOptions, io: Io): Promise<readonly string[]> {
  if (checkpoint === null) return [];
  const { writeGgufFiles } = await import('./gguf-files.ts');
  return await writeGgufFiles(options.dir, checkpoint, io.force);
}

function nextCommands(checkpoint: string | null, ggufFiles: readonly string[], options: UpOptions, io: Io): string[] {
  const resume = `./bin/accrete up --preset ${options.preset} --seed ${options.seed} --dir ${typedPath(options.dir, io.cwd)}     # trains on`;
  if (checkpoint === null) return [resume];
  const ollama = ggufFiles.map((file) => {
    const modelfile = typedPath(file.replace(/\.gguf$/, '.Modelfile'), io.cwd);
    return `ollama create ${basename(file, '.gguf').toLowerCase()} -f ${modelfile}`;
  });
  return [
    `./bin/accrete generate --checkpoint ${typedPath(checkpoint, io.cwd)} --prompt "The people of"`,
    ...ollama,
    resume,
  ];
}
