/** @file Does `accrete ledger stake`. */
import type { Handler } from '../command.ts';
import { formatTao } from '../output.ts';
import { confirm } from '../prompt.ts';
import { ledgerSignerOf, walletFolderOf } from '../wallet-keys.ts';
import { raoOf, withLedger } from './network.ts';

export const handle: Handler = async (settings, io) => {
  const amountRao = raoOf(settings, 'amount');
  const isRemoval = settings.switch('remove');
  const signer = await ledgerSignerOf(settings, io, 'coldkey');
  const hotkey = settings.has('wallet')
    ? await walletFolderOf(settings).address({
        ...{ wallet: settings.text('wallet'), kind: 'hotkey', hotkey: settings.text('hotkey') },
      })
    : signer.hotkey;
  return withLedger(settings, io, async (ledger) => {
    const what = isRemoval ? `take ${formatTao(amountRao)} back from` : `stake ${formatTao(amountRao)} on`;
    if (!(await confirm(settings, io, `${what} ${hotkey}?`))) {
      io.err('nothing was done');
      return 1;
    }
    const options = { amountRao, hotkey };
    await (isRemoval ? ledger.removeStake(signer, options) : ledger.addStake(signer, options));
    const stakeRao = (await ledger.metagraph()).find((neuron) => neuron.hotkey === hotkey)?.stakeRao ?? 0;
    const balanceRao = await ledger.balance(signer.hotkey);
    if (settings.switch('json')) io.out(JSON.stringify({ hotkey, stakeRao, balanceRao: String(balanceRao) }));
    else
      io.out(`${hotkey} has a stake of ${formatTao(stakeRao)}; ${formatTao(balanceRao)} are free on ${signer.hotkey}`);
    return 0;
  });
};
