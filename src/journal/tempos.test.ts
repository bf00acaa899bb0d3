/** @file The journal's tempos beside the ledger's epochs: each ends an eighth of a tempo before the epoch that pays it. */
import { describe, expect, it } from 'vitest';
import { blocksToNextTempo, tempoAt } from './queries.ts';

// An old chain, one whose first epoch comes early, and Bittensor's netuid 24 and 60: (block + netuid + 1) mod 361 = 0.
describe.each([
  { tempoBlocks: 120 },
  { tempoBlocks: 120, firstEpochBlock: 15 },
  { tempoBlocks: 361, firstEpochBlock: 361 - 25 },
  { tempoBlocks: 361, firstEpochBlock: 361 - 61 },
  { tempoBlocks: 7, firstEpochBlock: 3 },
])('a ledger of %o', (ledger) => {
  const { tempoBlocks, firstEpochBlock = tempoBlocks } = ledger;
  const lead = Math.floor(tempoBlocks / 8);

  it('has a new tempo so long before each epoch, and nowhere else', () => {
    for (let block = 1; block < 5 * tempoBlocks; block++) {
      const isEnd = (((block + lead - firstEpochBlock) % tempoBlocks) + tempoBlocks) % tempoBlocks === 0;
      expect(tempoAt(ledger, block) - tempoAt(ledger, block - 1), `block ${block}`).toBe(isEnd ? 1 : 0);
      expect(tempoAt(ledger, block + blocksToNextTempo(ledger, block)), `block ${block}`).toBe(
        tempoAt(ledger, block) + 1,
      );
    }
  });

  it('begins with tempo 0', () => {
    expect(tempoAt(ledger, 0)).toBe(0);
  });
});
