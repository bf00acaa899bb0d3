/** @file Does `accrete simulate --fleet`: a fleet on a virtual clock, its result as text and as a file. */

import { once } from 'node:events';
import { createWriteStream, writeFileSync } from 'node:fs';
import { acceleratorNote } from '../../../simulate/fleet/accelerators.ts';
import { type FleetOutcome, fleetOutcome } from '../../../simulate/fleet/fleet-outcome.ts';
import { FleetRun } from '../../../simulate/fleet/fleet-run.ts';
import type { Io } from '../../io.ts';
import { nativeEquation } from '../../native-ed25519.ts';
import type { FleetOptions } from './options.ts';

export async function runFleet(options: FleetOptions, io: Io): Promise<FleetOutcome> {
  const { fleet, hours, seed, signatures, freeloaders, tickMs } = options;
  const journal = options.journal === null ? null : createWriteStream(options.journal);
  const beganMs = performance.now();
  const run = new FleetRun({
    ...{ fleet, hours, seed: String(seed), mode: signatures, freeloaders, tickMs, equation: nativeEquation },
    ...(journal === null ? {} : { onLine: (line: string) => journal.write(`${line}\n`) }),
    onHour: (hour) => {
      const seconds = ((performance.now() - beganMs) / 1_000).toFixed(1);
      const mebibytes = Math.round(process.memoryUsage().rss / 2 ** 20);
      io.err(`hour ${hour} of ${hours}: ${run.journal.run.size} entries, ${seconds} s, ${mebibytes} MiB`);
    },
  });
  run.run();
  if (journal !== null) {
    journal.end();
    await once(journal, 'close');
  }
  const outcome = fleetOutcome(run, {
    command: commandOf(options),
    ...{ name: fleet.name, about: fleet.about, seed: String(seed), hours, notes: notesOf(options) },
  });
  if (options.out !== null) writeFileSync(options.out, `${JSON.stringify(outcome, null, 1)}\n`);
  return outcome;
}

/** Makes the same journal, and the same file but for nothing. */
function commandOf({ named, hours, seed, signatures, freeloaders, tickMs }: FleetOptions): string {
  const rest = [
    ...(freeloaders > 0 ? [`--freeloaders ${freeloaders}`] : []),
    ...(tickMs === 1_000 ? [] : [`--tick-ms ${tickMs}`]),
  ];
  return [
    `./bin/accrete simulate --fleet ${named} --hours ${hours} --seed ${seed} --signatures ${signatures}`,
    ...rest,
  ].join(' ');
}

function notesOf({ signatures, fleet, tickMs, freeloaders }: FleetOptions): string[] {
  return [
    signatures === 'stub'
      ? 'signatures are stubbed: nobody signs, nobody checks, and the form of entries is not parsed again; admission, fold, hash chain and Merkle tree are the real ones'
      : 'every entry is signed and checked as in a real journal',
    'all fold the same entries, so one fold serves all; heartbeats are not sent one by one: who is up and within reach counts as heard of',
    'bytes are sizes that travel over the links; validators find what the simulator knows to be true',
    `the syncer looks at the clock each ${tickMs} ms of virtual time`,
    ...(fleet.machines.some(({ accelerator }) => accelerator !== undefined) ? [acceleratorNote] : []),
    ...(freeloaders > 0
      ? [`the first ${freeloaders} hotkeys of each kind claim ten times the steps, and do none of them`]
      : []),
  ];
}
