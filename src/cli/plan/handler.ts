/** @file Does `accrete plan`: the plan as text, or as JSON. */
import { writeFileSync } from 'node:fs';
import { planRun } from '../../plan/plan.ts';
import { acceleratorNote, precisionNote } from '../../simulate/fleet/accelerators.ts';
import type { Handler } from '../command.ts';
import { parsePlanOptions } from './options.ts';
import { formatPlan } from './report.ts';

const steadyNote =
  'arithmetic of the steady state of each phase at its whole batch; `accrete simulate --fleet` has the dynamics, and a test holds the two together for small fleets';
const runNote = "the fleet's `run` is not looked at: the manifest says all of it";

export const handle: Handler = async (settings, io) => {
  const { manifest, fleet, command, out, isOfPreset } = await parsePlanOptions(settings, io);
  const isTabled = fleet.machines.some(({ accelerator }) => accelerator !== undefined);
  const plan = planRun(manifest, fleet, command, [
    steadyNote,
    ...(isTabled ? [acceleratorNote, precisionNote] : []),
    ...(isOfPreset || Object.keys(fleet.run).length === 0 ? [] : [runNote]),
  ]);
  if (out !== null) writeFileSync(out, `${JSON.stringify(plan, null, 1)}\n`);
  if (settings.switch('json')) io.out(JSON.stringify(plan));
  else for (const line of formatPlan(plan)) io.out(line);
  return 0;
};
