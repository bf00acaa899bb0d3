/**
 * @file A role's keys as files in its folder: `hotkey.json` (who it is on the ledger) and `session.json` (what signs its
 * messages). JSON, version 1, mode 0600, made at the first start. Their contents are never printed or logged.
 */
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { type HotkeySigner, hotkeyFromSeed, type SessionSigner, sessionKeyFromSeed } from '../protocol/keys.ts';
import { hotkeySchema } from '../protocol/names.ts';
import { fromHex, toHex } from '../util/bytes.ts';
import { BaseError } from '../util/errors.ts';
import { nativeSign } from './native-ed25519.ts';

export class KeyFileError extends BaseError<'KEY_DAMAGED' | 'KEY_EXPOSED' | 'KEY_ELSEWHERE'> {}

export interface RoleKeys {
  readonly hotkey: HotkeySigner;
  readonly session: SessionSigner;
}

const secretHex = z.string().regex(/^[0-9a-f]{64}$/);
const hotkeyFile = z.strictObject({
  version: z.literal(1),
  kind: z.literal('hotkey'),
  scheme: z.enum(['sr25519', 'ed25519']),
  address: z.string(),
  secretSeed: secretHex,
});
/** The address alone: the hotkey delegated to this folder's session key, and its secret lies elsewhere. */
const delegatedFile = z.strictObject({
  version: z.literal(1),
  kind: z.literal('delegated-hotkey'),
  scheme: z.enum(['sr25519', 'ed25519']),
  address: hotkeySchema,
});
const sessionFile = z.strictObject({
  version: z.literal(1),
  kind: z.literal('session'),
  publicKey: z.string(),
  secretSeed: secretHex,
});

/** Reads the keys of the folder, or makes them. @throws KeyFileError */
export function openKeys(dir: string): RoleKeys {
  mkdirSync(dir, { recursive: true });
  const stored = readKey(join(dir, 'hotkey.json'), z.union([hotkeyFile, delegatedFile]));
  if (stored?.kind === 'delegated-hotkey') return { hotkey: absentHotkey(stored), session: openSessionKey(dir) };
  const hotkey = stored === null ? makeHotkey(dir) : hotkeyFromSeed(fromHex(stored.secretSeed)!, stored.scheme);
  if (stored !== null && stored.address !== hotkey.hotkey) {
    throw new KeyFileError(
      'KEY_DAMAGED',
      `${join(dir, 'hotkey.json')}: address and secret do not belong together; restore it from a copy`,
    );
  }
  return { hotkey, session: openSessionKey(dir) };
}

/** Is a hotkey by address; refuses to sign. */
function absentHotkey({ scheme, address }: z.infer<typeof delegatedFile>): HotkeySigner {
  const sign = (): never => {
    throw new KeyFileError(
      'KEY_ELSEWHERE',
      `the key of ${address} is not on this machine; where it is, type: accrete wallet delegate`,
    );
  };
  return { hotkey: address, scheme, signer: `hotkey:${scheme}:${address}`, sign };
}

/** Notes in the folder whose hotkey its session key works for. @throws KeyFileError if it has another one */
export function writeDelegatedHotkey(dir: string, { hotkey, scheme }: HotkeySigner): void {
  mkdirSync(dir, { recursive: true });
  const path = join(dir, 'hotkey.json');
  const stored = readKey(path, z.union([hotkeyFile, delegatedFile]));
  if (stored !== null && stored.address !== hotkey)
    throw new KeyFileError('KEY_DAMAGED', `${path} is of another hotkey, ${stored.address}; choose another folder`);
  if (stored === null) writeKey(path, { version: 1, kind: 'delegated-hotkey', scheme, address: hotkey });
}

/** The session key alone. */
export function openSessionKey(dir: string): SessionSigner {
  mkdirSync(dir, { recursive: true });
  const path = join(dir, 'session.json');
  const stored = readKey(path, sessionFile);
  const seed = stored === null ? new Uint8Array(randomBytes(32)) : fromHex(stored.secretSeed)!;
  const session = sessionKeyFromSeed(seed, nativeSign(seed));
  if (stored === null) {
    writeKey(path, { version: 1, kind: 'session', publicKey: session.sessionKey, secretSeed: toHex(seed) });
  } else if (stored.publicKey !== session.sessionKey) {
    throw new KeyFileError(
      'KEY_DAMAGED',
      `${path}: public key and secret do not belong together; remove it, a new one is made`,
    );
  }
  return session;
}

function makeHotkey(dir: string): HotkeySigner {
  const seed = new Uint8Array(randomBytes(32));
  const hotkey = hotkeyFromSeed(seed);
  const { scheme, hotkey: address } = hotkey;
  writeKey(join(dir, 'hotkey.json'), { version: 1, kind: 'hotkey', scheme, address, secretSeed: toHex(seed) });
  return hotkey;
}

function readKey<T>(path: string, schema: z.ZodType<T>): T | null {
  const info = statSync(path, { throwIfNoEntry: false });
  if (info === undefined) return null;
  if (process.platform !== 'win32' && (info.mode & 0o077) !== 0) {
    throw new KeyFileError('KEY_EXPOSED', `${path} can be read by other users; type: chmod 600 ${path}`);
  }
  const damaged = (cause?: unknown): KeyFileError =>
    new KeyFileError(
      'KEY_DAMAGED',
      `${path} is not a key file of version 1; restore it from a copy, or move it away to get a new identity`,
      { cause },
    );
  if (info.size > 4_096) throw damaged();
  try {
    return schema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (cause) {
    // The cause may quote the file: it is kept from the message, and the CLI prints no causes.
    throw damaged(cause);
  }
}

function writeKey(path: string, content: Readonly<Record<string, unknown>>): void {
  const temporary = `${path}.${process.pid}.tmp`;
  const file = openSync(temporary, 'wx', 0o600);
  try {
    writeSync(file, `${JSON.stringify(content, null, 2)}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  chmodSync(temporary, 0o600);
  renameSync(temporary, path);
}
