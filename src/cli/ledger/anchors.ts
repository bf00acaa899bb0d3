/** @file Does `accrete ledger anchors`: commitments from the chain's history, of which the newest of a hotkey stands. */
import { genesisOfChainId } from '../../ledger/bittensor/ledger.ts';
import type { Anchor, Ledger } from '../../ledger/port.ts';
import type { Hotkey } from '../../protocol/names.ts';
import type { Handler } from '../command.ts';
import { formatTable } from '../table.ts';
import { addressOf, withLedger } from './network.ts';

/** Tempos that are searched on a chain that is read block by block. */
const searchedTempos = 2;

export const handle: Handler = async (settings, io) => {
  const of = settings.has('of') ? addressOf(settings, 'of') : null;
  const last = settings.count('last', { min: 0, max: 1_000_000 });
  const all = await withLedger(settings, io, (ledger) => anchorsOf(ledger, of));
  const shown = last === 0 ? all : all.slice(-last);
  if (settings.switch('json')) for (const anchor of shown) io.out(JSON.stringify(anchor));
  else if (all.length === 0) io.out('nothing is anchored yet');
  else
    for (const line of formatTable(
      ['>block', 'hotkey', 'committed to'],
      shown.map(({ block, hotkey, data }) => [String(block), hotkey, data]),
    ))
      io.out(line);
  if (shown.length < all.length) io.err(`${all.length - shown.length} earlier ones are left out; --last 0 lists all`);
  return 0;
};

/** All of the embedded chain; of Bittensor, which is searched block by block, the newest tempos. */
async function anchorsOf(ledger: Ledger, of: Hotkey | null): Promise<readonly Anchor[]> {
  const { number: toBlock } = await ledger.head();
  const isSearched = genesisOfChainId(ledger.chainId) !== null;
  const fromBlock = isSearched ? Math.max(1, toBlock - searchedTempos * ledger.tempoBlocks + 1) : 0;
  const anchors = await ledger.anchors({ fromBlock, toBlock: isSearched ? toBlock : toBlock + 1 });
  return anchors.filter(({ hotkey }) => of === null || hotkey === of);
}
