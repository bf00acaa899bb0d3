/** @file What an attack is: who misbehaves, how, and in which run. */
import type { RunSettings } from '../../roles/run-presets.ts';
import type { MinerBehaviour, ValidatorBehaviour } from '../network.ts';

export interface Attack {
  readonly name: string;
  /** One sentence: what the attacker does, hoping for what. */
  readonly about: string;
  /** What the run must allow for the attack to make sense. */
  readonly settings?: (settings: RunSettings) => RunSettings;
  /** Hotkeys that mine for the attacker. */
  readonly miners: number;
  readonly miner: (index: number) => MinerBehaviour;
  /** His machine has this share of an honest one's speed for each hotkey; 1 if left out. */
  readonly speed?: number;
  /** Of the run's validators, so many are his. */
  readonly validators?: number;
  readonly validator?: () => ValidatorBehaviour;
  /** The syncer hides one honest miner's claims from so many other miners and from one validator. */
  readonly deceived?: number;
}

export const honest: MinerBehaviour = {};
