/** @file Wallets beside published keys of the ecosystem: derivation, encryption, the folder, and what is refused. */
import { chmod, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hotkeyFromSeed } from '../protocol/keys.ts';
import { fromHex, toHex, utf8 } from '../util/bytes.ts';
import { encryptionOf, keyOfPassword, openWith, sealWith } from './encryption.ts';
import { WalletFolder } from './folder.ts';
import { keyFileText, parseKeyFile, signerOfSecret } from './key-file.ts';
import { verifyMessage } from './messages.ts';
import { phraseOfEntropy, secretOfSeed, secretOfUri } from './phrase.ts';

/** Substrate's development phrase and what every client derives from it. */
const development = 'bottom drive obey lake curtain smoke basket hold race lonely fit walk';
const alice = '5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY';

describe('phrases', () => {
  it("derive Substrate's published keys", async () => {
    const cases = [
      ['sr25519', '', '5DfhGyQdFobKM8NsWvEeAKk5EQQgYe9AydgJ7rMB6E1EqRzV'],
      ['sr25519', '//Alice', alice],
      ['sr25519', '//Bob', '5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty'],
      ['ed25519', '//Alice', '5FA9nQDVg267DEd8m1ZypXLBnvN7SFxYwV7ndqSYGiN9TTpu'],
      ['sr25519', '//Alice//stash', '5GNJqTPyNqANBkUVMN1LPPrxXnFouWXoe2wNSmmEoLctxiZY'],
    ] as const;
    for (const [scheme, path, address] of cases) {
      expect(signerOfSecret(await secretOfUri(`${development}${path}`, scheme)).hotkey, `${scheme} ${path}`).toBe(
        address,
      );
    }
    const { seed } = await secretOfUri(development, 'sr25519');
    expect(toHex(seed!)).toBe('fac7959dbfe72f052e5a0c3c8d6530f202b02fd8f9f5ca3580ec8deb7797479e');
    const soft = await secretOfUri(`${development}/0`, 'sr25519');
    expect(soft).toEqual(await secretOfUri(`${development}/0`, 'sr25519'));
    expect(signerOfSecret(soft).hotkey).not.toBe(
      signerOfSecret(await secretOfUri(`${development}//0`, 'sr25519')).hotkey,
    );
    const withPassword = await secretOfUri(`${development}///secret`, 'sr25519');
    expect([withPassword.phrase, toHex(withPassword.seed!) === toHex(seed!)]).toEqual([null, false]);
  });

  it('are refused without being quoted', async () => {
    const cases = [
      [development.replace('walk', 'wolk'), /word 12 is not/],
      [development.replace('fit walk', 'walk fit'), /checksum of the 12 words/],
      [development.replace(' walk', ''), /checksum of the 11 words/],
    ] as const;
    for (const [phrase, sentence] of cases) {
      const error = await secretOfUri(phrase, 'sr25519').catch((e: Error) => e);
      expect((error as Error).message).toMatch(sentence);
      expect((error as Error).message).not.toMatch(/bottom|drive|wolk/);
    }
    await expect(secretOfUri(`${development}/soft`, 'ed25519')).rejects.toThrow(/no soft derivation/);
    await expect(secretOfUri('', 'sr25519')).rejects.toMatchObject({ code: 'BAD_PHRASE' });
    expect(phraseOfEntropy(new Uint8Array(16)).split(' ').length).toBe(12);
    expect(phraseOfEntropy(new Uint8Array(32)).split(' ').length).toBe(24);
  });
});

