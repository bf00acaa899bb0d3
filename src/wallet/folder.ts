/**
 * @file Bittensor's folder of wallets: `NAME/coldkey`, `NAME/coldkeypub.txt`, `NAME/hotkeys/HOTKEY`, and `HOTKEYpub.txt` beside it. Files
 * with secrets have mode 0600 and are refused when others can read them; nothing is ever overwritten.
 */
import { randomBytes } from 'node:crypto';
import { link, lstat, mkdir, open, readdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Hotkey } from '../protocol/names.ts';
import { utf8 } from '../util/bytes.ts';
import { keyOfPassword, openWith, requireReadable, sealWith } from './encryption.ts';
import { WalletError } from './errors.ts';
import { type KeyFile, keyFileText, parseKeyFile, publicKeyFileText, signerOfSecret } from './key-file.ts';
import type { Secret } from './phrase.ts';

const maxFileBytes = 64 << 10;
const nameForm = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** A key of a wallet: its coldkey, or the hotkey of a name. */
export type KeyPlace = { readonly wallet: string } & (
  | { readonly kind: 'coldkey' }
  | { readonly kind: 'hotkey'; readonly hotkey: string }
);

export interface ListedKey {
  readonly name: string;
  /** Null where no public part can be read without a password. */
  readonly address: Hotkey | null;
  readonly isEncrypted: boolean;
  readonly hasSecret: boolean;
  /** What is wrong with the file; null if nothing is. */
  readonly fault: string | null;
}
export interface ListedWallet {
  readonly name: string;
  readonly coldkey: ListedKey | null;
  readonly hotkeys: readonly ListedKey[];
}

/** Asked for once a file turns out to be encrypted. */
export type AskPassword = (path: string) => Promise<string>;

export class WalletFolder {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  async list(): Promise<readonly ListedWallet[]> {
    const wallets: ListedWallet[] = [];
    for (const name of await namesIn(this.root)) {
      const keys = (await namesIn(join(this.root, name, 'hotkeys'))).filter((key) => !key.endsWith('pub.txt'));
      const hotkeys = await Promise.all(keys.map((hotkey) => this.#listed({ wallet: name, kind: 'hotkey', hotkey })));
      const coldkey = await this.#listed({ wallet: name, kind: 'coldkey' });
      const isThere = coldkey.hasSecret || coldkey.address !== null;
      if (isThere || hotkeys.length > 0) wallets.push({ name, coldkey: isThere ? coldkey : null, hotkeys });
    }
    return wallets;
  }

  /** @throws WalletError NOT_FOUND, EXPOSED, WRONG_PASSWORD, UNSUPPORTED_ENCRYPTION, DAMAGED */
  async read(place: KeyPlace, askPassword: AskPassword): Promise<KeyFile> {
    const path = this.pathOf(place);
    const bytes = await readBounded(path);
    if (bytes === null) throw await this.#missing(place, path);
    await requirePrivate(path);
    if (requireReadable(bytes, path) === 'none') return parseKeyFile(new TextDecoder().decode(bytes), path);
    const plain = openWith(await keyOfPassword(await askPassword(path)), bytes, path);
    return parseKeyFile(new TextDecoder().decode(plain), path);
  }

  /** The address, from the public part where there is one. @throws WalletError NOT_FOUND, DAMAGED, PASSWORD_NEEDED */
  async address(place: KeyPlace): Promise<Hotkey> {
    const { address, fault } = await this.#listed(place);
    if (address !== null) return address;
    if (fault !== null) throw new WalletError('DAMAGED', fault);
    const path = this.pathOf(place);
    if ((await readBounded(path)) === null) throw await this.#missing(place, path);
    throw new WalletError('PASSWORD_NEEDED', `${path} is encrypted and no public part lies beside it`);
  }

  /** Writes key and public part; encrypted if there is a password. @throws WalletError EXISTS: nothing is overwritten */
  async write(place: KeyPlace, secret: Secret, password: string | null): Promise<Hotkey> {
    const path = this.pathOf(place);
    if ((await lstat(path).catch(() => null)) !== null)
      throw new WalletError('EXISTS', `${path} is there already and is not overwritten; choose another name`);
    const text = utf8(keyFileText(secret));
    const nonce = new Uint8Array(randomBytes(24));
    const content = password === null ? text : sealWith(await keyOfPassword(password), nonce, text);
    const { hotkey } = signerOfSecret(secret);
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await writeNew(path, content, 0o600);
    await writeNew(this.#publicPathOf(place), utf8(publicKeyFileText(hotkey)), 0o644).catch((error) => {
      // A public part that lies there from an older key would mislead: only the same one may stay.
      if (!(error instanceof WalletError) || error.code !== 'EXISTS') throw error;
    });
    return hotkey;
  }

