/** @file Does `accrete plan`: the plan as text, or as JSON. */
import { writeFileSync } from 'node:fs';
import { type Plan, planRun } from '../../plan/plan.ts';
import { acceleratorNote } from '../../simulate/fleet/accelerators.ts';
import type { Handler } from '../command.ts';
import { formatBytes, formatCount, formatPercent, formatShort } from '../output.ts';
import { formatTable } from '../table.ts';
import { parsePlanOptions } from './options.ts';

const notes = [
  'arithmetic of the steady state of the first phase; `accrete simulate --fleet` has the dynamics, and a test holds the two together for a small fleet',
];

export const handle: Handler = async (settings, io) => {
  const { manifest, fleet, command, out } = parsePlanOptions(settings);
  const isTabled = fleet.machines.some(({ accelerator }) => accelerator !== undefined);
  const plan = planRun(manifest, fleet, command, isTabled ? [...notes, acceleratorNote] : notes);
  if (out !== null) writeFileSync(out, `${JSON.stringify(plan, null, 1)}\n`);
  if (settings.switch('json')) io.out(JSON.stringify(plan));
  else for (const line of formatPlan(plan)) io.out(line);
  return 0;
};

const days = (value: number | null): string =>
  value === null ? 'never' : `${value < 10 ? value.toFixed(1) : formatCount(value)} days`;
const seconds = (value: number): string =>
  value < 120
    ? `${value.toFixed(1)} s`
    : value < 7_200
      ? `${(value / 60).toFixed(1)} min`
      : `${(value / 3_600).toFixed(1)} h`;

function formatPlan(plan: Plan): string[] {
  const { kinds, phases, validators, journal } = plan;
  const rows = kinds.map((kind) => [
    kind.kind,
    String(kind.machines),
    formatShort(kind.tokensPerSecond),
    formatPercent(kind.availability),
    seconds(kind.stepSeconds),
    kind.claimsADay.toFixed(1),
    formatBytes(kind.bytesUpADay),
    formatBytes(kind.bytesDownADay),
    seconds(kind.joinSeconds),
    formatShort(kind.tokensADay),
  ]);
  const head = [
    'kind',
    '>machines',
    '>tokens/s',
    '>there',
    '>inner step',
    '>claims/day',
    '>up/day',
    '>down/day',
    '>join',
    '>tokens/day',
  ];
  return [
    `${plan.run} by ${plan.fleet}: ${formatShort(plan.totalParameters)} parameters, ${formatShort(plan.activeParameters)} active; ${plan.learners} learners`,
    ...formatTable(head, rows),
    ...phases.map(
      ({ name, targetTokens, endDays }) =>
        `phase ${name}: ${formatShort(targetTokens)} tokens, ends after ${days(endDays)}`,
    ),
    `${formatShort(plan.tokensADay)} tokens a day, utilisation ${formatPercent(plan.utilisation)}; an outer step takes ${seconds(plan.outerStepSeconds)}`,
    `a claim ${formatBytes(plan.claimBytes)}, a fragment ${formatBytes(plan.fragmentBytes)}, a learner's state ${formatBytes(plan.stateBytes)}`,
    `journal ${formatCount(journal.eventsADay)} entries and ${formatBytes(journal.bytesADay)} a day; store ${formatBytes(plan.storeBytes)} under the retention policy`,
    `validators: replays ${seconds(validators.replaySecondsADay)}, gain tests ${seconds(validators.gainSecondsADay)}, checks ${seconds(validators.checkSecondsADay)} a day; ${formatPercent(validators.shareOfTraining)} of the training time (bar 20 %); ${validators.needed} at least`,
    'what limits it:',
    ...plan.limits.map((limit) => `  ${limit}`),
    'what would change it most (time to the end, over this plan):',
    ...formatTable(
      ['change', '>time'],
      plan.sensitivities.map(({ change, timeFactor }) => [
        change,
        timeFactor === null ? 'ends or begins it' : `${timeFactor.toFixed(2)}x`,
      ]),
    ).map((line) => `  ${line}`),
    ...plan.notes.map((note) => `note: ${note}`),
    `again: ${plan.command}`,
  ];
}
