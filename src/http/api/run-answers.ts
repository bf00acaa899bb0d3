/** @file `run` and `overview`. */
import { gateStandings, sayGate, sayStanding } from '../../journal/phases.ts';
import { blocksToNextTempo, countedTokens, manifestOf, phaseOf, runOf } from '../../journal/queries.ts';
import type { RunState } from '../../journal/state.ts';
import type { ApiOverview, ApiRun } from '../../protocol/api/run.ts';
import { fromDecimal } from '../../protocol/names.ts';
import { meanRouters, routersOf } from '../routers.ts';
import { healthOf } from './health.ts';
import { type LedgerView, median, type Sources, tokensOf } from './sources.ts';

/** Merges of this long decide the present rate. */
const rateOverMs = 300_000;
/** Points that medians are taken over. */
const medianOver = 64;

const targetTokensOf = (state: RunState): number =>
  manifestOf(state).phases.reduce((sum, { targetTokens }) => sum + targetTokens, 0);

export async function answerRun({ state, index, model }: Sources): Promise<ApiRun> {
  const manifest = manifestOf(state);
  const marks = await index.marks('phase', 64);
  const { ledger, sync, rewards, fragments } = manifest;
  const { paramsTotal, paramsActive, layers, experts, expertsPerToken, vocabSize } = model;
  return {
    ...{ id: runOf(state).id, name: manifest.name, preset: manifest.model.preset, owner: manifest.owner },
    createdAtMs: manifest.createdAtMs,
    startedAtMs: marks[0]?.atMs ?? manifest.createdAtMs,
    model: { paramsTotal, paramsActive, layers, experts, expertsPerToken, vocabSize },
    fragments: fragments.count,
    ...{ codec: manifest.codec, mergeRule: manifest.merge.rule, quorum: sync.quorum },
    ...{ innerStepsPerOuterStep: sync.innerStepsPerOuterStep, maxStaleness: sync.maxStaleness },
    ledger,
    verdictShare: fromDecimal(rewards.verdictShare),
    halfLifeTempos: fromDecimal(rewards.halfLifeTempos),
    targetTokens: targetTokensOf(state),
    phases: phasesOf(state, marks),
    sources: manifest.data.shards.map(({ source, stage, tokens, licence }) => ({ source, stage, tokens, licence })),
    join: joinOf(model),
  };
}

function phasesOf(state: RunState, marks: readonly { number: number; atMs: number; countedTokens: number }[]) {
  let fromTokens = 0;
  return manifestOf(state).phases.map(({ name, targetTokens, sequenceLength, mixture }, index) => {
    const toTokens = fromTokens + targetTokens;
    const began = marks.find(({ number }) => number === index);
    const phase = {
      ...{ index, name, targetTokens, fromTokens, toTokens, sequenceLength, mixture },
      startedAtMs: began?.atMs ?? null,
      startedAtTokens: began?.countedTokens ?? null,
    };
    fromTokens = toTokens;
    return phase;
  });
}

function joinOf({ memoryBytes, diskBytes, downloadBytes, uploadBytesPerClaim }: Sources['model']): ApiRun['join'] {
  return {
    mineCommand: './bin/accrete mine --join {url} --dir .accrete/my-miner',
    validateCommand: './bin/accrete validate --join {url} --dir .accrete/my-validator',
    verifyCommand: './bin/accrete verify {url}',
    ...{ memoryBytes, diskBytes, downloadBytes, uploadBytesPerClaim },
    minThreads: 1,
    machineNeeds: [
      'Node.js 20.19 or newer, on Linux, macOS or Windows (x64 or arm64)',
      'a way out to this address; no open port',
      'a processor with SIMD; a GPU helps where WebGPU is there',
    ],
  };
}

