/** @file What happened between two looks at a network: one line each where there is no terminal, one JSON object with `--json`. */
import { formatCount, formatDuration, formatLoss, formatPercent, formatTao } from '../output.ts';
import { type NetworkView, trainingLossOf } from './view.ts';

export type NetworkEvent =
  | { readonly event: 'run'; readonly run: string; readonly preset: string; readonly parameters: number }
  | { readonly event: 'dashboard'; readonly url: string }
  | { readonly event: 'process-started'; readonly name: string; readonly pid: number }
  | { readonly event: 'process-crashed'; readonly name: string; readonly how: string; readonly retryInMs: number }
  | { readonly event: 'miner-joined' | 'miner-away'; readonly name: string }
  | {
      readonly event: 'claims-rejected';
      readonly name: string;
      readonly count: number;
      /** Of the last one. */
      readonly code: string | null;
      readonly sentence: string | null;
    }
  | { readonly event: 'paid'; readonly name: string; readonly rao: number }
  | {
      readonly event: 'merge';
      readonly outerStep: number;
      readonly fragment: number;
      readonly version: number;
      readonly learners: number;
      readonly tokens: number;
    }
  | {
      readonly event: 'phase-changed';
      readonly phase: number;
      readonly name: string;
      readonly tokens: number;
      readonly sequenceLength: number;
    }
  | { readonly event: 'release'; readonly release: number; readonly tokens: number }
  | { readonly event: 'evaluation'; readonly release: number; readonly losses: Readonly<Record<string, number>> }
  | {
      readonly event: 'progress';
      readonly elapsedMs: number;
      readonly tokens: number;
      readonly tokensPerSecond: number;
      readonly innerSteps: number;
      readonly trainingLoss: number | null;
      readonly shares: Readonly<Record<string, number>>;
    }
  | { readonly event: 'ending'; readonly reason: string };

/** In the order in which they are told; `previous` is null at the first look. */
export function eventsBetween(previous: NetworkView | null, next: NetworkView): NetworkEvent[] {
  const events: NetworkEvent[] = [];
  if (previous === null) {
    return [{ event: 'run', run: next.runId, preset: next.preset, parameters: next.parameters }];
  }
  const before = new Map(previous.miners.map((miner) => [miner.name, miner]));
  for (const miner of next.miners) {
    const was = before.get(miner.name);
    if (miner.present && !was?.present) events.push({ event: 'miner-joined', name: miner.name });
    if (!miner.present && was?.present) events.push({ event: 'miner-away', name: miner.name });
    const rejected = miner.rejected - (was?.rejected ?? 0);
    const { name, lastCode: code, lastSentence: sentence } = miner;
    if (rejected > 0) events.push({ event: 'claims-rejected', name, count: rejected, code, sentence });
    const rao = miner.paidRao - (was?.paidRao ?? 0);
    if (rao > 0) events.push({ event: 'paid', name, rao });
  }
  if (next.phase.index > previous.phase.index) {
    const { index: phase, name, sequenceLength } = next.phase;
    events.push({ event: 'phase-changed', phase, name, tokens: next.tokens, sequenceLength });
  }
  const knownVersions = new Map(previous.fragments.map(({ fragment, version }) => [fragment, version]));
  for (const merge of [...next.merges].reverse()) {
    if (merge.version <= (knownVersions.get(merge.fragment) ?? 0)) continue;
    const { outerStep, fragment, version, learners, tokens } = merge;
    events.push({ event: 'merge', outerStep, fragment, version, learners, tokens });
  }
  const known = new Map(previous.releases.map((release) => [release.release, release]));
  for (const { release, tokens, losses } of [...next.releases].reverse()) {
    const was = known.get(release);
    if (was === undefined) events.push({ event: 'release', release, tokens });
    const isNew = Object.keys(losses).length > 0 && Object.keys(was?.losses ?? {}).length === 0;
    if (isNew) events.push({ event: 'evaluation', release, losses });
  }
  return events;
}

export function progressEvent(network: NetworkView, elapsedMs: number): NetworkEvent {
  return {
    event: 'progress',
    elapsedMs,
    tokens: network.tokens,
    tokensPerSecond: network.tokensPerSecond,
    innerSteps: network.innerSteps,
    trainingLoss: trainingLossOf(network),
    shares: Object.fromEntries(network.miners.map((miner) => [miner.name, miner.share])),
  };
}

export function formatEvent(event: NetworkEvent): string {
  switch (event.event) {
    case 'run':
      return `run ${event.run.slice(0, 8)}: preset ${event.preset}, ${formatCount(event.parameters)} parameters`;
    case 'dashboard':
      return `dashboard: ${event.url}`;
    case 'process-started':
      return `${event.name} started (process ${event.pid})`;
    case 'process-crashed':
      return `${event.name} ended unexpectedly (${event.how}); starting it again in ${event.retryInMs} ms`;
    case 'miner-joined':
      return `${event.name} joined`;
    case 'miner-away':
      return `${event.name} is away`;
    case 'claims-rejected':
      return `${event.name}: ${event.count} ${event.count === 1 ? 'claim' : 'claims'} rejected${event.code === null ? '' : `, ${event.code}: ${event.sentence ?? ''}`}`;
    case 'paid':
      return `${event.name} is paid ${formatTao(event.rao, 4)}`;
    case 'merge':
      return `outer step ${event.outerStep}: fragment ${event.fragment} is version ${event.version}, from ${event.learners} ${event.learners === 1 ? 'learner' : 'learners'} over ${formatCount(event.tokens)} tokens`;
    case 'phase-changed':
      return `phase ${event.phase + 1}, ${event.name}, begins at ${formatCount(event.tokens)} tokens: ${event.sequenceLength} tokens a sequence`;
    case 'release':
      return `release ${event.release} at ${formatCount(event.tokens)} tokens`;
    case 'evaluation':
      return `release ${event.release}: held-out loss ${formatLoss(event.losses['held-out'])}, another source ${formatLoss(event.losses['held-out-other'])}`;
    case 'progress': {
      const shares = Object.entries(event.shares).map(([name, share]) => `${name} ${formatPercent(share)}`);
      return `${formatDuration(event.elapsedMs)}: ${formatCount(event.tokens)} tokens counted, ${formatCount(event.tokensPerSecond)} tokens/s, ${formatCount(event.innerSteps)} inner steps, training loss ${formatLoss(event.trainingLoss)}; ${shares.join(', ')}`;
    }
    case 'ending':
      return `ending: ${event.reason}`;
  }
}
