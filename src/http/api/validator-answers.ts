/** @file `validators` and `weights`. */
import type { ValidatorIndexRow } from '../../journal/index/port.ts';
import { weightsOf } from '../../journal/scores.ts';
import type { RunState } from '../../journal/state.ts';
import type { ApiValidator, ApiValidators, ApiWeights } from '../../protocol/api/participants.ts';
import type { Hotkey } from '../../protocol/names.ts';
import { type LedgerView, type MatrixView, pulseOf, type Sources } from './sources.ts';

export async function answerValidators(sources: Sources): Promise<ApiValidators> {
  const { state, index, asOf } = sources;
  const [published, ledger] = [await index.validators(), await sources.ledger()];
  const names = new Map<Hotkey, string[]>();
  for (const { role, hotkey, name } of state.delegations.values())
    if (role === 'validator') names.set(hotkey, [...(names.get(hotkey) ?? []), name]);
  // Who judged once stays in the list, whatever became of the delegation.
  for (const { validator } of published) if (!names.has(validator)) names.set(validator, []);
  const evaluations = countBy(state.evaluations.map(({ hotkey }) => hotkey));
  const attestations = countBy(state.releases.flatMap(({ attestedBy }) => attestedBy));
  const rows: ApiValidator[] = [];
  for (const [hotkey, own] of names) {
    const row = published.find(({ validator }) => validator === hotkey);
    rows.push({
      ...judgingOf(state, hotkey, row),
      ...{ names: own.sort(), isActive: activeOf(sources, hotkey, own) },
      audits: row?.audits ?? 0,
      evaluations: evaluations.get(hotkey) ?? 0,
      attestations: attestations.get(hotkey) ?? 0,
      medianVerdictMs: row?.medianLatencyMs ?? null,
      ...ledgerPartOf(ledger, hotkey),
    });
  }
  rows.sort((a, b) => b.verdicts - a.verdicts || (a.hotkey < b.hotkey ? -1 : 1));
  return { asOf, rows };
}

function judgingOf(state: RunState, hotkey: Hotkey, row: ValidatorIndexRow | undefined) {
  const { accept = 0, ignore = 0, reject = 0 } = row ?? {};
  const standing = state.hotkeys.get(hotkey);
  const { settledVerdicts = 0, overruledVerdicts = 0, verdictScore = 0 } = standing ?? {};
  const settled = settledVerdicts + overruledVerdicts;
  return {
    hotkey,
    machineClass: standing?.machineClass ?? null,
    verdicts: accept + ignore + reject,
    byOutcome: { accept, ignore, reject },
    agreement: settled === 0 ? null : settledVerdicts / settled,
    ...{ settledVerdicts, overruledVerdicts, verdictScore },
    lastVerdictAtMs: row?.lastAtMs ?? null,
    barred: standing?.barred ?? null,
  };
}

function activeOf(sources: Sources, hotkey: Hotkey, names: readonly string[]): boolean | null {
  const pulses = names.map((name) => pulseOf(sources, 'validator', hotkey, name));
  return pulses.includes(null) ? null : pulses.some((pulse) => pulse !== undefined);
}

function ledgerPartOf(ledger: LedgerView | null, hotkey: Hotkey) {
  const neuron = ledger?.neurons.find((each) => each.hotkey === hotkey);
  const last = ledger?.matrix?.neurons.find((each) => each.hotkey === hotkey);
  return {
    stakeRao: neuron?.stakeRao ?? null,
    validatorPermit: neuron?.validatorPermit ?? null,
    emissionRao: neuron?.emissionRao ?? null,
    weightsSetAtBlock: last?.setAtBlock ?? null,
    dividends: last?.dividends ?? null,
    validatorTrust: last?.validatorTrust ?? null,
  };
}

function countBy(hotkeys: readonly Hotkey[]): Map<Hotkey, number> {
  const counts = new Map<Hotkey, number>();
  for (const hotkey of hotkeys) counts.set(hotkey, (counts.get(hotkey) ?? 0) + 1);
  return counts;
}

export async function answerWeights(sources: Sources): Promise<ApiWeights> {
  const { state, asOf } = sources;
  const matrix = (await sources.ledger())?.matrix ?? null;
  const expected = [...weightsOf(state)].map(([hotkey, weight]) => ({ hotkey, weight: Math.min(1, weight) }));
  if (matrix === null) return { asOf, atBlock: null, tempo: null, neurons: [], rows: [], expected };
  return {
    ...{ asOf, atBlock: matrix.block, tempo: matrix.tempo, expected },
    neurons: matrix.neurons.map(({ hotkey, stakeRao, consensus, incentive, dividends }, uid) => ({
      ...{ uid, hotkey, stakeRao, consensus, incentive, dividends, role: roleOf(state, hotkey) },
    })),
    rows: matrix.neurons.flatMap(rowOf),
  };
}

function rowOf(neuron: MatrixView['neurons'][number], uid: number): ApiWeights['rows'] {
  const { setAtBlock, weights, validatorTrust } = neuron;
  const total = weights.reduce((sum, [, weight]) => sum + weight, 0);
  if (setAtBlock === null || total === 0) return [];
  const shares = weights
    .filter(([, weight]) => weight > 0)
    .map(([to, weight]): [number, number] => [to, weight / total]);
  return [{ uid, setAtBlock, validatorTrust, weights: shares.sort(([a], [b]) => a - b) }];
}

function roleOf(state: RunState, hotkey: Hotkey): ApiWeights['neurons'][number]['role'] {
  const roles = new Set([...state.delegations.values()].flatMap((each) => (each.hotkey === hotkey ? [each.role] : [])));
  if (roles.has('miner')) return roles.has('validator') ? 'both' : 'miner';
  return roles.has('validator') ? 'validator' : 'other';
}