export async function answerOverview(sources: Sources): Promise<ApiOverview> {
  const { state, asOf, index } = sources;
  const [ledger, statuses, nowMs] = [await sources.ledger(), await index.claimStatuses(), sources.nowMs()];
  const live = liveOf(sources);
  const releases = state.releases;
  const [start, newest] = [lossesOf(state, (release) => release === 0), lossesOf(state, () => true)];
  const phase = phaseOf(state);
  const rates = ratesOf(state, nowMs);
  const left = Math.max(0, targetTokensOf(state) - countedTokens(state));
  return {
    asOf,
    nowMs,
    health: healthOf({ state, nowMs, isEnded: sources.isEnded(), ...live }),
    countedTokens: countedTokens(state),
    targetTokens: targetTokensOf(state),
    ...rates,
    trainedTokensPerSecond: live.trainedTokensPerSecond,
    etaMs: rates.tokensPerSecond > 0 ? (left / rates.tokensPerSecond) * 1_000 : null,
    phase: {
      ...{ index: state.phase, name: phase.name, targetTokens: phase.targetTokens },
      countedTokens: tokensOf(state, state.phaseCellTokens[state.phase] ?? 0),
      gates: gateStandings(state).map((each) => ({
        gate: sayGate(each.gate),
        isHeld: each.isHeld,
        found: sayStanding(state, each),
      })),
    },
    amendments: state.amendments.slice(-64).map(({ body: { amendment, atOuterStep, reason }, inForceSince }) => ({
      ...{ amendment, atOuterStep, reason, isInForce: inForceSince !== null },
    })),
    ...{ trainingLoss: live.trainingLoss, routers: live.routers ?? newestRouters(state) },
    ...{ initialLosses: start, heldOutLosses: newest },
    ...countsOf(sources, live),
    ...{ innerSteps: innerStepsOf(state), outerSteps: state.nextOuterStep, merges: state.merges },
    claims: claimCountsOf(statuses),
    audits: auditCountsOf(state),
    openDisputes: state.openDisputes.size,
    latestRelease: latestOf(releases),
    ...(await ledgerPartsOf(sources, ledger)),
    medians: await mediansOf(sources),
  };
}

/** What heartbeats say, as far as they are fresh. */
export function liveOf(sources: Pick<Sources, 'pulses' | 'nowMs' | 'freshMs' | 'state'>) {
  const pulses = sources.pulses();
  const fresh = [...(pulses?.values() ?? [])].filter(({ atMs }) => sources.nowMs() - atMs < sources.freshMs);
  const { state } = sources;
  const isPresent = ({ delegation: { hotkey, name } }: (typeof fresh)[number]): boolean =>
    state.learners.get(`${hotkey}/${name}` as never)?.present === true;
  const learners = fresh.filter((pulse) => pulse.delegation.role === 'miner' && isPresent(pulse));
  const validators = fresh.filter(({ delegation }) => delegation.role === 'validator');
  const losses = learners.flatMap(({ body }) => (body.loss === null ? [] : [fromDecimal(body.loss)]));
  const rates = learners.flatMap(({ body }) =>
    body.tokensPerSecond === null ? [] : [fromDecimal(body.tokensPerSecond)],
  );
  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
  return {
    activeMiners: new Set(learners.map(({ delegation }) => delegation.hotkey)).size,
    activeLearners: pulses === null ? null : learners.length,
    activeValidators: pulses === null ? null : new Set(validators.map(({ delegation }) => delegation.hotkey)).size,
    trainingLoss: losses.length === 0 ? null : sum(losses) / losses.length,
    trainedTokensPerSecond: rates.length === 0 ? null : sum(rates),
    routers: meanRouters(learners.flatMap(({ body }) => routersOf(body.routers) ?? [])),
  };
}

function ratesOf(state: RunState, nowMs: number): Pick<ApiOverview, 'tokensPerSecond' | 'tokensPerSecondOverRun'> {
  const [first] = state.recentMerges;
  const fromMs = Math.max(nowMs - rateOverMs, first?.atMs ?? nowMs);
  const newer = state.recentMerges.filter(({ atMs }) => atMs > fromMs);
  const cellTokens = newer.reduce((sum, merge) => sum + merge.cellTokens, 0);
  const startedMs = state.releases[0]?.atMs ?? nowMs;
  const perSecond = (tokens: number, ms: number): number => (ms > 0 ? (tokens / ms) * 1_000 : 0);
  return {
    tokensPerSecond: perSecond(tokensOf(state, cellTokens), nowMs - fromMs),
    tokensPerSecondOverRun: perSecond(countedTokens(state), state.lastTimeMs - startedMs),
  };
}

/** Of the newest release that was evaluated and meets the condition: means over its evaluations. */
function lossesOf(state: RunState, isMeant: (release: number) => boolean): Record<string, number> {
  const release = state.evaluations.findLast((each) => isMeant(each.release))?.release;
  return meanLosses(state.evaluations.filter((each) => each.release === release));
}

