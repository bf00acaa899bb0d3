/** @file Does `accrete simulate --fleet decoupled-diloco`: the paper's rows, ours beside them. */
import { writeFileSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { fleetOutcome } from '../../../simulate/fleet/fleet-outcome.ts';
import { FleetRun } from '../../../simulate/fleet/fleet-run.ts';
import {
  type GoodputResult,
  goodputAssumptions,
  goodputFleet,
  goodputResult,
  publishedRows,
} from '../../../simulate/fleet/goodput.ts';
import type { Io } from '../../io.ts';
import { nativeEquation } from '../../native-ed25519.ts';
import { formatTable } from '../../table.ts';

export const goodputName = 'decoupled-diloco';

export interface GoodputReport {
  readonly format: 'accrete-goodput/1';
  readonly command: string;
  readonly hours: number;
  readonly seed: string;
  readonly assumptions: readonly string[];
  readonly rows: readonly GoodputResult[];
}

/** Null: stopped by a signal. */
export async function runGoodput(
  { hours, seed, out }: { readonly hours: number; readonly seed: number; readonly out: string | null },
  io: Io,
): Promise<GoodputReport | null> {
  const rows: GoodputResult[] = [];
  for (const row of publishedRows) {
    io.err(`${row.kind}, ${row.learners} learners of ${row.chips.toLocaleString('en-US')} chips`);
    const fleet = goodputFleet(row);
    const run = new FleetRun({ fleet, hours, seed: String(seed), mode: 'stub', equation: nativeEquation });
    for (const _ of run.steps()) {
      await nextTurn();
      if (!io.stop.aborted) continue;
      io.err(`stopped after ${rows.length} of ${publishedRows.length} rows: there is no result`);
      return null;
    }
    const about = { command: '', name: fleet.name, about: '', seed: String(seed), hours, notes: [] };
    rows.push(goodputResult(row, fleetOutcome(run, about)));
  }
  const report: GoodputReport = {
    format: 'accrete-goodput/1',
    command: `./bin/accrete simulate --fleet ${goodputName} --hours ${hours} --seed ${seed}`,
    ...{ hours, seed: String(seed), rows },
    assumptions: [...goodputAssumptions, 'signatures are stubbed'],
  };
  if (out !== null) writeFileSync(out, `${JSON.stringify(report, null, 1)}\n`);
  return report;
}

export function formatGoodput({ rows, assumptions, command, hours }: GoodputReport): string[] {
  const table = rows.map((row) => [
    row.chips.toLocaleString('en-US'),
    row.kind,
    String(row.learners),
    `${row.published} %`,
    `${row.ours.toFixed(1)} %`,
    `${row.trained.toFixed(1)} %`,
    `${row.uptime.toFixed(2)} %`,
  ]);
  return [
    `goodput of ${hours} virtual hours, beside Decoupled DiLoCo (arXiv:2604.21428)`,
    ...formatTable(['>chips', 'kind', '>M', '>theirs', '>ours (merged)', '>trained', '>uptime'], table),
    ...assumptions.map((line) => `assumed: ${line}`),
    `again: ${command}`,
  ];
}
