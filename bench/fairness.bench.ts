/** @file What honest miners of unequal speed and a newcomer are paid for their work, in whole networks on a virtual clock. */
import { nativeEquation } from '../src/cli/native-ed25519.ts';
import { corpusDir } from '../src/cli/paths.ts';
import { loadCatalog, readCatalogFile } from '../src/data/prepared.ts';
import { runScenario } from '../src/simulate/scenario.ts';
import { simulationSettings, withLongTempos } from '../src/simulate/settings.ts';
import type { Bench } from './measure.ts';

const settings = withLongTempos(simulationSettings, 4);
const tempoMs = settings.ledger.tempoBlocks * settings.ledger.blockMs;
const tempos = Number(process.env.ACCRETE_FAIRNESS_TEMPOS ?? 8);

export const fairness: Bench = {
  name: 'fairness',
  about: `preset tiny, 3 miners of 1 s a step, one of half and one of a tenth of the speed, a newcomer in the second tempo; ${tempos} tempos of ${tempoMs / 1_000} virtual seconds (minutes)`,
  isLong: true,
  async run() {
    const catalog = loadCatalog(corpusDir, 'tiny');
    const { miners, failures } = await runScenario({
      ...{ seed: '1', attack: null, catalog, honestMiners: 3, validators: 3, stepMs: 1_000, tempos, settings },
      others: [
        { name: 'half', stepMs: 2_000 },
        { name: 'tenth', stepMs: 10_000 },
        { name: 'newcomer', stepMs: 1_000, delayMs: 1.3 * tempoMs },
      ],
      equation: nativeEquation,
      readCatalogFile: (entry) => readCatalogFile(corpusDir, catalog, entry),
    });
    if (failures.length > 0) throw new Error(failures.join('; '));
    const sum = (of: (miner: (typeof miners)[number]) => number): number => miners.reduce((all, m) => all + of(m), 0);
    const [paid, done, scored] = [sum((m) => m.emissionRao), sum((m) => m.tokens), sum(scoredOf)];
    return miners.map((miner) => ({
      what: miner.name,
      value: (miner.emissionRao / paid / (miner.tokens / done)).toFixed(3),
      detail: `share of pay over share of tokens done; scored over done ${(scoredOf(miner) / scored / (miner.tokens / done)).toFixed(3)}; by tempo ${miner.scored.join(' ')} cell-tokens; ${miner.claims} claims, ${miner.refused} refused`,
    }));
  },
};

const scoredOf = ({ scored }: { readonly scored: readonly number[] }): number => scored.reduce((sum, x) => sum + x, 0);