/** Of the newest release that told them: without heartbeats nothing newer is known. */
function newestRouters({ evaluations }: RunState): ApiOverview['routers'] {
  const release = evaluations.findLast(({ routers }) => routersOf(routers) !== null)?.release;
  return meanRouters(evaluations.flatMap((each) => (each.release === release ? (routersOf(each.routers) ?? []) : [])));
}

export function meanLosses(evaluations: RunState['evaluations']): Record<string, number> {
  const sums = new Map<string, { sum: number; count: number }>();
  for (const { losses } of evaluations)
    for (const [stage, loss] of Object.entries(losses)) {
      const { sum, count } = sums.get(stage) ?? { sum: 0, count: 0 };
      sums.set(stage, { sum: sum + fromDecimal(loss), count: count + 1 });
    }
  return Object.fromEntries([...sums].sort().map(([stage, { sum, count }]) => [stage, sum / count]));
}

function countsOf(
  { state, pulses }: Sources,
  live: ReturnType<typeof liveOf>,
): Pick<ApiOverview, 'miners' | 'learners' | 'validators'> {
  const learners = [...state.learners.values()];
  const present = learners.filter((learner) => learner.present);
  const validators = [...state.delegations.values()].filter(({ role }) => role === 'validator');
  const known = new Set(validators.map(({ hotkey }) => hotkey));
  const hotkeys = (of: typeof learners): number => new Set(of.map(({ hotkey }) => hotkey)).size;
  const isHeard = pulses() !== null;
  return {
    // Without heartbeats who is present counts as active.
    miners: { active: isHeard ? live.activeMiners : hotkeys(present), known: hotkeys(learners) },
    learners: { active: live.activeLearners ?? present.length, present: present.length, known: learners.length },
    validators: {
      ...{ active: live.activeValidators ?? known.size, known: known.size },
      barred: [...known].filter((hotkey) => state.hotkeys.get(hotkey)?.barred).length,
    },
  };
}

const innerStepsOf = (state: RunState): number =>
  [...state.learners.values()].reduce((sum, { innerSteps }) => sum + innerSteps, 0);

function claimCountsOf(statuses: Readonly<Record<string, number>>): ApiOverview['claims'] {
  const sum = (...names: string[]): number => names.reduce((total, name) => total + (statuses[name] ?? 0), 0);
  return {
    committed: sum(...Object.keys(statuses)),
    open: sum('committed', 'beaconed', 'revealed', 'accepted', 'merging'),
    accepted: sum('accepted', 'merging', 'merged'),
    ...{ refused: sum('refused'), voided: sum('voided'), merged: sum('merged') },
  };
}

function auditCountsOf(state: RunState): ApiOverview['audits'] {
  const counts = { open: state.openAudits.size, passed: 0, failed: 0 };
  for (const { status } of state.audits.values()) if (status === 'passed' || status === 'failed') counts[status]++;
  return counts;
}

function latestOf(releases: RunState['releases']): ApiOverview['latestRelease'] {
  const latest = releases.at(-1);
  if (latest === undefined) return null;
  const { id, atMs, body } = latest;
  return { release: body.release, atMs, countedTokens: fromDecimal(body.countedTokens), id };
}

async function ledgerPartsOf(
  { state, index }: Sources,
  ledger: LedgerView | null,
): Promise<Pick<ApiOverview, 'ledger' | 'lastAnchor'>> {
  const block = ledger?.block ?? state.tempo.block;
  const head = state.treeHeads.findLast(({ root }) => ledger === null || ledger.anchored.has(root));
  const mark = (await index.marks('tree-head', 500)).find(({ seq }) => seq === head?.seq);
  return {
    ledger: {
      block,
      tempo: Math.max(0, state.tempo.index),
      blocksToNextTempo: blocksToNextTempo(manifestOf(state).ledger, block),
    },
    lastAnchor:
      head === undefined
        ? null
        : { size: head.size, root: head.root, block: head.block, atMs: mark?.atMs ?? state.lastTimeMs },
  };
}

async function mediansOf({ index }: Sources): Promise<ApiOverview['medians']> {
  const of = async (series: string): Promise<number | null> => median(await index.newestPoints(series, medianOver));
  return {
    revealToPublishMs: await of('latency/revealToPublishMs'),
    commitToRevealMs: await of('latency/commitToRevealMs'),
    mergeDurationMs: await of('latency/mergeDurationMs'),
    staleness: await of('staleness/staleness'),
  };
}
