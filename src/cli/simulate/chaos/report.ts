/** @file A chaos run's report as text. */
import { formatTable } from '../../table.ts';
import { type ChaosReport, seconds } from './run.ts';

export function formatChaos(report: ChaosReport): string[] {
  const time = (ms: number | null): string => (ms === null ? '-' : seconds(ms));
  const rows = report.rows.map(({ kind, count, recovered, medianMs, worstMs }) => [
    kind,
    `${count}`,
    `${recovered}`,
    time(medianMs),
    time(worstMs),
  ]);
  const crashes = Object.entries(report.crashes).map(([name, count]) => `${name} ${count}`);
  return [
    ...formatTable(['', '>', '>', '>', '>'], [['fault', 'count', 'recovered', 'median', 'worst'], ...rows]),
    ...report.skipped.map((sentence) => `skipped: ${sentence}`),
    `seed ${report.seed}: ${report.faults} faults, ${report.merges} merges, ${report.entries} entries`,
    `longest time without a merge ${seconds(report.longestGapMs)}; while syncer, quorum and committee were there ${seconds(report.longestAbleMs)} of at most ${seconds(report.boundMs)}`,
    `processes that ended without being killed: ${crashes.join(', ') || 'none'}`,
    ...report.problems.map((problem) => `problem: ${problem}`),
    report.problems.length === 0 ? 'nothing is lost, nothing is counted twice, the record verifies' : 'the run FAILED',
  ];
}
