/** @file The lines of the embedded chain's file, `ledger.jsonl`: append-only, canonical JSON, the genesis first. */
import { z } from 'zod';
import { countSchema, hashSchema } from '../protocol/names.ts';
import { signedCallSchema } from './calls.ts';
import { genesisSchema } from './genesis.ts';

export const lineSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('genesis'), genesis: genesisSchema }),
  /** A call in block `block`, whose parent has the hash `parent`. */
  z.strictObject({ kind: z.literal('call'), block: countSchema, parent: hashSchema, signed: signedCallSchema }),
  /** The clock was ahead too far: block `block` is at `timeMs`, and time is counted from there. */
  z.strictObject({ kind: z.literal('resume'), block: countSchema, timeMs: countSchema }),
]);
