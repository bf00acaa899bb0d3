/**
 * @file A snapshot: the API's answers as files, for hosting without a server. `BASE/api/v1/PATH.json` holds what
 * `GET /api/v1/PATH` answers (`miners/HOTKEY.json`, `series/throughput.json`); the further pages of a list are
 * `PATH.CURSOR.json`, as each page's `nextCursor` names them. There is no `events`, and no search: a page filters itself.
 * The record lies beside them: the journal as one file, the ledger by pages, releases as `releases/N/NAME`.
 */
import { z } from 'zod';
import { asOf, count, hash } from './common.ts';

/** `BASE/api/v1/snapshot.json`; a live server answers 404 there, which is how a page tells the two apart. */
export const snapshotSchema = z.object({
  version: z.literal(1),
  madeAtMs: count,
  run: hash,
  asOf,
  /** All files below `api/v1/`, in order. */
  files: z.array(z.string().max(300)),
  /** Where journal, ledger and store are, relative to the snapshot's base; null where they were not copied. */
  journalPath: z.string().max(300).nullable(),
  /** Whether `ledger/…` was written (`snapshotLedgerPath`). */
  hasLedger: z.boolean().default(false),
});

/** Blocks, or calls, of one file. */
export const snapshotLedgerPage = 1_000;

/** Relative to the snapshot's base. `from`: first block of the page, or its cursor of calls; an empty page is the last. */
export const snapshotLedgerPath = (what: 'genesis' | 'blocks' | 'calls', from = 0): string =>
  what === 'genesis' ? 'ledger/genesis.json' : `ledger/${what}/${from}.json`;

export type ApiSnapshot = z.infer<typeof snapshotSchema>;
