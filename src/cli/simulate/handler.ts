/** @file Does `accrete simulate`: runs with and without the attack, and the report. */
import { loadCatalog, readCatalogFile, readCatalogPart } from '../../data/prepared.ts';
import { type AttackReport, reportAttack } from '../../simulate/attack-report.ts';
import type { Attack } from '../../simulate/attacks/attack.ts';
import { attacks } from '../../simulate/attacks/catalogue.ts';
import { fleetAttackNames } from '../../simulate/fleet/fleet-attacks.ts';
import { runScenario, type ScenarioOptions, type ScenarioOutcome, withoutAttack } from '../../simulate/scenario.ts';
import { simulationSettings, withMergeRule } from '../../simulate/settings.ts';
import type { Interval } from '../../simulate/statistics.ts';
import type { Handler } from '../command.ts';
import { ensureCorpus } from '../corpus.ts';
import type { Io } from '../io.ts';
import { nativeEquation } from '../native-ed25519.ts';
import { corpusDir } from '../paths.ts';
import { interruptedExitCode } from '../speech.ts';
import { formatTable } from '../table.ts';
import { formatChaos } from './chaos/report.ts';
import { runChaos } from './chaos/run.ts';
import { formatGoodput, goodputName, runGoodput } from './fleet/goodput.ts';
import { parseFleetOptions, parseRunLength } from './fleet/options.ts';
import { formatFleet } from './fleet/report.ts';
import { runFleet } from './fleet/run.ts';
import { formatTrained, runTrained } from './fleet/trained.ts';
import { parseSimulateOptions, type SimulateOptions } from './options.ts';

export const handle: Handler = async (settings, io) => {
  const options = parseSimulateOptions(settings);
  const isJson = settings.switch('json');
  if (options.attack === 'list') {
    for (const { name, about } of attacks) {
      const inFleets = fleetAttackNames.includes(name);
      io.out(
        isJson ? JSON.stringify({ name, about, inFleets }) : `${name}: ${about}${inFleets ? ' (--fleet too)' : ''}`,
      );
    }
    return 0;
  }
  if (options.chaos !== null) {
    const report = await runChaos(options.chaos, io);
    if (isJson) io.out(JSON.stringify(report));
    else for (const line of formatChaos(report)) io.out(line);
    return report.problems.length === 0 ? 0 : 1;
  }
  if (settings.has('fleet') && settings.text('fleet') === goodputName) {
    const report = await runGoodput(parseRunLength(settings), io);
    if (report === null) return interruptedExitCode;
    if (isJson) io.out(JSON.stringify(report));
    else for (const line of formatGoodput(report)) io.out(line);
    return 0;
  }
  if (settings.has('fleet') && settings.switch('train')) {
    const outcome = await runTrained(parseFleetOptions(settings), io);
    if (isJson) io.out(JSON.stringify(outcome));
    else for (const line of formatTrained(outcome)) io.out(line);
    return outcome.failures.length === 0 ? 0 : 1;
  }
  if (settings.has('fleet')) {
    const outcome = await runFleet(parseFleetOptions(settings), io);
    if (outcome === null) return interruptedExitCode;
    if (isJson) io.out(JSON.stringify(outcome));
    else for (const line of formatFleet(outcome)) io.out(line);
    return 0;
  }
  ensureCorpus('tiny');
  const attack = options.attack === 'none' ? null : options.attack;
  const runs: { attacked: ScenarioOutcome; baseline: ScenarioOutcome }[] = [];
  for (let i = 0; i < options.seeds; i++) {
    const seed = String(options.seed + i);
    const scenario = scenarioOf(options, seed, attack, io);
    const baseline = await runScenario(withoutAttack(scenario));
    runs.push({ baseline, attacked: attack === null ? baseline : await runScenario(scenario) });
  }
  if (isJson) io.out(JSON.stringify({ runs, ...(attack === null ? {} : { report: reportAttack(attack.name, runs) }) }));
  else {
    for (const line of describeRun(runs.at(-1)!.attacked)) io.out(line);
    if (attack !== null) for (const line of describeReport(reportAttack(attack.name, runs))) io.out(line);
  }
  return runs.some(({ attacked, baseline }) => attacked.failures.length + baseline.failures.length > 0) ? 1 : 0;
};

function scenarioOf(options: SimulateOptions, seed: string, attack: Attack | null, io: Io): ScenarioOptions {
  const catalog = loadCatalog(corpusDir, 'tiny');
  const { miners: honestMiners, validators, stepMs, tempos } = options;
  return {
    ...{ seed, attack, catalog, honestMiners, validators, stepMs, tempos },
    settings: withMergeRule(simulationSettings, options.mergeRule),
    equation: nativeEquation,
    readCatalogFile: (entry) => readCatalogFile(corpusDir, catalog, entry),
    readCatalogPart: (entry, range) => readCatalogPart(corpusDir, catalog, entry, range),
    onTempo: (tempo) => io.err(`seed ${seed}, ${attack?.name ?? 'no attack'}: tempo ${tempo + 1} of ${tempos}`),
  };
}

function describeRun({ miners, validators, heldOut, merges, notices, failures }: ScenarioOutcome): string[] {
  const paid = miners.reduce((sum, { emissionRao }) => sum + emissionRao, 0);
  const worked = miners.reduce((sum, { tokens }) => sum + tokens, 0);
  const percent = (part: number, whole: number): string =>
    whole === 0 ? '-' : `${((100 * part) / whole).toFixed(1)} %`;
  const rows = miners.map((miner) => [
    miner.name,
    String(miner.tokens),
    percent(miner.tokens, worked),
    percent(miner.emissionRao, paid),
    `${miner.claims - miner.refused}/${miner.claims}`,
    Object.entries(miner.codes)
      .map(([code, count]) => `${code} ${count}`)
      .join(', '),
  ]);
  const barred = validators.filter((validator) => validator.barred !== null);
  return [
    ...formatTable(
      ['', '>', '>', '>', '>', ''],
      [['miner', 'tokens done', 'share', 'paid', 'claims kept', 'codes'], ...rows],
    ),
    `held-out loss ${heldOut.toFixed(4)} nats a token after ${merges} merges`,
    ...barred.map(({ name, barred }) => `${name} is barred: ${barred}`),
    ...notices
      .slice(0, 1)
      .map(
        (first) =>
          `${first.by} notices another history ${first.afterEvents} events after it began, by a ${first.kind}; ${notices.length} messages in all tell of it`,
      ),
    ...failures.map((failure) => `failed: ${failure}`),
  ];
}

export function describeReport({ name, earned, lossHarm, caughtBy, honestPay, honestRefused }: AttackReport): string[] {
  const codes = Object.entries(caughtBy).map(([code, count]) => `${code} ${count}`);
  return [
    `${name}: earned ${interval(earned, 3)} of an honest miner`,
    `  held-out loss ${interval(lossHarm, 4)} nats a token against the run without it`,
    `  caught by ${codes.join(', ') || 'nothing'}`,
    `  honest miners: paid ${honestPay.map((x) => x.toFixed(3)).join(' to ')} of their share of work, ${(100 * honestRefused).toFixed(2)} % of claims refused`,
  ];
}

const interval = ({ mean, halfWidth, count }: Interval, digits: number): string =>
  count < 2 ? mean.toFixed(digits) : `${mean.toFixed(digits)} ± ${halfWidth.toFixed(digits)}`;
