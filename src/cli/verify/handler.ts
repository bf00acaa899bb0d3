/** @file Does `accrete verify`: a report on standard output, progress on standard error. */
import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { machineClassOf } from '../../roles/learner/machine-class.ts';
import { hashArtifact } from '../../store/node-hash.ts';
import { nodeSha256 } from '../../util/node-sha256.ts';
import type { CheckLine, Divergence, Report } from '../../verify/findings.ts';
import { openMergeThread } from '../../verify/merge-thread.ts';
import { openRecord } from '../../verify/open-record.ts';
import type { ProgressStore } from '../../verify/progress.ts';
import { openSegmentReplay } from '../../verify/replay-segment.ts';
import { verifyRecord } from '../../verify/verify.ts';
import type { Handler } from '../command.ts';
import type { Io } from '../io.ts';
import { nativeEquation } from '../native-ed25519.ts';
import { formatCount } from '../output.ts';
import { parseVerifyOptions, type VerifyCommandOptions } from './options.ts';

const tellEveryMs = 2_000;

export const handle: Handler = async (settings, io) => {
  const options = parseVerifyOptions(settings, io.cwd);
  const record = await openRecord(options.source, io.stop);
  const textDir = join(tmpdir(), `accrete-replay-text-${randomUUID()}`);
  const segments = openSegmentReplay({
    textDir,
    ...{ threads: 1, machineClass: machineClassOf({ threads: 1 }), hash: nodeSha256, signal: io.stop },
  });
  const tell = teller(io);
  const merges = openMergeThread({ source: options.source, cacheBytes: options.cacheBytes });
  try {
    const report = await verifyRecord(record, {
      from: options.from,
      // Unforeseeable: who made the run would leave whole what is looked at.
      dataSample: options.shardBytes === null ? null : { limitBytes: options.shardBytes, seed: randomUUID() },
      replayCount: options.replayCount,
      replay: segments.replay,
      judgeOf: merges.judge,
      progress: progressOf(options.state, io.cwd),
      equation: nativeEquation,
      sha256: nodeSha256,
      artifactOf: hashArtifact,
      cacheBytes: options.cacheBytes,
      onProgress: ({ entries, merges }) => tell(() => `${formatCount(entries)} entries, ${formatCount(merges)} merges`),
      onData: ({ readBytes, ofBytes }) => tell(() => `${gib(readBytes)} of ${gib(ofBytes)} GiB of the text`),
      signal: io.stop,
    });
    if (options.json) io.out(JSON.stringify(report));
    else for (const line of formatReport(report)) io.out(line);
    return report.ok ? 0 : 1;
  } catch (error) {
    if (!io.stop.aborted) throw error;
    io.err('stopped; the same command goes on from here');
    return 1;
  } finally {
    await merges.close();
    await segments.close();
    await rm(textDir, { recursive: true, force: true });
    await record.close();
  }
};

/** A line every two seconds. */
function teller(io: Io): (line: () => string) => void {
  let toldAtMs = performance.now();
  return (line) => {
    if (performance.now() - toldAtMs < tellEveryMs) return;
    toldAtMs = performance.now();
    io.err(line());
  };
}

const gib = (bytes: number): string => (bytes / 1024 ** 3).toFixed(1);

/** One small file, replaced whole. A file that cannot be read is as good as none; one that cannot be written is a failure. */
function progressOf(state: VerifyCommandOptions['state'], cwd: string): ProgressStore | null {
  if (state.kind === 'none') return null;
  const pathOf = (run: string): string =>
    state.kind === 'file' ? state.path : join(cwd, '.accrete', `verify-${run.slice(0, 16)}.json`);
  return {
    load: (run) => readFile(pathOf(run), 'utf8').catch(() => null),
    async save(run, text) {
      const path = pathOf(run);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(`${path}.new`, text);
      await rename(`${path}.new`, path);
    },
  };
}

export function formatReport(report: Report): string[] {
  const width = Math.max(...report.checks.map(({ check }) => check.length));
  const row = ({ check, status, summary }: CheckLine): string =>
    `${check.padEnd(width)}  ${status.padEnd('not checked'.length)}  ${summary}`;
  const first = report.first === null ? [] : ['', ...formatDivergence(report.first)];
  const more = report.checks.reduce((sum, { divergences }) => sum + divergences, 0) - 1;
  return [
    `${report.record}: run ${report.run ?? '(none)'}, ${formatCount(report.entries)} entries`,
    '',
    ...report.checks.map(row),
    ...first,
    ...(more > 0 ? [`and ${formatCount(more)} more (--json lists them)`] : []),
    '',
    report.ok ? 'nothing in this record diverges' : 'this record DIVERGES from what its rules give',
  ];
}

function formatDivergence({ check, seq, event, expected, found }: Divergence): string[] {
  const at = seq === null ? event : `entry ${seq} (${event})`;
  return [`first divergence, ${check}: ${at}`, `  expected ${expected}`, `  found    ${found}`];
}
