/** @file What the wallet commands share: which key is meant, messages, and files that mnemonics are written to. */
import { readFile, stat, writeFile } from 'node:fs/promises';
import { utf8 } from '../../util/bytes.ts';
import { UsageError } from '../../util/errors.ts';
import type { KeyPlace } from '../../wallet/folder.ts';
import type { Settings } from '../settings.ts';

export const hotkeyPlace = (settings: Settings) =>
  ({ wallet: settings.argument ?? '', kind: 'hotkey', hotkey: settings.text('hotkey') }) as const;

export function placeOf(settings: Settings): KeyPlace {
  const kind = settings.choice('key', ['coldkey', 'hotkey']);
  return kind === 'hotkey' ? hotkeyPlace(settings) : { wallet: settings.argument ?? '', kind };
}

const maxMessageBytes = 64 << 20;

/** @throws UsageError unless exactly one of --message and --message-file is given */
export async function messageOf(settings: Settings): Promise<Uint8Array> {
  if (settings.has('message') === settings.has('message-file'))
    throw new UsageError('give the message: either --message TEXT or --message-file FILE');
  if (settings.has('message')) return utf8(settings.text('message'));
  const path = settings.path('message-file');
  const info = await stat(path).catch(() => null);
  if (info === null || !info.isFile()) throw new UsageError(`--message-file: there is no file at ${path}`);
  if (info.size > maxMessageBytes) throw new UsageError(`--message-file: ${path} is larger than 64 MiB; sign its hash`);
  return readFile(path);
}

/** @throws UsageError if something lies there */
export async function writePhrases(settings: Settings, lines: readonly string[]): Promise<void> {
  if (!settings.has('phrase-file')) return;
  const path = settings.path('phrase-file');
  await writeFile(path, `${lines.join('\n')}\n`, { mode: 0o600, flag: 'wx' }).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'EEXIST') throw cause;
    throw new UsageError(`--phrase-file: ${path} is there already and is not overwritten`, { cause });
  });
}

/** Before any key is made. */
export async function requireFreePhraseFile(settings: Settings): Promise<void> {
  if (settings.has('phrase-file') && (await stat(settings.path('phrase-file')).catch(() => null)) !== null)
    throw new UsageError(`--phrase-file: ${settings.path('phrase-file')} is there already and is not overwritten`);
}
