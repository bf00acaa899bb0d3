/** @file Does `accrete simulate --fleet`: a fleet on a virtual clock, its result as text and as a file. */

import { once } from 'node:events';
import { createWriteStream, writeFileSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { acceleratorNote } from '../../../simulate/fleet/accelerators.ts';
import { planFleetFaults } from '../../../simulate/fleet/fleet-chaos.ts';
import { type FleetOutcome, fleetOutcome } from '../../../simulate/fleet/fleet-outcome.ts';
import { FleetRun, startMs } from '../../../simulate/fleet/fleet-run.ts';
import type { Io } from '../../io.ts';
import { nativeEquation } from '../../native-ed25519.ts';
import type { FleetOptions } from './options.ts';

/** Null: stopped by a signal. */
export async function runFleet(options: FleetOptions, io: Io): Promise<FleetOutcome | null> {
  const { fleet, hours, seed, signatures, freeloaders, tickMs, attack, chaos } = options;
  const journal = options.journal === null ? null : createWriteStream(options.journal);
  const beganMs = performance.now();
  const run = new FleetRun({
    ...{ fleet, hours, seed: String(seed), mode: signatures, freeloaders, tickMs, equation: nativeEquation },
    ...(attack === null ? {} : { attack }),
    ...(chaos === null ? {} : { chaos: planFleetFaults({ seed: chaos.seed, count: chaos.faults, hours }) }),
    ...(journal === null ? {} : { onLine: (line: string) => journal.write(`${line}\n`) }),
    onHour: (hour) => {
      const seconds = ((performance.now() - beganMs) / 1_000).toFixed(1);
      const mebibytes = Math.round(process.memoryUsage().rss / 2 ** 20);
      io.err(
        `hour ${Math.min(hour, hours)} of ${hours}: ${run.journal.run.size} entries, ${seconds} s, ${mebibytes} MiB`,
      );
    },
  });
  for (const _ of run.steps()) {
    await (journal?.writableNeedDrain === true ? once(journal, 'drain') : nextTurn());
    if (!io.stop.aborted) continue;
    const done = ((run.queue.nowMs - startMs) / 3_600_000).toFixed(1);
    io.err(`stopped after ${done} of ${hours} virtual hours: there is no result`);
    journal?.destroy();
    return null;
  }
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

const attackNotes = [
  'where somebody attacks, a state is the hash of the state before it and of what a step read: validators read what lies under the roots that are named, check form, size and norm by the real checks, and redo the steps; a step that is not done takes a tenth of its time',
  'gains of claims are stated, not measured: 0.001 nats of honest work and of its copies, a third of it where a tenth of the steps is done, none of noise',
  'earned: what his machines were paid over what honest ones would have been, by speed and time up, tempo by tempo in the same run',
] as const;

/** Makes the same journal, and the same file but for nothing. */
function commandOf(options: FleetOptions): string {
  const { named, hours, seed, signatures, freeloaders, tickMs, attack, chaos } = options;
  const rest = [
    ...(attack === null ? [] : [`--attack ${attack.attack.name} --attack-share ${attack.share}`]),
    ...(chaos === null ? [] : [`--chaos ${chaos.seed} --faults ${chaos.faults}`]),
    ...(freeloaders > 0 ? [`--freeloaders ${freeloaders}`] : []),
    ...(tickMs === 1_000 ? [] : [`--tick-ms ${tickMs}`]),
  ];
  return [
    `./bin/accrete simulate --fleet ${named} --hours ${hours} --seed ${seed} --signatures ${signatures}`,
    ...rest,
  ].join(' ');
}

function notesOf({ signatures, fleet, tickMs, freeloaders, attack, chaos }: FleetOptions): string[] {
  return [
    signatures === 'stub'
      ? 'signatures are stubbed: nobody signs, nobody checks, and the form of entries is not parsed again; admission, fold, hash chain and Merkle tree are the real ones'
      : 'every entry is signed and checked as in a real journal',
    'all fold the same entries, so one fold serves all; heartbeats are not sent one by one: who is up and within reach counts as heard of',
    'bytes are sizes that travel over the links; validators find what the simulator knows to be true',
    `the syncer looks at the clock each ${tickMs} ms of virtual time`,
    ...(fleet.machines.some(({ accelerator }) => accelerator !== undefined) ? [acceleratorNote] : []),
    ...(attack === null ? [] : attackNotes),
    ...(chaos === null ? [] : [`${chaos.faults} faults of chaos seed ${chaos.seed} beside those of the fleet's file`]),
    ...(freeloaders > 0
      ? [`the first ${freeloaders} hotkeys of each kind claim ten times the steps, and do none of them`]
      : []),
  ];
}
