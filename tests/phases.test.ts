/** @file A whole network over phases: real training on a virtual clock, another length, positions and batch, and every sequence once. */
import { describe, expect, it } from 'vitest';
import { nativeEquation } from '../src/cli/native-ed25519.ts';
import { manifestOf } from '../src/journal/queries.ts';
import type { RunState } from '../src/journal/state.ts';
import type { EventBody } from '../src/protocol/messages.ts';
import type { Decimal } from '../src/protocol/names.ts';
import { phaseTermsOf, runDataOf } from '../src/roles/run-data.ts';
import type { PhaseSettings, RunSettings } from '../src/roles/run-presets.ts';
import { auditCounts } from '../src/simulate/chaos/counted-once.ts';
import { SimulatedNetwork } from '../src/simulate/network.ts';
import { simulationSettings } from '../src/simulate/settings.ts';
import { eachInRanges } from '../src/util/ranges.ts';
import { tinyCorpus } from './support/tiny-corpus.ts';

const corpus = tinyCorpus();
const d = (text: string): Decimal => text as Decimal;
const { schedule } = simulationSettings;

const phases: readonly PhaseSettings[] = [
  {
    ...{ name: 'base', targetTokens: 3_000, sequenceLength: 16, schedule },
    batch: { startSequences: 1, rampTokens: 1_000 },
    gates: [
      { metric: 'held-out', atMost: d('20') },
      { metric: 'task/continuation', atLeast: d('0') },
    ],
  },
  {
    ...{ name: 'long', targetTokens: 3_000, sequenceLength: 32 },
    schedule: { ...schedule, warmupFrom: d('0.0005'), warmupTokens: 256 },
    context: { useNope: true, nopeAfterPosition: 8 },
  },
];

const settings: RunSettings = {
  ...simulationSettings,
  phases,
  recipe: { ...simulationSettings.recipe, batchSequences: 2, microBatches: 2 },
  audit: { ...simulationSettings.audit, perTempo: 3 },
};

async function simulate(): Promise<SimulatedNetwork> {
  const network = await SimulatedNetwork.open({
    ...{ seed: 'phases', settings, catalog: corpus.catalog, readCatalogFile: corpus.readFile },
    ...{ equation: nativeEquation, minerCount: 2 },
  });
  for (const name of ['validator-0', 'validator-1', 'validator-2']) await network.addValidator(name);
  for (const [i, name] of ['fast', 'slow'].entries()) network.addMiner({ name, stepMs: 700 + 500 * i });
  // The draw says which claims are tested: until one of the second phase was.
  for (let i = 0; i < 60 && !(isFarEnough(network.run) && isGainTested(network.run)); i++) await network.pass(5_000);
  return network;
}

const isFarEnough = ({ phaseCellTokens, fragments }: RunState): boolean =>
  phaseCellTokens[1]! / fragments.length >= 1_500;

const isGainTested = ({ claims }: RunState): boolean =>
  [...claims.values()].some(
    ({ status, body, beacon }) => status === 'merged' && body.phase === 1 && beacon!.gainTested,
  );

/** Spans of text of every merged claim, by source and pass; a fragment's alone, as each trains on all. */
function spansOf(run: RunState): string[] {
  const { manifest } = run.run!;
  const terms = phaseTermsOf(run);
  const data = runDataOf(manifest, new Map(), 0, () => terms);
  return [...run.claims.values()]
    .filter(({ status, body }) => status === 'merged' && body.fragment === 0)
    .flatMap(({ body }) =>
      [...eachInRanges(body.sequences)].map((position) => {
        const { source, pass, span, part } = data.placeOf(body.phase, position);
        return `${source}/${pass}/${span}${body.phase === 0 ? `/${part}` : ''}`;
      }),
    );
}

describe('a run of two phases', { timeout: 240_000 }, () => {
  it('changes once, for everybody, and counts every sequence once', async () => {
    const network = await simulate();
    try {
      const { run } = network;
      expect(network.failures).toEqual([]);
      expect(run.phase).toBe(1);
      const entries = await network.journal.read(0, 1_000_000);
      const changes = entries.filter(({ message }) => message.kind === 'phase-change');
      expect(changes).toHaveLength(1);
      const { outerStep, cursor } = changes[0]!.message.body as EventBody<'phase-change'>;
      expect(run.phases[1]).toMatchObject({ outerStep, seq: changes[0]!.seq });
      expect(cursor).toBe(run.cursor[0]);
      // After the event no lease is of the old phase; before it none is of the new.
      for (const { seq, phase } of run.leases.values())
        expect(phase, `lease at ${seq}`).toBe(seq > changes[0]!.seq ? 1 : 0);
      expect(auditCounts(entries, run)).toEqual([]);
      const spans = spansOf(run);
      expect(new Set(spans).size).toBe(spans.length);
      const whole = new Set(spans.map((span) => span.split('/').slice(0, 3).join('/')));
      const parts = spans
        .filter((span) => span.split('/').length === 4)
        .map((span) => span.split('/').slice(0, 3).join('/'));
      // No span of the second phase was touched by the first.
      expect(whole.size).toBe(new Set(parts).size + spans.length - parts.length);
      // Of both phases claims were merged, gains tested and segments redone; nobody honest was refused.
      const merged = [...run.claims.values()].filter(({ status }) => status === 'merged');
      for (const phase of [0, 1]) expect(merged.filter(({ body }) => body.phase === phase).length).toBeGreaterThan(2);
      for (const claim of run.claims.values()) expect(claim.status, claim.sentence).not.toBe('refused');
      expect(isGainTested(run)).toBe(true);
      const redone = [...run.audits.values()].filter(({ status }) => status === 'passed' || status === 'failed');
      expect(redone.length).toBeGreaterThan(1);
      for (const { status, sentence } of redone) expect(status, sentence).toBe('passed');
      // The gate was judged by a quorum, on a release of the phase.
      const judged = run.releases.filter(({ phase }) => phase === 0).map(({ body }) => body.release);
      const judges = judged.map((release) => run.evaluations.filter((each) => each.release === release).length);
      expect(Math.max(...judges)).toBeGreaterThanOrEqual(2);
      expect(manifestOf(run)).toBe(run.run!.manifest);
    } finally {
      await network.close();
    }
  });
});
