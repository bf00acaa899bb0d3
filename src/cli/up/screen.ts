/** @file The live view of `accrete up`: one frame of data to lines of text. Pure: the same frame gives the same lines. */
import pc from 'picocolors';
import type { RoutersStatus } from '../../http/status.ts';
import {
  formatCount,
  formatDuration,
  formatLoss,
  formatPercent,
  formatShort,
  formatTao,
  sparkline,
} from '../output.ts';
import { formatRouters } from '../router-word.ts';
import { formatTable } from '../table.ts';
import { heldOutLosses, type NetworkView, type PhaseView, trainingLossOf, type ViewFrame } from './view.ts';

export interface ScreenOptions {
  readonly columns: number;
  readonly rows: number;
  readonly color: boolean;
}

type Colors = ReturnType<typeof pc.createColors>;

/** At most `rows - 1` lines of at most `columns` characters; what matters least is left out first. */
export function renderScreen(frame: ViewFrame, options: ScreenOptions): string[] {
  const colors = pc.createColors(options.color);
  const width = Math.max(60, options.columns);
  const { network } = frame;
  const dashboard = `dashboard ${colors.cyan(frame.url)}`;
  const top = [headline(frame, width, colors), dashboard, ...progress(frame, width, colors), ''];
  const miners = minerTable(frame, colors);
  const bottom = [footline(frame, width, colors)];
  const room = () => options.rows - 1 - top.length - miners.length - bottom.length - middle.length;
  const middle: string[] = [];
  const fragments = fragmentLines(network, width, colors);
  if (room() > fragments.length) middle.push('', ...fragments);
  const releases = releaseLines(network, colors);
  const merges = mergeLines(network);
  const forReleases = Math.min(releases.length, Math.max(1, Math.floor((room() - 1) / 2)));
  if (room() > 2) middle.push('', ...merges.slice(0, Math.max(1, room() - 1 - forReleases - 1)));
  if (room() > 1) middle.push(...releases.slice(0, Math.max(0, room() - 1)));
  return [...top, ...miners, ...middle, '', ...bottom].slice(0, options.rows - 1).map((line) => clip(line, width));
}

function headline(frame: ViewFrame, width: number, colors: Colors): string {
  const { network } = frame;
  const left = `${network.preset} · ${formatShort(network.parameters)} parameters · run ${network.runId.slice(0, 8)}`;
  const time =
    frame.elapsedMs === null
      ? 'starting'
      : `${formatDuration(frame.elapsedMs)}${frame.limitMs === null ? '' : ` of ${formatDuration(frame.limitMs)}`}`;
  const gap = ' '.repeat(Math.max(2, width - 'accrete  '.length - left.length - time.length));
  return `${colors.bold(colors.cyan('accrete'))}  ${left}${gap}${time}`;
}

function progress(frame: ViewFrame, width: number, colors: Colors): string[] {
  const { network } = frame;
  const goal = frame.limitTokens === null ? '' : ` of ${formatCount(frame.limitTokens)}`;
  const wide = width >= 100 ? 32 : 14;
  const training = sparkline(frame.trainingLosses, wide);
  const heldOut = heldOutLosses(network, 'held-out');
  const other = heldOutLosses(network, 'held-out-other').at(-1);
  return [
    `tokens    ${colors.bold(formatCount(network.tokens))}${goal} counted · ${formatCount(network.tokensPerSecond)}/s trained · ${formatCount(network.innerSteps)} inner steps · ${formatCount(network.outerSteps)} outer`,
    ...(network.phase.count === 1 ? [] : phaseLines(network.phase, colors)),
    `loss      training ${colors.bold(formatLoss(trainingLossOf(network)))} ${colors.green(training)}`,
    `          held-out ${colors.bold(formatLoss(heldOut.at(-1)))} ${colors.green(sparkline(heldOut, wide))}   another source ${formatLoss(other)}   ${colors.dim('(nats a token)')}`,
    ...(network.routers === null ? [] : [`experts   ${expertsLine(network.routers, colors)}`]),
  ];
}

