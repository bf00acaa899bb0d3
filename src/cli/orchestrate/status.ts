/** @file Makes the answer of `GET /status` from the orchestrator's fold, the last heartbeats and the ledger. */
import type { LearnerStatus, ReleaseStatus, Status, ValidatorStatus } from '../../http/status.ts';
import { countedTokens, delegationsOf, learnerTokens, manifestOf, phaseOf, runOf } from '../../journal/queries.ts';
import type { Learner, RunState } from '../../journal/state.ts';
import type { Block, Neuron } from '../../ledger/port.ts';
import { countParameters } from '../../model/quasar-long/contract.ts';
import { fromDecimal } from '../../protocol/names.ts';
import type { Pulse } from '../../roles/orchestrator/shell.ts';
import { heartbeatFreshMs } from '../../roles/orchestrator/step.ts';
import { runModelOf } from '../../roles/run-model.ts';
import type { RunHistory } from './history.ts';

export interface StatusSources {
  readonly run: RunState;
  readonly pulses: ReadonlyMap<string, Pulse>;
  readonly history: RunHistory;
  readonly head: Block;
  readonly neurons: readonly Neuron[];
  readonly nowMs: number;
  readonly startedAtMs: number;
  readonly rssBytes: number;
}

const listed = 20;

export function statusOf(sources: StatusSources): Status {
  const { run, history, nowMs } = sources;
  const manifest = manifestOf(run);
  const phase = phaseOf(run);
  const learners = [...run.learners.values()].map((learner) => learnerStatus(learner, sources));
  const alive = learners.filter((learner) => learner.alive);
  const losses = alive.flatMap(({ loss }) => (loss === null ? [] : [loss]));
  const releases = releaseStatuses(run);
  const evaluated = releases.filter((release) => Object.keys(release.losses).length > 0);
  return {
    version: 1,
    run: {
      id: runOf(run).id,
      name: manifest.name,
      preset: manifest.model.preset,
      parameters: parameterCount(run),
    },
    phase: { index: run.phase, name: phase.name, targetTokens: phase.targetTokens },
    countedTokens: countedTokens(run),
    innerSteps: learners.reduce((sum, learner) => sum + learner.innerSteps, 0),
    outerSteps: run.fragments.reduce((sum, fragment) => sum + fragment.merges, 0),
    trainingLoss: losses.length === 0 ? null : losses.reduce((sum, loss) => sum + loss, 0) / losses.length,
    initialLosses: releases.find(({ release }) => release === 0)?.losses ?? {},
    heldOutLosses: evaluated.at(-1)?.losses ?? {},
    tokensPerSecond: alive.reduce((sum, learner) => sum + (learner.tokensPerSecond ?? 0), 0),
    learners,
    validators: delegationsOf(run, 'validator', nowMs).map((delegation) => validatorStatus(delegation, sources)),
    fragments: run.fragments.map((fragment, id) => ({
      id,
      version: fragment.version,
      ageMs: fragment.lastMergeMs === null ? null : Math.max(0, nowMs - fragment.lastMergeMs),
      contributors: fragment.contributors.length,
      due: run.due?.fragment === id,
    })),
    merges: history.merges(run),
    mergeCount: run.fragments.reduce((sum, fragment) => sum + fragment.merges, 0),
    releases: releases.slice(-listed).reverse(),
    releaseCount: releases.length,
    ledger: ledgerStatus(sources),
    medians: { revealToPublishMs: history.revealToPublishMs(run) },
    journalEntries: run.size,
    process: { startedAtMs: sources.startedAtMs, rssBytes: sources.rssBytes },
  };
}

const parameterCounts = new Map<string, number>();
function parameterCount(run: RunState): number {
  const { id, manifest } = runOf(run);
  const known = parameterCounts.get(id);
  if (known !== undefined) return known;
  const { total } = countParameters(runModelOf(manifest).config);
  parameterCounts.set(id, total);
  return total;
}

function learnerStatus(learner: Learner, { run, pulses, nowMs }: StatusSources): LearnerStatus {
  const pulse = pulses.get(`miner/${learner.hotkey}/${learner.name}`);
  const isAlive = learner.present && pulse !== undefined && nowMs - pulse.atMs < heartbeatFreshMs;
  const { claims } = learner;
  const lossText = pulse?.body.loss ?? null;
  const rateText = pulse?.body.tokensPerSecond ?? null;
  const tokens = learnerTokens(run, learner);
  return {
    hotkey: learner.hotkey,
    name: learner.name,
    present: learner.present,
    alive: isAlive,
    innerSteps: Math.max(learner.innerSteps, pulse?.body.innerSteps ?? 0),
    accepted: claims.accepted,
    rejected: claims.refused,
    open: Math.max(0, claims.committed - claims.accepted - claims.refused - claims.voided),
    countedTokens: tokens,
    share: run.cellTokens === 0 ? 0 : learner.cellTokens / run.cellTokens,
    loss: lossText === null ? null : fromDecimal(lossText),
    tokensPerSecond: !isAlive || rateText === null ? null : fromDecimal(rateText),
    rssBytes: pulse?.body.rssBytes ?? null,
    lastCode: learner.lastCode,
    lastSentence: learner.lastSentence,
  };
}

function validatorStatus(
  { hotkey, name }: Pulse['delegation'],
  { run, pulses, nowMs }: StatusSources,
): ValidatorStatus {
  const pulse = pulses.get(`validator/${hotkey}/${name}`);
  const standing = run.hotkeys.get(hotkey);
  return {
    hotkey,
    name,
    alive: pulse !== undefined && nowMs - pulse.atMs < heartbeatFreshMs,
    verdicts: (standing?.settledVerdicts ?? 0) + (standing?.overruledVerdicts ?? 0),
    rssBytes: pulse?.body.rssBytes ?? null,
  };
}

/** Oldest first. Several validators may evaluate a release; the first evaluation stands. */
function releaseStatuses(run: RunState): ReleaseStatus[] {
  return run.releases.map(({ body, atMs }) => {
    const evaluation = run.evaluations.find(({ release }) => release === body.release);
    const losses = Object.entries(evaluation?.losses ?? {}).map(([stage, loss]) => [stage, fromDecimal(loss)] as const);
    return {
      release: body.release,
      countedTokens: fromDecimal(body.countedTokens),
      atMs,
      losses: Object.fromEntries(losses),
    };
  });
}

function ledgerStatus({ run, head, neurons }: StatusSources): Status['ledger'] {
  return {
    block: head.number,
    tempo: Math.max(0, run.tempo.index),
    emissionRao: Object.fromEntries(neurons.map(({ hotkey, emissionRao }) => [hotkey, emissionRao])),
  };
}
