/** @file Does `accrete ledger weights`. */
import { join } from 'node:path';
import type { Ledger, LedgerSigner } from '../../ledger/port.ts';
import { LedgerWeightSetter } from '../../ledger/weight-setter.ts';
import type { Hotkey } from '../../protocol/names.ts';
import { UsageError } from '../../util/errors.ts';
import type { Handler } from '../command.ts';
import type { Io } from '../io.ts';
import { confirm } from '../prompt.ts';
import { makeSalt, RevealFile, revealFileIn } from '../reveal-file.ts';
import type { Settings } from '../settings.ts';
import { ledgerSignerOf } from '../wallet-keys.ts';
import { addressOf, withLedger } from './network.ts';

export const handle: Handler = (settings, io) => {
  if (settings.has('set')) return set(settings, io);
  return settings.switch('reveal') ? reveal(settings, io) : show(settings, io);
};

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
  const versionKey = settings.has('version-key')
    ? settings.count('version-key', { min: 0, max: Number.MAX_SAFE_INTEGER })
    : null;
  const signer = await ledgerSignerOf(settings, io, 'hotkey');
  return withLedger(settings, io, async (ledger) => {
    const { isCommitReveal, revealPeriodEpochs } = await ledger.subnet();
    if (!(await confirm(settings, io, `set ${weights.size} weights of ${signer.hotkey}?`))) {
      io.err('nothing was done');
      return 1;
    }
    const { hotkey } = signer;
    if (isCommitReveal) {
      await setterOf(settings, io, ledger, signer).set(weights);
      if (settings.switch('json')) io.out(JSON.stringify({ hotkey, committed: true, revealPeriodEpochs }));
      else
        io.out(
          `${hotkey}: committed; in ${revealPeriodEpochs} epochs type accrete ledger weights --reveal with the same options`,
        );
      return 0;
    }
    await ledger.setWeights(signer, weights, versionKey === null ? {} : { versionKey });
    const stored = [...(await ledger.weights(hotkey))];
    if (settings.switch('json')) io.out(JSON.stringify({ hotkey, weights: stored }));
    else io.out(`${hotkey}: ${stored.map(([uid, weight]) => `${uid}=${weight}`).join(' ')}`);
    return 0;
  });
}

async function reveal(settings: Settings, io: Io): Promise<number> {
  const signer = await ledgerSignerOf(settings, io, 'hotkey');
  return withLedger(settings, io, async (ledger) => {
    const revealed = await setterOf(settings, io, ledger, signer).revealDue();
    if (settings.switch('json')) io.out(JSON.stringify({ hotkey: signer.hotkey, revealed }));
    else io.out(revealed === 0 ? 'nothing is to be revealed now' : `${revealed} revealed`);
    return 0;
  });
}

/** Reveals wait in the folder of the role, or in one of the hotkey's below `.accrete/`. */
function setterOf(settings: Settings, io: Io, ledger: Ledger, signer: LedgerSigner): LedgerWeightSetter {
  const dir = settings.has('dir') ? settings.path('dir') : join(io.cwd, '.accrete', 'ledger', signer.hotkey);
  return new LedgerWeightSetter({ ledger, signer, makeSalt, store: new RevealFile(revealFileIn(dir)) });
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
