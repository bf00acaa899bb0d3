/** @file `miners` and `miners/HOTKEY`: the index's row, what heartbeats and the ledger add, and what `accrete explain` says. */
import { isCleared } from '../../journal/audits.ts';
import { explainAudit, temposOf } from '../../journal/explain.ts';
import type { JournalIndex, MinerFound } from '../../journal/index/port.ts';
import { learnersOf } from '../../journal/pay.ts';
import { countedTokens } from '../../journal/queries.ts';
import type { Learner } from '../../journal/state.ts';
import type { ApiMiner, ApiMinerRow, ApiMiners } from '../../protocol/api/participants.ts';
import type { ApiQuery } from '../../protocol/api/routes.ts';
import { fromDecimal, type Hotkey } from '../../protocol/names.ts';
import { routersOf } from '../routers.ts';
import { type LedgerView, NotThere, pulseOf, type Sources, tokensOf } from './sources.ts';

export async function answerMiners(sources: Sources, query: ApiQuery<'miners'>): Promise<ApiMiners> {
  const { index, asOf, nowMs } = sources;
  const { present, ...rest } = query;
  const ledger = await sources.ledger();
  await levelNeurons(index, ledger);
  const { rows, ...page } = await index.miners({
    ...rest,
    ...(present === undefined ? {} : { present: present === 'true' }),
    nowMs: nowMs(),
  });
  const paidRao = paidToMiners(ledger);
  return { asOf, rows: rows.map((row) => minerRowOf(sources, row, paidRao)), ...page };
}

/** What each index was last told; a question must not write what it holds. */
const toldTo = new WeakMap<JournalIndex, LedgerView>();

async function levelNeurons(index: JournalIndex, ledger: LedgerView | null): Promise<void> {
  if (ledger === null || toldTo.get(index) === ledger) return;
  await index.setNeurons(ledger.neurons.map(({ hotkey, emissionRao }) => ({ hotkey, emissionRao })));
  toldTo.set(index, ledger);
}

/** What the ledger paid to miners in the epochs that it tells of; null where it is not known. */
function paidToMiners(ledger: LedgerView | null): ReadonlyMap<Hotkey, number> | null {
  if (ledger === null) return null;
  const sums = new Map<Hotkey, number>();
  for (const { paid } of ledger.epochs)
    for (const [hotkey, { minerRao }] of paid) sums.set(hotkey, (sums.get(hotkey) ?? 0) + minerRao);
  return sums;
}

function minerRowOf(sources: Sources, row: MinerFound, paidRao: ReadonlyMap<Hotkey, number> | null): ApiMinerRow {
  const { state, nowMs } = sources;
  const names = row.learners
    .trim()
    .split(' ')
    .filter((name) => name !== '');
  const pulses = names.map((name) => pulseOf(sources, 'miner', row.hotkey, name));
  const fresh = pulses.flatMap((pulse) => pulse ?? []);
  const rates = fresh.flatMap(({ body }) => (body.tokensPerSecond === null ? [] : [fromDecimal(body.tokensPerSecond)]));
  const allTokens = countedTokens(state);
  const allPaid = [...(paidRao?.values() ?? [])].reduce((sum, rao) => sum + rao, 0);
  const presentMs = row.presentMs + (row.presentSinceMs === null ? 0 : Math.max(0, nowMs() - row.presentSinceMs));
  return {
    ...{ hotkey: row.hotkey, learners: names, learnersPresent: row.learnersPresent },
    isActive: pulses.includes(null) ? null : fresh.length > 0 && row.learnersPresent > 0,
    verifiedTokens: row.tokens,
    quality: row.quality,
    claims: {
      ...{ committed: row.committed, accepted: row.accepted, refused: row.refused },
      ...{ voided: row.voided, merged: row.merged },
    },
    workShare: allTokens === 0 ? 0 : Math.min(1, row.tokens / allTokens),
    rewardShare: paidRao === null || allPaid === 0 ? null : (paidRao.get(row.hotkey) ?? 0) / allPaid,
    weight: Math.min(1, row.weight),
    ...{ emissionRao: row.emissionRao, staleness: row.staleness },
    uptime: Math.min(1, presentMs / Math.max(1, nowMs() - row.firstJoinedAtMs)),
    ...{ firstJoinedAtMs: row.firstJoinedAtMs, lastClaimAtMs: row.lastClaimAtMs },
    ...{ lastCode: row.lastCode, lastSentence: row.lastSentence },
    audits: { open: row.auditsOpen, passed: row.auditsPassed, failed: row.auditsFailed },
    tokensPerSecond: rates.length === 0 ? null : rates.reduce((sum, rate) => sum + rate, 0),
  };
}

