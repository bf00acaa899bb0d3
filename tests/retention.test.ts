/**
 * @file A store over a long simulated run keeps what the manifest's policy says and no more, while learners take most versions
 * from the merges that made them. Real roles, real merges in `topk`; the virtual clock.
 */
import { expect, it } from 'vitest';
import { nativeEquation } from '../src/cli/native-ed25519.ts';
import { manifestOf } from '../src/journal/queries.ts';
import type { EventBody } from '../src/protocol/messages.ts';
import { type Decimal, fromDecimal, type Hash } from '../src/protocol/names.ts';
import { SimulatedNetwork } from '../src/simulate/network.ts';
import { simulationSettings } from '../src/simulate/settings.ts';
import type { Log } from '../src/util/clock.ts';
import { tinyCorpus } from './support/tiny-corpus.ts';

const corpus = tinyCorpus();

interface AtHand {
  readonly redoneFrom: number;
  readonly fetchedBytes: number;
}

/** Notes how fragments came. */
function listening(into: AtHand[]): Log {
  const log: Log = {
    ...{ error: () => {}, warn: () => {}, info: () => {} },
    debug: (event, fields) => {
      if (event === 'fragment at hand') into.push(fields as unknown as AtHand);
    },
    child: () => log,
  };
  return log;
}

it.each(['0', '0.5'] as const)('outer momentum %s', { timeout: 240_000 }, async (outerMomentum) => {
  const atHand: AtHand[] = [];
  const network = await SimulatedNetwork.open({
    ...{ seed: 'retention', catalog: corpus.catalog, readCatalogFile: corpus.readFile, minerCount: 2 },
    settings: {
      ...simulationSettings,
      codec: 'topk',
      merge: { ...simulationSettings.merge, outerMomentum: outerMomentum as Decimal },
      audit: { ...simulationSettings.audit, perTempo: 0 },
      release: { ...simulationSettings.release, everyMerges: 1, keepReleases: 2, attestations: 1 },
    },
    equation: nativeEquation,
    log: listening(atHand),
  });
  try {
    for (const name of ['validator-0', 'validator-1']) await network.addValidator(name);
    for (const name of ['honest-0', 'honest-1']) network.addMiner({ name, stepMs: 1_000 });
    const heldStates: number[] = [];
    for (const releases of [6, 14]) {
      await network.pass(3_600_000, () => network.run.releases.length >= releases);
      await network.pass(20_000);
      expect(network.failures).toEqual([]);
      heldStates.push(await checkPolicy(network));
    }
    // Twice as long a run holds no more.
    expect(heldStates[1]).toBeLessThanOrEqual(heldStates[0]! * 1.5);
    const redone = atHand.filter(({ redoneFrom }) => redoneFrom > 0);
    expect(redone.length).toBeGreaterThan(atHand.length / 2);
    const stateBytes = network.run.fragments[0]!.artifact.sizeBytes;
    // With momentum the first merge of a fragment fetches it; later ones have it. Headers and selection biases are most of a
    // claim of this size.
    const bytes = redone.map(({ fetchedBytes }) => fetchedBytes).sort((a, b) => a - b);
    expect(bytes[bytes.length >> 1]).toBeLessThan(stateBytes / 6);
  } finally {
    await network.close();
  }
});

/** Every stored state and claim is one that the policy keeps. Returns how many states there are. */
async function checkPolicy(network: SimulatedNetwork): Promise<number> {
  const { run, store } = network;
  const { keepReleases } = manifestOf(run).release;
  expect(fromDecimal(manifestOf(run).merge.outerMomentum)).toBeLessThan(1);
  const sizes = store.sizes();
  const entries = await network.journal.read(0, run.size);
  /** Segment in which a state was superseded, or a claim settled; the newest where bytes served twice. */
  const usedUntil = new Map<Hash, number>();
  const heads = new Map<number, readonly Hash[]>();
  let segment = 0;
  for (const { message } of entries) {
    if (message.kind === 'release') segment++;
    if (message.kind !== 'fragment-published') continue;
    const { fragment, artifact, momentum } = message.body as EventBody<'fragment-published'>;
    for (const root of heads.get(fragment) ?? []) usedUntil.set(root, segment);
    heads.set(fragment, [artifact.root, momentum.root]);
  }
  const present = new Set([...heads.values()].flat());
  const states = [...usedUntil].filter(([root]) => sizes.has(root) && !present.has(root));
  // The newest release may have come between two looks of the retention.
  for (const [root, until] of states)
    expect(until, `state ${root} superseded in segment ${until}, ${segment} releases`).toBeGreaterThanOrEqual(
      segment - keepReleases - 2,
    );
  for (const root of present) expect(sizes.has(root)).toBe(true);
  const old = [...run.claims.values()].filter(({ status }) => status === 'merged');
  const keptClaims = old.filter(({ body }) => sizes.has(body.artifact.root));
  expect(keptClaims.length).toBeLessThan(old.length);
  return states.length + present.size;
}