  pathOf(place: KeyPlace): string {
    requireName(place.wallet, 'wallet');
    if (place.kind === 'coldkey') return join(this.root, place.wallet, 'coldkey');
    requireName(place.hotkey, 'hotkey');
    return join(this.root, place.wallet, 'hotkeys', place.hotkey);
  }

  #publicPathOf(place: KeyPlace): string {
    return `${this.pathOf(place)}pub.txt`;
  }

  /** A file that cannot be read is listed with what is wrong; one bad key hides no others. */
  async #listed(place: KeyPlace): Promise<ListedKey> {
    const name = place.kind === 'coldkey' ? 'coldkey' : place.hotkey;
    const path = this.pathOf(place);
    const none = { name, address: null, isEncrypted: false, hasSecret: true };
    try {
      const bytes = await readBounded(path);
      const isEncrypted = bytes !== null && requireReadable(bytes, path) === 'nacl';
      const beside = await readBounded(this.#publicPathOf(place));
      const readable = beside ?? (isEncrypted ? null : bytes);
      const address = readable === null ? null : parseKeyFile(new TextDecoder().decode(readable), path).address;
      return { name, address, isEncrypted, hasSecret: bytes !== null, fault: null };
    } catch (error) {
      if (!(error instanceof WalletError)) throw error;
      return { ...none, fault: error.message };
    }
  }

  async #missing(place: KeyPlace, path: string): Promise<WalletError> {
    const wallets = await this.list();
    const wallet = wallets.find(({ name }) => name === place.wallet);
    const there =
      wallet === undefined
        ? `wallets there: ${wallets.map(({ name }) => name).join(', ') || 'none'}`
        : `hotkeys of ${wallet.name}: ${wallet.hotkeys.map(({ name }) => name).join(', ') || 'none'}`;
    return new WalletError('NOT_FOUND', `there is no key at ${path} (${there}); make one with accrete wallet new`);
  }
}

function requireName(name: string, what: string): void {
  if (nameForm.test(name) && !name.endsWith('pub.txt')) return;
  throw new WalletError(
    'NOT_FOUND',
    `a ${what} is named by 1-64 letters, digits, '.', '_' and '-', got '${name.slice(0, 80)}'`,
  );
}

async function namesIn(dir: string): Promise<string[]> {
  const entries = await readdir(dir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return [];
    throw new WalletError('UNAVAILABLE', `${dir} cannot be read (${error.code}); check its permissions`, {
      cause: error,
    });
  });
  return entries.filter((name) => nameForm.test(name)).sort();
}

async function readBounded(path: string): Promise<Uint8Array | null> {
  const info = await lstat(path).catch(() => null);
  if (info === null) return null;
  if (info.isSymbolicLink() || !info.isFile() || info.size > maxFileBytes)
    throw new WalletError('DAMAGED', `${path} is no key file: expected a plain file of at most 64 KiB`);
  return readFile(path);
}

async function requirePrivate(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  const { mode } = await lstat(path);
  if ((mode & 0o077) !== 0)
    throw new WalletError('EXPOSED', `${path} can be read by other users; type: chmod 600 ${path}`);
}

/** Whole or not at all, and never over what is there: written aside, flushed, then linked to its name. */
async function writeNew(path: string, content: Uint8Array, mode: number): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    const file = await open(temporary, 'wx', mode);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await link(temporary, path);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST')
      throw new WalletError('EXISTS', `${path} is there already and is not overwritten; choose another name`);
    throw new WalletError('UNAVAILABLE', `${path} cannot be written (${(cause as NodeJS.ErrnoException).code})`, {
      cause,
    });
  } finally {
    await rm(temporary, { force: true }).catch(() => undefined);
  }
}
