/** @file All attacks by name. */
import type { Attack } from './attack.ts';
import { minerAttacks } from './miners.ts';
import { syncerAttacks } from './syncers.ts';
import { validatorAttacks } from './validators.ts';

export const attacks: readonly Attack[] = [...minerAttacks, ...validatorAttacks, ...syncerAttacks];

export const attackNamed = (name: string): Attack | undefined => attacks.find((attack) => attack.name === name);