/** @throws NotThere */
export async function answerMiner(sources: Sources, { hotkey }: { readonly hotkey: Hotkey }): Promise<ApiMiner> {
  const { state, index, asOf } = sources;
  const [row, standing] = [await index.miner(hotkey), state.hotkeys.get(hotkey)];
  if (row === null || standing === undefined) throw new NotThere(`the run knows no miner ${hotkey}`);
  const ledger = await sources.ledger();
  const neuron = ledger?.neurons.find((each) => each.hotkey === hotkey);
  const paidBy = new Map(ledger?.epochs.map(({ tempo, paid }) => [tempo, paid.get(hotkey)?.minerRao ?? 0]));
  const audits = [...state.audits.values()].filter(({ body }) => body.hotkey === hotkey);
  return {
    asOf,
    ...minerRowOf(sources, row, paidToMiners(ledger)),
    learnerDetails: learnersOf(state, hotkey).map((learner) => learnerOf(sources, learner)),
    score: tokensOf(state, standing.score),
    verdictScore: standing.verdictScore,
    ledger: neuron === undefined ? null : pickNeuron(neuron),
    openTempo: {
      tokens: tokensOf(state, standing.tempoCellTokens),
      heldTokens: tokensOf(state, standing.heldCellTokens),
      isCleared: isCleared(state, standing),
    },
    barred: standing.barred?.sentence ?? null,
    forfeits: standing.forfeits.map(({ cellTokens, ...rest }) => ({ ...rest, tokens: tokensOf(state, cellTokens) })),
    tempos: temposOf(state, hotkey).map((each) => ({ ...each, emissionRao: paidBy.get(each.tempo) ?? null })),
    auditDetails: audits.map((audit) => ({
      ...explainAudit(audit),
      steps: [audit.body.steps[0], audit.body.steps[1]],
      learner: audit.body.name,
      ...{ openedAtMs: audit.openedAtMs, settledAtMs: audit.settledAtMs },
    })),
    claimCodes: { ...(await index.claimCodes(hotkey)) },
  };
}

const pickNeuron = ({ uid, stakeRao, emissionRao, incentive }: LedgerView['neurons'][number]) => ({
  ...{ uid, stakeRao, emissionRao, incentive },
});

function learnerOf(sources: Sources, learner: Learner): ApiMiner['learnerDetails'][number] {
  const pulse = pulseOf(sources, 'miner', learner.hotkey, learner.name);
  const { loss = null, tokensPerSecond = null, routers } = pulse?.body ?? {};
  const { threads, memoryGib, machineClass } = learner.capabilities;
  return {
    ...{ name: learner.name, isPresent: learner.present, threads, memoryGib, machineClass },
    isActive: pulse === null ? null : pulse !== undefined && learner.present,
    ...{ joinedAtMs: learner.joinedAtMs, lastAtMs: learner.lastAtMs, innerSteps: learner.innerSteps },
    verifiedTokens: tokensOf(sources.state, learner.cellTokens),
    openLeases: learner.leases.size,
    ...{ lastCode: learner.lastCode, lastSentence: learner.lastSentence },
    loss: loss === null ? null : fromDecimal(loss),
    tokensPerSecond: tokensPerSecond === null ? null : fromDecimal(tokensPerSecond),
    routers: routersOf(routers),
  };
}
