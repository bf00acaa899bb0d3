/** @file Does `accrete ledger register`: the price first, then the question, then one call. */
import type { Handler } from '../command.ts';
import { formatTao } from '../output.ts';
import { confirm } from '../prompt.ts';
import { ledgerSignerOf, walletFolderOf } from '../wallet-keys.ts';
import { withLedger } from './network.ts';

export const handle: Handler = async (settings, io) => {
  const isWallet = settings.has('wallet');
  const signer = await ledgerSignerOf(settings, io, 'coldkey');
  const hotkey = isWallet
    ? await walletFolderOf(settings).address({
        ...{ wallet: settings.text('wallet'), kind: 'hotkey', hotkey: settings.text('hotkey') },
      })
    : signer.hotkey;
  return withLedger(settings, io, async (ledger) => {
    const present = (await ledger.metagraph()).find((neuron) => neuron.hotkey === hotkey);
    const { burnRao, netuid } = await ledger.subnet();
    if (present === undefined) {
      const free = await ledger.balance(signer.hotkey);
      const question = `register ${hotkey} on subnet ${netuid} for ${formatTao(burnRao)}, of ${formatTao(free)} on ${signer.hotkey}?`;
      if (!(await confirm(settings, io, question))) {
        io.err('nothing was done');
        return 1;
      }
    }
    const neuron = await ledger.register(signer, { coldkey: signer.hotkey, hotkey });
    if (settings.switch('json')) io.out(JSON.stringify({ ...neuron, isNew: present === undefined }));
    else io.out(`${neuron.hotkey} ${present === undefined ? 'is' : 'was already'} registered: uid ${neuron.uid}`);
    return 0;
  });
};
