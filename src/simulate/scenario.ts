/**
 * @file One simulated run, with or without an attack, and what came of it: what everybody did, was paid and was told, and
 * the held-out loss of the merged model.
 */

import type { Sequence } from '../data/shards.ts';
import { openEvaluator } from '../evaluation/evaluator.ts';
import { heldOutLosses, heldOutSequences } from '../evaluation/held-out.ts';
import { phaseOf } from '../journal/queries.ts';
import type { RunState } from '../journal/state.ts';
import { endOfTextOf } from '../model/quasar-long/config.ts';
import type { HotkeySigner } from '../protocol/keys.ts';
import { configOfPhase } from '../roles/phase-config.ts';
import { fetchFrozen, runModelOf } from '../roles/run-model.ts';
import type { RunSettings } from '../roles/run-presets.ts';
import { HeadParams } from '../roles/validator/heads.ts';
import type { Attack } from './attacks/attack.ts';
import type { Notice } from './forked-bus.ts';
import { SimulatedNetwork, type SimulationOptions } from './network.ts';

export interface ScenarioOptions extends Omit<SimulationOptions, 'settings' | 'minerCount'> {
  readonly settings: RunSettings;
  readonly attack: Attack | null;
  readonly honestMiners: number;
  readonly validators: number;
  /** Virtual time of an honest miner's inner step. */
  readonly stepMs: number;
  readonly tempos: number;
  /** Honest miners beside the others: slower ones, newcomers. */
  readonly others?: readonly { readonly name: string; readonly stepMs: number; readonly delayMs?: number }[];
  readonly onTempo?: (tempo: number) => void;
}

/** The same run without the attack: with the settings that it asks for. */
export function withoutAttack(options: ScenarioOptions): ScenarioOptions {
  const { attack, settings } = options;
  return { ...options, attack: null, settings: attack?.settings?.(settings) ?? settings };
}

export interface MinerOutcome {
  readonly name: string;
  readonly isAttacker: boolean;
  /** Of the inner steps that were truly done, by the simulator's own count; of refused claims too. */
  readonly tokens: number;
  readonly emissionRao: number;
  /** Cell-tokens that each tempo scored, from the first. */
  readonly scored: readonly number[];
  readonly claims: number;
  /** Refused by verdicts; claims that were too late are no mistake of anybody's. */
  readonly refused: number;
  /** How often each code was said of its claims and audits, `OK` left out. */
  readonly codes: Readonly<Record<string, number>>;
}

export interface ScenarioOutcome {
  readonly miners: readonly MinerOutcome[];
  readonly validators: readonly {
    readonly name: string;
    readonly isAttacker: boolean;
    readonly barred: string | null;
  }[];
  /** Nats a token on held-out text of the training sources. */
  readonly heldOut: number;
  readonly merges: number;
  readonly headHash: string;
  /** What told that the syncer shows two histories, by whom, and how many events after the first difference. */
  readonly notices: readonly Notice[];
  readonly failures: readonly string[];
}

export async function runScenario(options: ScenarioOptions): Promise<ScenarioOutcome> {
  const { attack, honestMiners, validators, stepMs, tempos, others = [] } = options;
  const settings = attack?.settings?.(options.settings) ?? options.settings;
  const network = await SimulatedNetwork.open({
    ...options,
    settings,
    // The quorum is made from it: the same with and without the attack.
    minerCount: honestMiners + others.length,
  });
  try {
    const { validators: lying = 0, deceived = 0 } = attack ?? {};
    if (deceived > 0) await network.equivocate('honest-0');
    for (let i = 0; i < validators; i++)
      await network.addValidator(`validator-${i}`, i < lying ? attack!.validator!() : {}, deceived > 0 && i === 0);
    for (let i = 0; i < honestMiners; i++)
      network.addMiner({ name: `honest-${i}`, stepMs, isDeceived: i >= honestMiners - deceived });
    for (const other of others) network.addMiner(other);
    for (let i = 0; i < (attack?.miners ?? 0); i++)
      network.addMiner({ name: `attacker-${i}`, stepMs: stepMs / (attack!.speed ?? 1), behave: attack!.miner(i) });
    const { tempoBlocks, blockMs } = settings.ledger;
    for (let tempo = 0; tempo < tempos; tempo++) {
      await network.pass(tempoBlocks * blockMs);
      options.onTempo?.(tempo);
    }
    return await outcomeOf(network, lying);
  } finally {
    await network.close();
  }
}

