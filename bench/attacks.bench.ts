/** @file Every attack of the simulator over several seeds, each beside the same run without it. */
import { nativeEquation } from '../src/cli/native-ed25519.ts';
import { corpusDir } from '../src/cli/paths.ts';
import { loadCatalog, readCatalogFile } from '../src/data/prepared.ts';
import { reportAttack } from '../src/simulate/attack-report.ts';
import type { Attack } from '../src/simulate/attacks/attack.ts';
import { attacks } from '../src/simulate/attacks/catalogue.ts';
import { runScenario, type ScenarioOptions, type ScenarioOutcome, withoutAttack } from '../src/simulate/scenario.ts';
import { simulationSettings } from '../src/simulate/settings.ts';
import type { Bench, BenchRow } from './measure.ts';

const seeds = (process.env.ACCRETE_ATTACK_SEEDS ?? '1,2,3,4,5').split(',');
const tempos = Number(process.env.ACCRETE_ATTACK_TEMPOS ?? 3);
const chosen = process.env.ACCRETE_ATTACKS?.split(',');

export const attacksBench: Bench = {
  name: 'attacks',
  about: `preset tiny, 8 honest miners, 5 validators, ${tempos} tempos, seeds ${seeds.join(' ')} (hours; ACCRETE_ATTACKS=a,b, ACCRETE_ATTACK_SEEDS=1,2 and ACCRETE_ATTACK_TEMPOS=n choose)`,
  isLong: true,
  async run() {
    const rows: BenchRow[] = [];
    const baselines = new Map<string, ScenarioOutcome>();
    /** Once for each seed and settings. */
    const baselineOf = async (scenario: ScenarioOptions): Promise<ScenarioOutcome> => {
      const plain = withoutAttack(scenario);
      const key = `${plain.seed} ${JSON.stringify(plain.settings)}`;
      if (!baselines.has(key)) baselines.set(key, await runScenario(plain));
      return baselines.get(key)!;
    };
    for (const attack of attacks.filter(({ name }) => chosen?.includes(name) ?? true)) {
      const runs = [];
      for (const seed of seeds) {
        const scenario = scenarioOf(seed, attack);
        runs.push({ baseline: await baselineOf(scenario), attacked: await runScenario(scenario) });
        const one = reportAttack(attack.name, runs.slice(-1));
        console.error(
          `${attack.name}, seed ${seed}: ${one.earned.mean.toFixed(4)}, loss ${one.lossHarm.mean.toFixed(4)}`,
        );
      }
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

function scenarioOf(seed: string, attack: Attack): ScenarioOptions {
  const catalog = loadCatalog(corpusDir, 'tiny');
  return {
    ...{ seed, attack, catalog, honestMiners: 8, validators: 5, stepMs: 1_000, tempos },
    settings: simulationSettings,
    equation: nativeEquation,
    readCatalogFile: (entry) => readCatalogFile(corpusDir, catalog, entry),
  };
}
