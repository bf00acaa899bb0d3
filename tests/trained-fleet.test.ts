/** @file A small fleet that trains for real: its machines come, go and fail, the loss falls, one seed gives one journal. */
import { expect, it } from 'vitest';
import { ensureCorpus } from '../src/cli/corpus.ts';
import { nativeEquation } from '../src/cli/native-ed25519.ts';
import { corpusDir } from '../src/cli/paths.ts';
import { loadCatalog, readCatalogFile, readCatalogPart } from '../src/data/prepared.ts';
import { fleetSchema } from '../src/simulate/fleet/fleet-file.ts';
import { trainFleet } from '../src/simulate/fleet/trained-fleet.ts';

const fleet = fleetSchema.parse({
  name: 'trained',
  machines: [
    { kind: 'steady', count: 2, tokensPerSecond: 40, spread: 2, site: 'a' },
    { kind: 'guest', count: 1, tokensPerSecond: 40, lossRate: 0.1, site: 'b' },
  ],
  validators: { count: 1 },
  run: { quorum: 1, committee: 1, auditsPerTempo: 0 },
});

it('trains, loses machines and goes on, and gives one journal for one seed', async () => {
  ensureCorpus('tiny');
  const catalog = loadCatalog(corpusDir, 'tiny');
  const hours = 0.03;
  const minute = 60_000;
  const run = () =>
    trainFleet({
      ...{ fleet, hours, seed: '1', samples: 2, catalog, equation: nativeEquation },
      readCatalogFile: (entry) => readCatalogFile(corpusDir, catalog, entry),
      readCatalogPart: (entry, range) => readCatalogPart(corpusDir, catalog, entry, range),
      chaos: [
        { kind: 'crash', atMs: 1.1 * minute, holdMs: 5_000, target: 0 },
        { kind: 'partition', atMs: 1.2 * minute, holdMs: 4_000, target: 0.5 },
        { kind: 'leave', atMs: 1.4 * minute, holdMs: 20_000, target: 0.9 },
      ],
    });
  const first = await run();
  expect(first.failures).toEqual([]);
  expect(first.chaos).toEqual({ crash: 1, leave: 1, partition: 1 });
  expect(first.faults.joins).toBeGreaterThan(3);
  expect(first.merges).toBeGreaterThan(0);
  const [before, , after] = first.samples;
  expect(after!.mergedTokens).toBeGreaterThan(0);
  expect(after!.heldOut).toBeLessThan(before!.heldOut - 0.1);
  const again = await run();
  expect(again.headHash).toBe(first.headHash);
  expect(again.samples).toEqual(first.samples);
}, 1_200_000);