async function outcomeOf(network: SimulatedNetwork, lying: number): Promise<ScenarioOutcome> {
  const { run } = network;
  const miners: MinerOutcome[] = [];
  for (const { name, hotkey, tokens, told } of network.miners) {
    const emissionRao = (await network.neuron(hotkey))?.emissionRao ?? 0;
    const isAttacker = network.attackers.has(hotkey.hotkey);
    const standing = standingOf(run, hotkey);
    const codes = { ...told, ...standing.codes };
    const scored = run.tempo.history.map(
      ({ work }) => work.find((each) => each.hotkey === hotkey.hotkey)?.cellTokens ?? 0,
    );
    miners.push({ name, isAttacker, tokens, emissionRao, scored, ...standing, codes });
  }
  return {
    miners,
    validators: network.validators.map(({ name, hotkey }, i) => ({
      name,
      isAttacker: i < lying,
      barred: run.hotkeys.get(hotkey.hotkey)?.barred?.sentence ?? null,
    })),
    heldOut: await heldOutLoss(network),
    merges: run.merges,
    headHash: run.headHash,
    notices: network.notices.map(({ by, ...notice }) => ({ ...notice, by: nameOf(network, by) })),
    failures: network.failures.map(({ name, error }) => `${name}: ${String(error)}`),
  };
}

/** Whose session key signed. */
function nameOf(network: SimulatedNetwork, signer: string): string {
  const key = [...network.run.delegations.values()].find(({ sessionKey }) => signer.endsWith(sessionKey));
  return key?.name ?? signer;
}

function standingOf(run: RunState, { hotkey }: HotkeySigner): Pick<MinerOutcome, 'claims' | 'refused' | 'codes'> {
  const codes: Record<string, number> = {};
  const count = (code: string | null): void => {
    if (code !== null && code !== 'OK') codes[code] = (codes[code] ?? 0) + 1;
  };
  const claims = [...run.claims.values()].filter((claim) => claim.hotkey === hotkey);
  for (const claim of claims) count(claim.code);
  for (const audit of run.audits.values()) if (audit.body.hotkey === hotkey) count(audit.code);
  const refused = claims.filter(({ status }) => status === 'refused').length;
  return { claims: claims.length, refused, codes };
}

/** Of the merged model as it is now, nats a token on held-out text of the training sources. */
export async function heldOutLoss({ manifest, store, run }: SimulatedNetwork): Promise<number> {
  const model = runModelOf(manifest);
  const phase = phaseOf(run);
  const { sequenceLength: seqLen, mixture } = phase;
  const signal = new AbortController().signal;
  const endOfText = endOfTextOf(model.config);
  const { shards } = manifest.data;
  const rows = heldOutSequences({ shards, loaded: store, endOfText, seqLen, sequences: 64, mixture });
  const evaluator = await openEvaluator(configOfPhase(model.config, phase), { batch: 8, seqLen, threads: 1 });
  try {
    const heads = run.fragments.map(({ artifact }) => artifact);
    const frozen = await fetchFrozen(run, store, signal);
    const params = await new HeadParams(model, manifest, store, frozen).at(heads, signal);
    const stage = new Map<'held-out', readonly Sequence[]>([['held-out', rows.get('held-out')!]]);
    return (await heldOutLosses(evaluator, params, stage))['held-out']!;
  } finally {
    await evaluator.close();
  }
}
