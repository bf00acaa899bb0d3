/** @file The answer to `GET /status`, computed from the fold and the last heartbeats. Reads; remembers nothing. */
import { gateStandings, phaseTokens, sayGate, sayStanding } from '../journal/phases.ts';
import { countedTokens, delegationsOf, learnerTokens, manifestOf, openClaims, phaseOf } from '../journal/queries.ts';
import type { Delegation, Learner, RunState } from '../journal/state.ts';
import type { WireBody } from '../protocol/messages.ts';
import { fromDecimal } from '../protocol/names.ts';
import { meanRouters, routersOf } from './routers.ts';
import type { MergeStatus, ReleaseStatus, Status } from './status.ts';

/** The newest heartbeat of one delegation. */
export interface Pulse {
  readonly delegation: Delegation;
  readonly body: WireBody<'heartbeat'>;
  readonly atMs: number;
}

export interface StatusSources {
  readonly run: RunState;
  /** By `role/hotkey/name`. */
  readonly pulses: ReadonlyMap<string, Pulse>;
  readonly parameters: number;
  readonly ledger: Status['ledger'];
  readonly process: Status['process'];
  readonly nowMs: number;
  /** A role whose heartbeat is older is not alive. */
  readonly freshMs: number;
}

const shown = 20;
/** Publications that the median is taken over. */
const medianOver = 200;

export function buildStatus(sources: StatusSources): Status {
  const { run, ledger, process, parameters } = sources;
  const manifest = manifestOf(run);
  const learners = [...run.learners.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  const learnerRows = learners.map((learner) => learnerRow(sources, learner));
  const alive = learnerRows.filter((row) => row.alive);
  const losses = alive.flatMap(({ loss }) => (loss === null ? [] : [loss]));
  const releases = run.releases.map((record) => releaseRow(run, record.body.release));
  const phase = phaseOf(run);
  return {
    version: 1,
    run: { id: run.run!.id, name: manifest.name, preset: manifest.model.preset, parameters },
    phase: {
      ...{ index: run.phase, count: manifest.phases.length, name: phase.name },
      ...{ targetTokens: phase.targetTokens, countedTokens: phaseTokens(run), sequenceLength: phase.sequenceLength },
      gates: gateStandings(run).map((each) => ({
        gate: sayGate(each.gate),
        isHeld: each.isHeld,
        found: sayStanding(run, each),
      })),
    },
    countedTokens: countedTokens(run),
    innerSteps: learnerRows.reduce((sum, row) => sum + row.innerSteps, 0),
    outerSteps: run.nextOuterStep,
    trainingLoss: losses.length === 0 ? null : losses.reduce((sum, loss) => sum + loss, 0) / losses.length,
    initialLosses: releases[0]?.losses ?? {},
    heldOutLosses: releases.findLast(({ losses }) => Object.keys(losses).length > 0)?.losses ?? {},
    tokensPerSecond: alive.reduce((sum, row) => sum + (row.tokensPerSecond ?? 0), 0),
    routers: meanRouters(alive.flatMap(({ routers }) => routers ?? [])),
    learners: learnerRows,
    validators: validatorRows(sources),
    fragments: run.fragments.map((fragment, id) => ({
      id,
      version: fragment.version,
      ageMs: fragment.lastMergeMs === null ? null : Math.max(0, sources.nowMs - fragment.lastMergeMs),
      contributors: fragment.contributors.length,
      due: run.due?.fragment === id,
    })),
    merges: mergeRows(run),
    mergeCount: run.fragments.reduce((sum, fragment) => sum + fragment.merges, 0),
    releases: releases.slice(-shown).reverse(),
    releaseCount: releases.length,
    ledger,
    medians: { revealToPublishMs: medianRevealToPublish(run) },
    openDisputes: run.openDisputes.size,
    audits: auditCounts(run),
    journalEntries: run.size,
    process,
  };
}

function learnerRow(sources: StatusSources, learner: Learner): Status['learners'][number] {
  const { run, pulses, nowMs, freshMs } = sources;
  const pulse = pulses.get(`miner/${learner.hotkey}/${learner.name}`);
  const isAlive = learner.present && pulse !== undefined && nowMs - pulse.atMs < freshMs;
  const { loss = null, tokensPerSecond = null } = isAlive ? pulse.body : {};
  const { accepted, refused, voided } = learner.claims;
  return {
    hotkey: learner.hotkey,
    name: learner.name,
    present: learner.present,
    alive: isAlive,
    innerSteps: Math.max(learner.innerSteps, pulse?.body.innerSteps ?? 0),
    accepted,
    rejected: refused + voided,
    open: openClaims(run).filter((claim) => claim.learner === learner.id).length,
    countedTokens: learnerTokens(run, learner),
    share: run.cellTokens === 0 ? 0 : learner.cellTokens / run.cellTokens,
    loss: loss === null ? null : fromDecimal(loss),
    tokensPerSecond: tokensPerSecond === null ? null : fromDecimal(tokensPerSecond),
    routers: isAlive ? routersOf(pulse.body.routers) : null,
    rssBytes: isAlive ? pulse.body.rssBytes : null,
    lastCode: learner.lastCode,
    lastSentence: learner.lastSentence,
  };
}

function validatorRows({ run, pulses, nowMs, freshMs }: StatusSources): Status['validators'] {
  return delegationsOf(run, 'validator', nowMs).map(({ hotkey, name }) => {
    const pulse = pulses.get(`validator/${hotkey}/${name}`);
    const isAlive = pulse !== undefined && nowMs - pulse.atMs < freshMs;
    const record = run.hotkeys.get(hotkey);
    const verdicts = (record?.settledVerdicts ?? 0) + (record?.overruledVerdicts ?? 0);
    const barred = record?.barred?.sentence ?? null;
    return { hotkey, name, alive: isAlive, verdicts, barred, rssBytes: isAlive ? pulse.body.rssBytes : null };
  });
}

function auditCounts(run: RunState): Status['audits'] {
  const audits = [...run.audits.values()];
  const count = (status: string): number => audits.filter((audit) => audit.status === status).length;
  return { open: run.openAudits.size, passed: count('passed'), failed: count('failed') };
}

/** Newest first. */
function mergeRows(run: RunState): MergeStatus[] {
  return run.recentMerges
    .slice(-shown)
    .reverse()
    .map(({ learners, cellTokens, ...merge }) => ({
      ...merge,
      learners: learners.length,
      tokens: cellTokens / run.fragments.length,
    }));
}

function releaseRow(run: RunState, release: number): ReleaseStatus {
  const { body, atMs } = run.releases[release]!;
  const evaluation = run.evaluations.find((each) => each.release === release);
  const losses = Object.entries(evaluation?.losses ?? {}).map(([stage, loss]) => [stage, fromDecimal(loss)] as const);
  const routers = routersOf(evaluation?.routers);
  return { release, countedTokens: fromDecimal(body.countedTokens), atMs, losses: Object.fromEntries(losses), routers };
}

function medianRevealToPublish(run: RunState): number | null {
  const times = [...run.claims.values()]
    .filter((claim) => claim.status === 'merged')
    .slice(-medianOver)
    .map((claim) => claim.mergedAtMs! - claim.revealedAtMs!)
    .sort((a, b) => a - b);
  return times[times.length >> 1] ?? null;
}
