/** @file What `accrete up` says at its end, and whether the run was good: the exit code rests on it. */
import { formatCount, formatDuration, formatLoss, formatPercent, formatTao } from '../output.ts';
import { formatTable } from '../table.ts';
import { heldOutLosses, type NetworkView } from './view.ts';

export interface Losses {
  readonly before: number | null;
  readonly after: number | null;
}

export interface Summary {
  readonly heldOut: Losses;
  readonly other: Losses;
  readonly elapsedMs: number;
  readonly tokens: number;
  readonly innerSteps: number;
  readonly merges: number;
  readonly releases: number;
  readonly miners: readonly {
    readonly name: string;
    readonly tokens: number;
    readonly share: number;
    readonly accepted: number;
    readonly rejected: number;
    /** By the ledger, over the whole run. */
    readonly paidRao: number;
  }[];
  /** Folder of the newest release; null if there is none. */
  readonly checkpoint: string | null;
  /** Why the exit code is not 0; empty if all is well. */
  readonly problems: readonly string[];
}

const lossesOf = (network: NetworkView, stage: string): Losses => {
  const losses = heldOutLosses(network, stage);
  return { before: losses[0] ?? null, after: losses.length > 1 ? losses.at(-1)! : null };
};

export function summarize(
  network: NetworkView,
  options: { readonly elapsedMs: number; readonly checkpoint: string | null; readonly failure: string | null },
): Summary {
  const heldOut = lossesOf(network, 'held-out');
  return {
    heldOut,
    other: lossesOf(network, 'held-out-other'),
    elapsedMs: options.elapsedMs,
    tokens: network.tokens,
    innerSteps: network.innerSteps,
    merges: network.mergeCount,
    releases: network.releaseCount,
    miners: network.miners.map(({ name, tokens, share, accepted, rejected, paidRao }) => ({
      name,
      tokens,
      share,
      accepted,
      rejected,
      paidRao,
    })),
    checkpoint: options.checkpoint,
    problems: problemsOf(network, heldOut, options),
  };
}

function problemsOf(
  network: NetworkView,
  heldOut: Losses,
  options: { readonly checkpoint: string | null; readonly failure: string | null },
): string[] {
  const problems: string[] = [];
  if (options.failure !== null) problems.push(options.failure);
  if (network.releaseCount === 0 || options.checkpoint === null) {
    problems.push('no release yet: every fragment must be merged once; let it run longer (--minutes)');
  } else if (heldOut.before === null || heldOut.after === null) {
    problems.push('the held-out loss was not measured before the end; see the validators’ logs');
  } else if (heldOut.after >= heldOut.before) {
    problems.push(
      `the held-out loss did not fall (${formatLoss(heldOut.before)} → ${formatLoss(heldOut.after)}); let it run longer`,
    );
  }
  const idle = network.miners.filter((miner) => miner.accepted === 0).map((miner) => miner.name);
  if (network.miners.length === 0) problems.push('no miner joined');
  if (idle.length > 0) problems.push(`no accepted work from ${idle.join(', ')}; see the logs`);
  return problems;
}

/** `next` holds what to type after this. */
export function formatSummary(
  summary: Summary & { readonly ggufFiles?: readonly string[] },
  next: readonly string[],
): string[] {
  const fall = (losses: Losses): string =>
    losses.before === null || losses.after === null
      ? `${formatLoss(losses.before)} → ${formatLoss(losses.after)}`
      : `${formatLoss(losses.before)} → ${formatLoss(losses.after)} (${(losses.after - losses.before).toFixed(3)})`;
  const rows = summary.miners.map((miner) => [
    miner.name,
    formatCount(miner.tokens),
    formatPercent(miner.share),
    formatCount(miner.accepted),
    formatCount(miner.rejected),
    formatTao(miner.paidRao, 4),
  ]);
  return [
    '',
    `time           ${formatDuration(summary.elapsedMs)}`,
    `held-out loss  ${fall(summary.heldOut)} nats a token`,
    `another source ${fall(summary.other)}`,
    `tokens         ${formatCount(summary.tokens)} counted, ${formatCount(summary.innerSteps)} inner steps`,
    `merges         ${formatCount(summary.merges)}`,
    `releases       ${formatCount(summary.releases)}`,
    '',
    ...formatTable(['miner', '>tokens', '>share', '>accepted', '>rejected', '>paid'], rows),
    '',
    `checkpoint     ${summary.checkpoint ?? 'none'}`,
    ...(summary.ggufFiles ?? []).map((file) => `for llama.cpp  ${file}`),
    ...summary.problems.map((problem) => `problem        ${problem}`),
    ...(next.length === 0 ? [] : ['', 'Type next:', ...next.map((line) => `  ${line}`)]),
  ];
}
