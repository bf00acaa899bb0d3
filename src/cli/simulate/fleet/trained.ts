/** @file Does `accrete simulate --fleet F --train`: real training of preset tiny by a small fleet, its loss beside the model of it. */
import { writeFileSync } from 'node:fs';
import { loadCatalog, readCatalogFile, readCatalogPart } from '../../../data/prepared.ts';
import { planFleetFaults } from '../../../simulate/fleet/fleet-chaos.ts';
import { lossModelNote } from '../../../simulate/fleet/loss-model.ts';
import { type TrainedOutcome, trainedFormat, trainFleet } from '../../../simulate/fleet/trained-fleet.ts';
import { ensureCorpus } from '../../corpus.ts';
import type { Io } from '../../io.ts';
import { nativeEquation } from '../../native-ed25519.ts';
import { formatCount, formatShort } from '../../output.ts';
import { corpusDir } from '../../paths.ts';
import { formatTable } from '../../table.ts';
import { checkTrained, type FleetOptions } from './options.ts';

const samples = 12;

export async function runTrained(options: FleetOptions, io: Io): Promise<TrainedOutcome> {
  checkTrained(options);
  ensureCorpus('tiny');
  const { fleet, hours, named, chaos, out } = options;
  const seed = String(options.seed);
  const catalog = loadCatalog(corpusDir, 'tiny');
  const beganMs = performance.now();
  const result = await trainFleet({
    ...{ fleet, hours, seed, samples, catalog, equation: nativeEquation },
    readCatalogFile: (entry) => readCatalogFile(corpusDir, catalog, entry),
    readCatalogPart: (entry, range) => readCatalogPart(corpusDir, catalog, entry, range),
    chaos: chaos === null ? [] : planFleetFaults({ seed: chaos.seed, count: chaos.faults, hours }),
    onSample: ({ hour, up, doneTokens, mergedTokens, heldOut }) => {
      const seconds = ((performance.now() - beganMs) / 1_000).toFixed(1);
      io.err(
        `hour ${hour.toFixed(3)}: ${up} up, ${formatShort(doneTokens)} tokens done, ${formatShort(mergedTokens)} merged, held-out ${heldOut.toFixed(4)}, ${seconds} s`,
      );
    },
  });
  const added = chaos === null ? '' : ` --chaos ${chaos.seed} --faults ${chaos.faults}`;
  const outcome: TrainedOutcome = {
    format: trainedFormat,
    command: `./bin/accrete simulate --fleet ${named} --train --hours ${hours} --seed ${seed}${added}`,
    name: fleet.name,
    notes: [
      'preset tiny is trained for real, by whole roles with real bytes, signatures, checks and replays on a virtual clock; steps of 2 sequences of 32 tokens where the fleet says nothing else',
      'a step takes as long as the machine of the fleet would, messages and bytes take the time of its links; what validators and the syncer compute takes no virtual time, and a machine that is cut off still hears the journal',
      `modelled beside it: ${lossModelNote}; it was not fitted to a network this small`,
    ],
    ...result,
  };
  if (out !== null) writeFileSync(out, `${JSON.stringify(outcome, null, 1)}\n`);
  return outcome;
}

export function formatTrained(outcome: TrainedOutcome): string[] {
  const { name, hours, seed, learners, validators, events, headHash, merges } = outcome;
  const happened = [
    ...Object.entries(outcome.faults),
    ...Object.entries(outcome.chaos).map(([kind, count]) => [`${kind} by chaos`, count] as const),
  ].filter(([, count]) => count > 0);
  const rows = outcome.samples.map((sample) => [
    sample.hour.toFixed(3),
    String(sample.up),
    formatShort(sample.doneTokens),
    formatShort(sample.mergedTokens),
    sample.heldOut.toFixed(4),
    sample.mergedTokens === 0 ? '-' : sample.modelled.toFixed(4),
  ]);
  return [
    `${name}, ${hours} virtual hours, seed ${seed}: ${learners} learners that train, ${validators} validators`,
    `${formatCount(events)} entries, head ${headHash}, ${formatCount(merges)} merges`,
    `faults: ${happened.map(([kind, count]) => `${kind} ${count}`).join(', ') || 'none'}`,
    ...formatTable(['>hour', '>up', '>tokens done', '>merged', '>held-out', '>modelled'], rows),
    ...outcome.failures.map((failure) => `failed: ${failure}`),
    ...outcome.notes.map((note) => `note: ${note}`),
    `again: ${outcome.command}`,
  ];
}
