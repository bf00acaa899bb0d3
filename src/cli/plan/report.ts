/** @file A plan as text: when it ends and what limits it first, then what it moves, keeps and costs. */
import type { Plan } from '../../plan/plan.ts';
import { isChange } from '../../plan/sensitivities.ts';
import { sayBytes, saySeconds } from '../../plan/sentences.ts';
import { formatCount, formatPercent, formatShort } from '../output.ts';
import { formatTable } from '../table.ts';

const days = (value: number | null): string =>
  value === null ? 'never' : value < 10 ? `${value.toFixed(1)} days` : `${formatCount(value)} days`;

export function formatPlan(plan: Plan): string[] {
  const { phases, limits } = plan;
  return [
    `${plan.run} by ${plan.fleet}: ${formatShort(plan.totalParameters)} parameters, ${formatShort(plan.activeParameters)} active; ${formatCount(plan.learners)} learners`,
    '',
    ...formatTable(
      ['phase', '>tokens', '>sequence', '>tokens/day', '>outer step', '>ends after'],
      phases.map((phase) => [
        phase.name,
        formatShort(phase.targetTokens),
        String(phase.sequenceLength),
        formatShort(phase.tokensADay),
        saySeconds(phase.outerStepSeconds),
        days(phase.endDays),
      ]),
    ),
    `utilisation ${formatPercent(plan.utilisation)} of all machines day and night; ${formatPercent(plan.tokensADay === 0 ? 0 : plan.paidTokensADay / plan.tokensADay)} of the merged work is paid`,
    '',
    'what limits it, the worst first:',
    ...limits.map((limit) => `  ${limit}`),
    '',
    ...formatSensitivities(plan),
    '',
    ...formatKinds(plan),
    '',
    ...formatRecord(plan),
    ...plan.notes.map((note) => `note: ${note}`),
    `again: ${plan.command}`,
  ];
}

function formatSensitivities(plan: Plan): string[] {
  const { sensitivities, phases, tokensADay, paidTokensADay } = plan;
  const now = { endDays: phases.at(-1)!.endDays, paidShare: tokensADay === 0 ? 0 : paidTokensADay / tokensADay };
  const [changing, others] = [true, false].map((is) => sensitivities.filter((each) => isChange(each, now) === is));
  const rows = changing!.map(({ change, timeFactor, endDays, paidShare }) => [
    change,
    timeFactor === null ? '-' : `${timeFactor.toFixed(2)}x`,
    days(endDays),
    formatPercent(paidShare),
  ]);
  return [
    'what would change it most (the plan made again with it):',
    ...formatTable(['change', '>time', '>ends after', '>paid'], rows).map((line) => `  ${line}`),
    ...(others!.length === 0
      ? []
      : [`  within a hundredth the same: ${others!.map(({ change }) => change).join(', ')}`]),
  ];
}

function formatKinds({ kinds, phases }: Plan): string[] {
  const rows = kinds.map((kind) => [
    kind.kind,
    formatCount(kind.machines),
    formatShort(kind.tokensPerSecond),
    formatPercent(kind.availability),
    saySeconds(kind.stepSeconds),
    kind.claimsADay.toFixed(1),
    sayBytes(kind.claimBytesADay),
    sayBytes(kind.auditBytesADay),
    sayBytes(kind.bytesDownADay),
    saySeconds(kind.joinSeconds),
    formatShort(kind.tokensADay),
  ]);
  const head = ['kind', '>machines', '>tokens/s', '>there', '>inner step', '>claims/day', '>claims up/day'];
  return [
    `machines, each in phase ${phases[0]!.name}; tokens a day of all of a kind:`,
    ...formatTable([...head, '>audits ask/day', '>down/day', '>join', '>tokens/day'], rows).map((line) => `  ${line}`),
  ];
}

function formatRecord(plan: Plan): string[] {
  const { journal, store, validators } = plan;
  const { current, superseded, claims, auditStates } = store.parts;
  const whole =
    journal.events === null || journal.bytes === null
      ? ''
      : `; ${formatShort(journal.events)} and ${sayBytes(journal.bytes)} to the end`;
  const seconds = [
    `replays ${saySeconds(validators.replaySecondsADay)} (${formatCount(validators.replaysADay)} of ${formatCount(validators.auditsADay)} audits)`,
    `gain tests ${saySeconds(validators.gainSecondsADay)}`,
    `checks ${saySeconds(validators.checkSecondsADay)}`,
    `fetching ${saySeconds(validators.fetchSecondsADay)}`,
  ];
  return [
    `a claim ${sayBytes(plan.claimBytes)}, a fragment ${sayBytes(plan.fragmentBytes)}, a learner's state ${sayBytes(plan.stateBytes)}; to train takes ${sayBytes(plan.trainingBytes)} of memory`,
    `journal: ${formatCount(journal.eventsADay)} entries and ${sayBytes(journal.bytesADay)} a day${whole}`,
    `store: ${sayBytes(store.bytes)} under the retention policy (now ${sayBytes(current)}, superseded ${sayBytes(superseded)}, claims ${sayBytes(claims)}, audited states ${sayBytes(auditStates)}), and ${store.releasesADay.toFixed(1)} releases a day of ${sayBytes(store.releaseBytes)} each`,
    `store's traffic: ${sayBytes(store.bytesInADay)} in and ${sayBytes(store.bytesOutADay)} out a day`,
    `validators a day, all together: ${seconds.join(', ')}; ${formatPercent(validators.shareOfTraining)} of the training time (bar 20 %), ${sayBytes(validators.bytesDownADay)} down each; ${validators.needed} needed, ${validators.count} there`,
  ];
}
