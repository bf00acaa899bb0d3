/** @file Whole networks on a virtual clock: one seed gives one journal, honest work is paid by its tokens, attacks are caught. */
import { describe, expect, it } from 'vitest';
import { nativeEquation } from '../src/cli/native-ed25519.ts';
import { attackNamed } from '../src/simulate/attacks/catalogue.ts';
import {
  type MinerOutcome,
  runScenario,
  type ScenarioOptions,
  type ScenarioOutcome,
} from '../src/simulate/scenario.ts';
import { simulationSettings } from '../src/simulate/settings.ts';
import { tinyCorpus } from './support/tiny-corpus.ts';

const corpus = tinyCorpus();
const tempoMs = simulationSettings.ledger.tempoBlocks * simulationSettings.ledger.blockMs;

const simulate = (options: Partial<ScenarioOptions>): Promise<ScenarioOutcome> =>
  runScenario({
    ...{ seed: '1', attack: null, honestMiners: 2, validators: 3, stepMs: 1_000, tempos: 2 },
    ...{ settings: simulationSettings, catalog: corpus.catalog, readCatalogFile: corpus.readFile },
    equation: nativeEquation,
    ...options,
  });

/** Share of pay over share of tokens that were truly done. */
function payShare({ miners }: ScenarioOutcome, one: MinerOutcome): number {
  const sum = (of: (miner: MinerOutcome) => number): number => miners.reduce((total, miner) => total + of(miner), 0);
  return one.emissionRao / sum(({ emissionRao }) => emissionRao) / (one.tokens / sum(({ tokens }) => tokens));
}

const named = (outcome: ScenarioOutcome, name: string): MinerOutcome =>
  outcome.miners.find((miner) => miner.name === name)!;

describe('an honest network', { timeout: 240_000 }, () => {
  it('is the same journal to the byte for one seed, and another for another', async () => {
    const short = { tempos: 1, stepMs: 2_000 };
    const [first, again, other] = [
      await simulate(short),
      await simulate(short),
      await simulate({ ...short, seed: '2' }),
    ];
    expect(first.merges).toBeGreaterThan(0);
    expect(again).toEqual(first);
    expect(other.headHash).not.toBe(first.headHash);
  });

  it('scores a newcomer in the tempo in which it joins, and nobody is refused', async () => {
    const outcome = await simulate({
      ...{ tempos: 3 },
      others: [{ name: 'newcomer', stepMs: 1_000, delayMs: Math.round(1.1 * tempoMs) }],
    });
    expect(outcome.failures).toEqual([]);
    for (const miner of outcome.miners) expect(miner.refused, miner.name).toBe(0);
    expect(named(outcome, 'newcomer').scored[1]).toBeGreaterThan(0);
    const two = ['honest-0', 'honest-1'].map((name) => payShare(outcome, named(outcome, name)));
    expect(Math.abs(two[0]! / two[1]! - 1)).toBeLessThan(0.1);
  });
});

describe('an attack', { timeout: 240_000 }, () => {
  const cases = { 'sign-flip': 'CLAIM', noise: 'STATE', 'cross-run-replay': 'WRONG_RUN' };
  for (const [name, code] of Object.entries(cases))
    it(`${name} earns nothing, by ${code}`, async () => {
      const outcome = await simulate({ attack: attackNamed(name)!, stepMs: 2_000 });
      expect(outcome.failures).toEqual([]);
      const attacker = named(outcome, 'attacker-0');
      const honest = named(outcome, 'honest-0');
      expect(attacker.codes[code]).toBeGreaterThan(0);
      expect(honest.emissionRao).toBeGreaterThan(0);
      expect(attacker.emissionRao).toBeLessThanOrEqual(0.05 * honest.emissionRao);
      expect(honest.refused).toBe(0);
    });
});
