/** @file Attacks of the syncer, which alone writes the journal. */
import type { Attack } from './attack.ts';

const equivocating: Attack = {
  name: 'equivocating-syncer',
  about: "a syncer that shows two miners and a validator a history without one miner's claims, signed like the other",
  miners: 0,
  miner: () => ({}),
  deceived: 2,
};

export const syncerAttacks: readonly Attack[] = [equivocating];
