/** @file Does `accrete status`: a running network as tables. */
import { fetchStatus } from '../../http/client.ts';
import type { Status } from '../../http/status.ts';
import type { Handler } from '../command.ts';
import { formatBytes, formatCount, formatDuration, formatLoss, formatPercent } from '../output.ts';
import { formatRouters } from '../router-word.ts';
import { formatTable } from '../table.ts';

export const handle: Handler = async (settings, io) => {
  const status = await fetchStatus(settings.url('url'));
  if (settings.switch('json')) io.out(JSON.stringify(status));
  else for (const line of formatStatus(status, Date.now())) io.out(line);
  return 0;
};

function formatStatus(status: Status, nowMs: number): string[] {
  const { run, phase, medians, ledger } = status;
  const wait = medians.revealToPublishMs;
  return [
    `run ${run.id}`,
    `${run.name}: preset ${run.preset}, ${formatCount(run.parameters)} parameters; ${formatPhase(phase)}`,
    `tokens    ${formatCount(status.countedTokens)} counted, ${formatCount(status.tokensPerSecond)} a second; ${formatCount(status.innerSteps)} inner steps, ${formatCount(status.outerSteps)} outer steps`,
    `loss      training ${formatLoss(status.trainingLoss)}, held-out ${formatLoss(status.initialLosses['held-out'])} → ${formatLoss(status.heldOutLosses['held-out'])}, another source ${formatLoss(status.initialLosses['held-out-other'])} → ${formatLoss(status.heldOutLosses['held-out-other'])}`,
    `experts   in training ${formatRouters(status.routers)}; on held-out text ${formatRouters(heldOutRouters(status))}`,
    `record    ${formatCount(status.journalEntries)} entries, ${formatCount(status.releaseCount)} releases; reveal to publication ${wait === null ? '-' : `${formatCount(wait)} ms`} (median)`,
    `judgement ${judgementOf(status)}`,
    `ledger    block ${formatCount(ledger.block)}, tempo ${formatCount(ledger.tempo)}`,
    '',
    ...formatTable(['process', '', '>memory', '>paid (rao)'], processRows(status, nowMs)),
    '',
    ...formatTable(
      ['learner', '>inner steps', '>tokens/s', '>loss', '>accepted', '>rejected', '>open', '>share', 'last verdict'],
      status.learners.map((learner) => [
        learner.name,
        formatCount(learner.innerSteps),
        learner.tokensPerSecond === null ? '-' : formatCount(learner.tokensPerSecond),
        formatLoss(learner.loss),
        formatCount(learner.accepted),
        formatCount(learner.rejected),
        formatCount(learner.open),
        formatPercent(learner.share),
        [learner.lastCode, learner.lastSentence].filter(Boolean).join(': '),
      ]),
    ),
    '',
    ...formatTable(
      ['>fragment', '>version', '>age', '>learners', ''],
      status.fragments.map(({ id, version, ageMs, contributors, due }) => [
        String(id),
        String(version),
        ageMs === null ? '-' : formatDuration(ageMs),
        String(contributors),
        due ? 'due' : '',
      ]),
    ),
  ];
}

/** `phase long (2 of 3), 1,234 of 5,000 tokens, 256 a sequence; held-out of at most 6: held` */
function formatPhase({
  name,
  index,
  count,
  targetTokens,
  countedTokens,
  sequenceLength,
  gates,
}: Status['phase']): string {
  const place = count === 1 ? '' : ` (${index + 1} of ${count})`;
  const held = gates
    .map(({ gate, isHeld, found }) => `; gate ${gate}: ${isHeld ? 'held' : `not held yet (${found})`}`)
    .join('');
  return `phase ${name}${place}, ${formatCount(countedTokens)} of ${formatCount(targetTokens)} tokens, ${formatCount(sequenceLength)} a sequence${held}`;
}

/** Of the newest release that was evaluated. */
const heldOutRouters = ({ releases }: Status): Status['routers'] =>
  releases.find(({ routers }) => routers !== null)?.routers ?? null;

/** Who may no longer judge, and what is before validators. */
function judgementOf({ validators, openDisputes, audits }: Status): string {
  const barred = validators.filter((each) => each.barred !== null).map(({ name, barred: why }) => `${name} (${why})`);
  const said = [
    `${formatCount(openDisputes)} open disputes`,
    `audits ${formatCount(audits.open)} open, ${formatCount(audits.passed)} passed, ${formatCount(audits.failed)} failed`,
    barred.length === 0 ? 'no validator barred' : `barred: ${barred.join('; ')}`,
  ];
  return said.join('; ');
}

function processRows(status: Status, nowMs: number): string[][] {
  const memory = (rssBytes: number | null): string => (rssBytes === null ? '-' : formatBytes(rssBytes));
  const paid = (hotkey: string): string => formatCount(status.ledger.emissionRao[hotkey] ?? 0);
  const state = (isAlive: boolean): string => (isAlive ? 'alive' : 'away');
  const uptime = formatDuration(nowMs - status.process.startedAtMs);
  return [
    ['orchestrator', `up ${uptime}`, memory(status.process.rssBytes), ''],
    ...status.learners.map(({ name, alive, rssBytes, hotkey }) => [name, state(alive), memory(rssBytes), paid(hotkey)]),
    ...status.validators.map(({ name, alive, rssBytes, hotkey }) => [
      name,
      state(alive),
      memory(rssBytes),
      paid(hotkey),
    ]),
  ];
}
