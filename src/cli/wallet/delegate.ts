/** @file Does `accrete wallet delegate`: the one thing that a hotkey signs for a run off the ledger, so that it need not lie where training is. */
import { connectRun } from '../../roles/client.ts';
import { enterRun } from '../../roles/enter.ts';
import { parseLedgerChoice, requireSameLedger } from '../chosen-ledger.ts';
import type { Handler } from '../command.ts';
import { roleEnvironment } from '../environment.ts';
import { holdFolder } from '../hold-folder.ts';
import { joinNetwork } from '../join.ts';
import { openSessionKey, writeDelegatedHotkey } from '../keys.ts';
import { nativeEquation } from '../native-ed25519.ts';
import { parseName } from '../role-name.ts';
import { walletSigner } from '../wallet-keys.ts';
import { hotkeyPlace } from './places.ts';

export const handle: Handler = async (settings, io) => {
  const [dir, name] = [settings.path('dir'), parseName(settings)];
  const environment = roleEnvironment(io, { role: 'observer', json: settings.switch('json') });
  const { clock, log } = environment;
  const hotkey = await walletSigner(settings, io, hotkeyPlace(settings));
  const folder = await holdFolder(dir, 'accrete mine');
  try {
    writeDelegatedHotkey(dir, hotkey);
    const session = openSessionKey(dir);
    const network = await joinNetwork(settings.url('join'), environment, parseLedgerChoice(settings));
    const connection = new AbortController();
    const signal = AbortSignal.any([io.stop, connection.signal]);
    try {
      const client = await connectRun({ ...network, clock, log, session, equation: nativeEquation, signal });
      requireSameLedger(client.manifest, network.ledger);
      await enterRun({ client, role: 'miner', name, hotkey, session, ledgerSigner: hotkey, clock });
      await client.close();
    } finally {
      connection.abort();
      await network.close();
    }
    const { sessionKey } = session;
    if (settings.switch('json')) io.out(JSON.stringify({ hotkey: hotkey.hotkey, name, sessionKey, dir }));
    else
      io.out(
        `session key ${sessionKey} may mine for ${hotkey.hotkey} as ${name}: accrete mine --join … --dir ${dir} --name ${name}`,
      );
    return 0;
  } finally {
    await folder.release();
  }
};
