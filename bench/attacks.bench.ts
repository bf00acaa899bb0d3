/** @file Every attack of the simulator over several seeds, each beside the same run without it. */
import { nativeEquation } from '../src/cli/native-ed25519.ts';
import { corpusDir } from '../src/cli/paths.ts';
import { loadCatalog, readCatalogFile } from '../src/data/prepared.ts';
import { runSettings } from '../src/roles/run-presets.ts';
import { reportAttack } from '../src/simulate/attack-report.ts';
import type { Attack } from '../src/simulate/attacks/attack.ts';
import { attacks } from '../src/simulate/attacks/catalogue.ts';
import { runScenario, type ScenarioOutcome } from '../src/simulate/scenario.ts';
import type { Bench, BenchRow } from './measure.ts';

const seeds = Array.from({ length: Number(process.env.ACCRETE_ATTACK_SEEDS ?? 5) }, (_, i) => String(i + 1));
const chosen = process.env.ACCRETE_ATTACKS?.split(',');

export const attacksBench: Bench = {
  name: 'attacks',
  about: `preset tiny, 8 honest miners, 5 validators, 4 tempos, seeds ${seeds.join(' ')} (hours; ACCRETE_ATTACKS=a,b and ACCRETE_ATTACK_SEEDS=n choose)`,
  isLong: true,
  async run() {
    const rows: BenchRow[] = [];
    const baselines = new Map<string, ScenarioOutcome>();
    for (const seed of seeds) baselines.set(seed, await simulate(seed, null));
    for (const attack of attacks.filter(({ name }) => chosen?.includes(name) ?? true)) {
      const runs = [];
      for (const seed of seeds) runs.push({ attacked: await simulate(seed, attack), baseline: baselines.get(seed)! });
      const { earned, lossHarm, caughtBy, honestPay, honestRefused } = reportAttack(attack.name, runs);
      const codes = Object.entries(caughtBy).map(([code, count]) => `${code} ${count}`);
      const row = {
        what: attack.name,
        value: `${earned.mean.toFixed(3)} ± ${earned.halfWidth.toFixed(3)}`,
        detail: `loss ${lossHarm.mean.toFixed(4)} ± ${lossHarm.halfWidth.toFixed(4)}; honest pay ${honestPay.map((x) => x.toFixed(3)).join('-')}, refused ${(100 * honestRefused).toFixed(2)} %; ${codes.join(', ')}`,
      };
      console.error(`${row.what}  ${row.value}  ${row.detail}`);
      rows.push(row);
    }
    return rows;
  },
};

function simulate(seed: string, attack: Attack | null): Promise<ScenarioOutcome> {
  const catalog = loadCatalog(corpusDir, 'tiny');
  return runScenario({
    ...{ seed, attack, catalog, honestMiners: 8, validators: 5, stepMs: 500, tempos: 4 },
    settings: runSettings.tiny,
    equation: nativeEquation,
    readCatalogFile: (entry) => readCatalogFile(corpusDir, catalog, entry),
  });
}
