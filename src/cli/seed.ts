/** @file A run's seed from the number that an operator types. */
import { hashOfText } from '../protocol/hash.ts';
import type { Hash } from '../protocol/names.ts';

/** 32 bytes of hex, as the manifest holds it; `accrete train` and a network of one number start and read alike. */
export const runSeedOf = (seed: number): Hash => hashOfText(`accrete run seed ${seed}`);