describe('key files', () => {
  it('come back as they were written, in both schemes, also from the private key alone', async () => {
    for (const scheme of ['sr25519', 'ed25519'] as const) {
      const secret = await secretOfUri(development, scheme);
      const text = keyFileText(secret);
      const { hotkey } = signerOfSecret(secret);
      const read = parseKeyFile(text, 'k');
      expect(read).toMatchObject({ address: hotkey, scheme, phrase: development });
      expect(read.signer?.hotkey).toBe(hotkey);
      const { secretSeed: _seed, secretPhrase: _phrase, cryptoType: _type, ...bare } = JSON.parse(text);
      expect(parseKeyFile(JSON.stringify(bare), 'k').signer?.hotkey, `${scheme}, private key alone`).toBe(hotkey);
      const { privateKey: _key, ...publicOnly } = bare;
      expect(parseKeyFile(JSON.stringify(publicOnly), 'k')).toMatchObject({ address: hotkey, signer: null });
    }
  });

  it('with a scalar as schnorrkel itself writes it are read too', async () => {
    const secret = await secretOfUri(`${development}//Alice`, 'sr25519');
    const scalar = [...secret.bytes.subarray(0, 32)].reduceRight((n, byte) => n * 256n + BigInt(byte), 0n) / 8n;
    const plain = Uint8Array.from({ length: 32 }, (_, i) => Number((scalar >> BigInt(8 * i)) & 255n));
    const json = JSON.parse(keyFileText(secret));
    const privateKey = `0x${toHex(plain)}${toHex(secret.bytes.subarray(32))}`;
    expect(parseKeyFile(JSON.stringify({ ...json, privateKey }), 'k').signer?.hotkey).toBe(alice);
  });

  it('are refused when parts do not belong together, without quoting them', async () => {
    const good = JSON.parse(keyFileText(await secretOfUri(development, 'sr25519')));
    const other = hotkeyFromSeed(new Uint8Array(32).fill(1)).hotkey;
    const cases: [unknown, RegExp][] = [
      [{ ...good, ss58Address: other }, /do not belong together/],
      [{ ...good, ss58Address: `${good.ss58Address.slice(0, -1)}x` }, /checksum/],
      [{ ...good, publicKey: `0x${'00'.repeat(32)}` }, /do not belong together/],
      [{ ...good, secretSeed: `0x${'07'.repeat(32)}`, privateKey: null }, /do not belong together/],
      [{ ...good, secretSeed: '0x12' }, /secretSeed/],
      [[1], /no key file/],
    ];
    for (const [json, sentence] of cases) {
      const read = () => parseKeyFile(JSON.stringify(json), 'k');
      expect(read).toThrow(sentence);
      expect(read).not.toThrow(/fac7959d|bottom/);
    }
    expect(() => parseKeyFile('{', 'k')).toThrow(/no JSON/);
  });
});

describe('encryption', () => {
  it('has the key that other implementations have, and opens what it sealed', async () => {
    const key = await keyOfPassword('CompatTest123456');
    expect(toHex(key)).toBe('ae60e2832b106f5cbb47dbb5352e0340f0e47f309bead90735a2ca6416e75cb0');
    const nonce = new Uint8Array(24).fill(3);
    const sealed = sealWith(key, nonce, utf8('{"a":1}'));
    expect(encryptionOf(sealed)).toBe('nacl');
    expect(new TextDecoder().decode(openWith(key, sealed, 'k'))).toBe('{"a":1}');
    for (let at = 5; at < sealed.length; at += 7) {
      const changed = sealed.slice();
      changed[at]! ^= 1;
      expect(() => openWith(key, changed, 'k'), `byte ${at}`).toThrow(/does not open/);
    }
    expect(() => openWith(new Uint8Array(32), sealed, 'k')).toThrow(/password is wrong/);
    expect(() => openWith(key, sealed.subarray(0, 30), 'k')).toThrow(/cut short/);
  }, 300_000);

  // The first half of what is compared is the authenticator, which covers all of the box.
  it('seals as another implementation does (NaCl, secretbox of its test suite)', () => {
    const key = fromHex('1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389')!;
    const nonce = fromHex('69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37')!;
    const plain =
      'be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c61296cdc3c01233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f937763848645e0705';
    const boxed = sealWith(key, nonce, fromHex(plain)!).subarray(5 + 24);
    expect(toHex(boxed).slice(0, 64)).toBe('f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce');
  });
});

