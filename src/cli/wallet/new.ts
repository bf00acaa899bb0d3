/** @file Does `accrete wallet new`. */
import { randomBytes } from 'node:crypto';
import { UsageError } from '../../util/errors.ts';
import { phraseOfEntropy, type Secret, secretOfUri } from '../../wallet/phrase.ts';
import type { Handler } from '../command.ts';
import { readPassword } from '../prompt.ts';
import type { Settings } from '../settings.ts';
import { walletFolderOf } from '../wallet-keys.ts';
import { hotkeyPlace, requireFreePhraseFile, writePhrases } from './places.ts';

export const handle: Handler = async (settings, io) => {
  const wallets = walletFolderOf(settings);
  const hotkey = hotkeyPlace(settings);
  const coldkey = { wallet: hotkey.wallet, kind: 'coldkey' } as const;
  wallets.pathOf(hotkey); // Names first: nothing is asked for in vain.
  await requireFreePhraseFile(settings);
  const known = (await wallets.list()).find(({ name }) => name === hotkey.wallet);
  if (known?.hotkeys.some(({ name }) => name === hotkey.hotkey))
    throw new UsageError(`${wallets.pathOf(hotkey)} is there already; choose another --hotkey or wallet name`);
  const isNew = known?.coldkey == null;
  const password =
    !isNew || settings.switch('unencrypted')
      ? null
      : await readPassword(settings, io, { what: `the new coldkey of ${hotkey.wallet}`, isNew: true });
  const secrets = { coldkey: isNew ? await newSecret(settings) : null, hotkey: await newSecret(settings) };
  const coldAddress =
    secrets.coldkey === null ? known?.coldkey?.address : await wallets.write(coldkey, secrets.coldkey, password);
  const hotAddress = await wallets.write(hotkey, secrets.hotkey, null);
  await writePhrases(settings, [
    ...(secrets.coldkey === null ? [] : [`coldkey ${coldAddress}: ${secrets.coldkey.phrase}`]),
    `hotkey ${hotAddress}: ${secrets.hotkey.phrase}`,
  ]);
  if (settings.switch('json'))
    io.out(JSON.stringify({ wallet: hotkey.wallet, coldkey: coldAddress, hotkey: hotAddress }));
  else {
    io.out(`coldkey ${coldAddress} ${isNew ? (password === null ? '(not encrypted)' : '(encrypted)') : '(was there)'}`);
    io.out(`hotkey  ${hotAddress} ${wallets.pathOf(hotkey)}`);
  }
  if (!settings.has('phrase-file'))
    io.err(
      `the mnemonics are in the key files only; for a copy on paper: accrete wallet show ${hotkey.wallet} --phrase-file FILE`,
    );
  return 0;
};

function newSecret(settings: Settings): Promise<Secret> {
  const words = settings.choice('words', ['12', '24']);
  const phrase = phraseOfEntropy(new Uint8Array(randomBytes(words === '12' ? 16 : 32)));
  return secretOfUri(phrase, settings.choice('scheme', ['sr25519', 'ed25519']));
}
