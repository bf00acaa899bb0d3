/** @file The ledger of a running network for one command, closed after it; addresses and amounts as operators write them. */

import type { Ledger } from '../../ledger/port.ts';
import type { Hotkey } from '../../protocol/names.ts';
import { decodeSs58 } from '../../protocol/ss58.ts';
import { UsageError } from '../../util/errors.ts';
import { roleEnvironment } from '../environment.ts';
import type { Io } from '../io.ts';
import { joinNetwork } from '../join.ts';
import { raoPerTao } from '../output.ts';
import type { Settings } from '../settings.ts';

/** @throws JoinError UNREACHABLE; UsageError if the ledger is of another subnet */
export async function withLedger<T>(settings: Settings, io: Io, work: (ledger: Ledger) => Promise<T>): Promise<T> {
  const url = settings.url('join');
  const network = await joinNetwork(url, roleEnvironment(io, { role: 'observer', json: settings.switch('json') }));
  try {
    const { ledger } = network;
    if (settings.has('netuid')) {
      const wanted = settings.count('netuid', { min: 0, max: 65_535 });
      if (wanted !== ledger.netuid)
        throw new UsageError(
          `SubnetNotExists: ${url} has subnet ${ledger.netuid}, not ${wanted}; check --netuid and --join`,
        );
    }
    return await work(ledger);
  } finally {
    await network.close();
  }
}

export function addressOf(settings: Settings, option: string): Hotkey {
  const text = settings.text(option);
  if (decodeSs58(text) !== null) return text as Hotkey;
  const why = text.length < 46 ? 'it is too short' : 'its letters, prefix (42) or checksum are wrong';
  throw new UsageError(`--${option}: '${text.slice(0, 60)}' is no SS58 address of Bittensor: ${why}; copy it again`);
}

/** @throws UsageError */
export function raoOf(settings: Settings, option: string): number {
  const text = settings.text(option).replaceAll('_', '');
  const [, whole, part = ''] = /^(\d{1,9})(?:\.(\d{1,9}))?$/.exec(text) ?? [];
  const rao = whole === undefined ? 0n : BigInt(whole) * raoPerTao + BigInt(part.padEnd(9, '0'));
  if (rao > 0n && rao <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(rao);
  throw new UsageError(`--${option}: expected TAO above 0 with up to 9 decimals, like 1.5, got '${text.slice(0, 40)}'`);
}
