/** @file How long a chain's blocks take, by the times in them. */
import type { Ledger } from './port.ts';

const measuredBlocks = 20;
/** Bittensor's own, where a chain is too young to tell. */
const usualMs = 12_000;

export async function measureBlockMs(ledger: Pick<Ledger, 'head' | 'block'>): Promise<number> {
  const head = await ledger.head();
  const before = head.number > measuredBlocks ? await ledger.block(head.number - measuredBlocks) : null;
  return before === null ? usualMs : Math.max(1, Math.round((head.timeMs - before.timeMs) / measuredBlocks));
}
