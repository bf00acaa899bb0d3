/** @file What a role tells the run of its machine: rounded, and nothing that names it. */
import { totalmem } from 'node:os';

export const roundedMemoryGib = (): number => 2 ** Math.round(Math.log2(Math.max(1, totalmem() / 1024 ** 3)));