function phaseLines(
  { name, index, count, countedTokens, targetTokens, sequenceLength, gates }: PhaseView,
  colors: Colors,
): string[] {
  const wide = 20;
  const share = Math.min(1, countedTokens / targetTokens);
  const bar = '━'.repeat(Math.round(share * wide)).padEnd(wide, '╌');
  const open = share < 1 || index + 1 === count ? [] : gates.filter(({ isHeld }) => !isHeld);
  const waits = open.map(({ gate, found }) => `waits     for ${gate}: ${found}`);
  const now = `phase     ${colors.bold(name)} ${index + 1} of ${count} ${colors.cyan(bar)} ${formatCount(countedTokens)} of ${formatCount(targetTokens)} · ${sequenceLength} tokens a sequence`;
  return [now, ...waits];
}

function expertsLine(routers: RoutersStatus, colors: Colors): string {
  const text = formatRouters(routers);
  return /^(even|uneven) /.test(text) ? text : colors.red(text);
}

function minerTable(frame: ViewFrame, colors: Colors): string[] {
  const restarts = new Map(frame.processes.map((process) => [process.name, process]));
  const rows = frame.network.miners.map((miner) => [
    miner.name,
    formatCount(miner.innerSteps),
    formatCount(miner.tokensPerSecond),
    formatLoss(miner.loss),
    formatCount(miner.accepted),
    miner.rejected > 0 ? colors.red(formatCount(miner.rejected)) : '0',
    formatCount(miner.open),
    formatPercent(miner.share),
    formatTao(miner.paidRao, 4),
    stateOf(miner.present, restarts.get(miner.name)),
  ]);
  const lines = formatTable(
    ['miner', '>steps', '>tokens/s', '>loss', '>accepted', '>rejected', '>open', '>share', '>paid', ''],
    rows,
  );
  return [colors.dim(lines[0]!), ...lines.slice(1)];
}

function stateOf(present: boolean, process: ViewFrame['processes'][number] | undefined): string {
  const restarts = process !== undefined && process.restarts > 0 ? `↻ ${process.restarts}` : '';
  if (process?.state === 'waiting') return 'starting';
  return present ? restarts : 'away';
}

function fragmentLines(network: NetworkView, width: number, colors: Colors): string[] {
  const perLine = Math.max(1, Math.floor((width - 10) / 6));
  const lines: string[] = [];
  for (let from = 0; from < network.fragments.length; from += perLine) {
    const part = network.fragments.slice(from, from + perLine);
    const cells = (label: string, text: (f: (typeof part)[number]) => string): string =>
      `${label.padEnd(10)}${part.map((f) => text(f).padStart(5)).join(' ')}`;
    lines.push(
      colors.dim(cells('fragment', (f) => String(f.fragment))),
      cells('version', (f) => String(f.version)),
      cells('age', (f) => (f.ageMs === null ? '-' : formatDuration(f.ageMs))),
    );
  }
  return lines;
}

function mergeLines(network: NetworkView): string[] {
  return network.merges.map(
    (merge, i) =>
      `${i === 0 ? 'merges    ' : '          '}fragment ${merge.fragment} → version ${merge.version}  ${merge.learners} ${merge.learners === 1 ? 'learner' : 'learners'}, ${formatCount(merge.tokens)} tokens`,
  );
}

function releaseLines(network: NetworkView, colors: Colors): string[] {
  if (network.releases.length === 0)
    return [`releases  ${colors.dim('none yet: every fragment must be merged first')}`];
  return network.releases.map((release, i) => {
    const losses =
      Object.keys(release.losses).length === 0
        ? 'being evaluated'
        : `held-out ${formatLoss(release.losses['held-out'])}, another source ${formatLoss(release.losses['held-out-other'])}`;
    return `${i === 0 ? 'releases  ' : '          '}${colors.dim('release')} ${release.release}  at ${formatCount(release.tokens)} tokens  ${losses}`;
  });
}

function footline(frame: ViewFrame, width: number, colors: Colors): string {
  const verdicts = frame.network.validators.map((v) => `${v.name} ${formatCount(v.verdicts)}`).join(', ');
  const line = `verdicts  ${verdicts === '' ? 'none yet' : verdicts} · ${frame.lastEvent}`;
  return colors.dim(clip(line, width));
}

/** Cuts to `width` visible characters; colour codes do not count. */
export function clip(line: string, width: number): string {
  let visible = 0;
  let out = '';
  // biome-ignore lint/suspicious/noControlCharactersInRegex: an SGR sequence begins with ESC
  for (const part of line.split(/(\u001b\[[0-9;]*m)/)) {
    if (part.startsWith('\u001b')) {
      out += part;
      continue;
    }
    const kept = [...part].slice(0, width - visible).join('');
    visible += [...kept].length;
    out += kept;
  }
  return out;
}