describe('folder', () => {
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'accrete-wallet-'));
  });
  afterEach(() => rm(root, { recursive: true }));
  const ask = async () => 'unused';

  it("is laid out as Bittensor's, private, and never overwritten", async () => {
    const wallets = new WalletFolder(root);
    const [cold, hot] = [
      secretOfSeed(new Uint8Array(32).fill(1), 'sr25519'),
      secretOfSeed(new Uint8Array(32).fill(2), 'ed25519'),
    ];
    const coldkey = await wallets.write({ wallet: 'w', kind: 'coldkey' }, cold, null);
    const hotkey = await wallets.write({ wallet: 'w', kind: 'hotkey', hotkey: 'default' }, hot, null);
    for (const file of ['w/coldkey', 'w/hotkeys/default'])
      expect((await stat(join(root, file))).mode & 0o777, file).toBe(0o600);
    expect(JSON.parse(await readFile(join(root, 'w/coldkeypub.txt'), 'utf8'))).toMatchObject({ ss58Address: coldkey });
    expect(Object.keys(JSON.parse(await readFile(join(root, 'w/hotkeys/defaultpub.txt'), 'utf8'))).sort()).toEqual([
      'accountId',
      'publicKey',
      'ss58Address',
    ]);
    expect(await wallets.list()).toEqual([
      {
        name: 'w',
        coldkey: { name: 'coldkey', address: coldkey, isEncrypted: false, hasSecret: true, fault: null },
        hotkeys: [{ name: 'default', address: hotkey, isEncrypted: false, hasSecret: true, fault: null }],
      },
    ]);
    const read = await wallets.read({ wallet: 'w', kind: 'hotkey', hotkey: 'default' }, ask);
    expect(read.signer?.hotkey).toBe(hotkey);
    await expect(wallets.write({ wallet: 'w', kind: 'coldkey' }, hot, null)).rejects.toMatchObject({ code: 'EXISTS' });
    expect((await wallets.read({ wallet: 'w', kind: 'coldkey' }, ask)).address).toBe(coldkey);
  });

  it('refuses other encryptions by name, exposed files, links, and names that leave it', async () => {
    const wallets = new WalletFolder(root);
    await mkdir(join(root, 'old/hotkeys'), { recursive: true });
    const place = (hotkey: string) => ({ wallet: 'old', kind: 'hotkey', hotkey }) as const;
    const put = (name: string, text: string) => writeFile(join(root, 'old/hotkeys', name), text, { mode: 0o600 });
    await put('vault', '$ANSIBLE_VAULT;1.1;AES256\n6162');
    await put('fernet', 'gAAAAABkX1');
    await put('noise', '\u0000\u0001');
    await expect(wallets.read(place('vault'), ask)).rejects.toThrow(/Ansible Vault/);
    await expect(wallets.read(place('fernet'), ask)).rejects.toThrow(/Fernet/);
    await expect(wallets.read(place('noise'), ask)).rejects.toMatchObject({ code: 'UNSUPPORTED_ENCRYPTION' });
    await put('open', keyFileText(secretOfSeed(new Uint8Array(32).fill(1), 'sr25519')));
    await chmod(join(root, 'old/hotkeys/open'), 0o644);
    await expect(wallets.read(place('open'), ask)).rejects.toThrow(/chmod 600/);
    await symlink(join(root, 'old/hotkeys/open'), join(root, 'old/hotkeys/link'));
    await expect(wallets.read(place('link'), ask)).rejects.toMatchObject({ code: 'DAMAGED' });
    for (const name of ['../x', '', 'a/b', '.hidden', 'xpub.txt'])
      await expect(wallets.read(place(name), ask), name).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(wallets.read(place('missing'), ask)).rejects.toThrow(/hotkeys of old: fernet/);
    await put('large', 'x'.repeat(70_000));
    await expect(wallets.read(place('large'), ask)).rejects.toThrow(/64 KiB/);
  });
});

describe('messages', () => {
  it('hold for their signer alone, plain or wrapped as extensions do, in both schemes', () => {
    for (const scheme of ['sr25519', 'ed25519'] as const) {
      const signer = hotkeyFromSeed(new Uint8Array(32).fill(4), scheme);
      const message = utf8('hello');
      const plain = verifyMessage(signer.hotkey, message, signer.sign(message));
      expect(plain).toEqual({ scheme, isWrapped: false });
      const wrapped = verifyMessage(signer.hotkey, message, signer.sign(utf8('<Bytes>hello</Bytes>')));
      expect(wrapped).toEqual({ scheme, isWrapped: true });
      expect(verifyMessage(signer.hotkey, utf8('hellO'), signer.sign(message))).toBeNull();
      expect(verifyMessage(alice, message, signer.sign(message))).toBeNull();
    }
    expect(verifyMessage('nobody', utf8('x'), new Uint8Array(64))).toBeNull();
  });
});
