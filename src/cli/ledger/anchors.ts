/** @file Does `accrete ledger anchors`: commitments from the chain's history, of which the newest of a hotkey stands. */
import type { Ledger } from '../../ledger/port.ts';
import type { Hotkey } from '../../protocol/names.ts';
import type { Handler } from '../command.ts';
import { formatTable } from '../table.ts';
import { addressOf, withLedger } from './network.ts';

const pageSize = 1_000;

interface Anchor {
  readonly block: number;
  readonly hotkey: Hotkey;
  readonly data: string;
}

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

async function anchorsOf(ledger: Ledger, of: Hotkey | null): Promise<readonly Anchor[]> {
  const anchors: Anchor[] = [];
  for (let cursor = 0; ; ) {
    const { calls, next } = await ledger.calls(cursor, pageSize);
    for (const { block, signed } of calls)
      if (signed.call.name === 'set_commitment' && (of === null || signed.hotkey === of))
        anchors.push({ block, hotkey: signed.hotkey, data: signed.call.args.data });
    if (next === cursor) return anchors;
    cursor = next;
  }
}
