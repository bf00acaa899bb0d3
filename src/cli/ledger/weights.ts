/** @file Does `accrete ledger weights`. */
import type { Ledger } from '../../ledger/port.ts';
import type { Hotkey } from '../../protocol/names.ts';
import { UsageError } from '../../util/errors.ts';
import type { Handler } from '../command.ts';
import type { Io } from '../io.ts';
import { confirm } from '../prompt.ts';
import type { Settings } from '../settings.ts';
import { ledgerSignerOf } from '../wallet-keys.ts';
import { addressOf, withLedger } from './network.ts';

export const handle: Handler = (settings, io) => (settings.has('set') ? set(settings, io) : show(settings, io));

async function show(settings: Settings, io: Io): Promise<number> {
  const of = settings.has('of') ? addressOf(settings, 'of') : null;
  const rows = await withLedger(settings, io, (ledger) => rowsOf(ledger, of));
  for (const row of rows) {
    if (settings.switch('json')) io.out(JSON.stringify(row));
    else
      io.out(
        `uid ${row.uid} ${row.hotkey}: ${row.weights.map(([uid, weight]) => `${uid}=${weight}`).join(' ') || 'none'}`,
      );
  }
  if (rows.length === 0 && !settings.switch('json')) io.out('no validator has set weights yet');
  return 0;
}

async function rowsOf(ledger: Ledger, of: Hotkey | null) {
  const neurons = await ledger.metagraph();
  if (of !== null && !neurons.some(({ hotkey }) => hotkey === of))
    throw new UsageError(`HotKeyNotRegisteredInSubNet: ${of} is no neuron; accrete ledger metagraph lists them`);
  const rows = await Promise.all(
    neurons
      .filter(({ hotkey }) => of === null || hotkey === of)
      .map(async ({ uid, hotkey }) => ({ uid, hotkey, weights: [...(await ledger.weights(hotkey))] })),
  );
  return rows.filter(({ weights }) => of !== null || weights.length > 0);
}

async function set(settings: Settings, io: Io): Promise<number> {
  const weights = pairsOf(settings.text('set'));
  const versionKey = settings.count('version-key', { min: 0, max: Number.MAX_SAFE_INTEGER });
  const signer = await ledgerSignerOf(settings, io, 'hotkey');
  return withLedger(settings, io, async (ledger) => {
    if (!(await confirm(settings, io, `set ${weights.size} weights of ${signer.hotkey}?`))) {
      io.err('nothing was done');
      return 1;
    }
    await ledger.setWeights(signer, weights, { versionKey });
    const stored = [...(await ledger.weights(signer.hotkey))];
    if (settings.switch('json')) io.out(JSON.stringify({ hotkey: signer.hotkey, weights: stored }));
    else io.out(`${signer.hotkey}: ${stored.map(([uid, weight]) => `${uid}=${weight}`).join(' ')}`);
    return 0;
  });
}

/** @throws UsageError */
function pairsOf(text: string): ReadonlyMap<number, number> {
  const weights = new Map<number, number>();
  for (const pair of text.split(',')) {
    const [, uid, weight] = /^\s*(\d{1,5})=(\d+(?:\.\d+)?)\s*$/.exec(pair) ?? [];
    if (uid === undefined || Number(uid) > 65_535)
      throw new UsageError(`--set: expected uid=weight pairs like 3=1,4=0.5, got '${pair.slice(0, 40)}'`);
    if (weights.has(Number(uid))) throw new UsageError(`--set: DuplicateUids: uid ${uid} is named twice`);
    weights.set(Number(uid), Number(weight));
  }
  return weights;
}
