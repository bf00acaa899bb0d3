/**
 * @file Keys of simulated people, and how their messages are signed: truly, or not at all where ten thousand of them speak
 * (`stub`). A stubbed message has a signature of zeros, and its form is not parsed again; everything else of the journal is
 * the same.
 */
import type { Ed25519Equation } from '../../protocol/ed25519.ts';
import { hashOfText } from '../../protocol/hash.ts';
import { hotkeyFromSeed, type Signer, type SignerIdentity, sessionKeyFromSeed } from '../../protocol/keys.ts';
import type { EventBody, EventKind, JournalEntry } from '../../protocol/messages.ts';
import type { Hash, Hotkey, SessionKey } from '../../protocol/names.ts';
import { messageId, type OpenedEntry, openEntry, type SignContext, signMessage } from '../../protocol/signing.ts';
import { encodeSs58 } from '../../protocol/ss58.ts';
import { fromHex } from '../../util/bytes.ts';
import { assert } from '../../util/errors.ts';

export type SignatureMode = 'real' | 'stub';

export interface SimulatedKey {
  readonly signer: Signer;
  readonly identity: SignerIdentity;
}
export interface SimulatedHotkey extends SimulatedKey {
  readonly hotkey: Hotkey;
}
export interface SimulatedSession extends SimulatedKey {
  readonly sessionKey: SessionKey;
}

const unsigned = new Uint8Array(64);
const zeros = '0'.repeat(128);

/** The same for all simulations: a simulation's keys protect nothing. */
export function hotkeyOf(label: string, mode: SignatureMode): SimulatedHotkey {
  const seed = fromHex(hashOfText(`simulated hotkey ${label}`))!;
  if (mode === 'real') {
    const signer = hotkeyFromSeed(seed, 'ed25519');
    return { signer, hotkey: signer.hotkey, identity: { kind: 'hotkey', scheme: 'ed25519', hotkey: signer.hotkey } };
  }
  const hotkey = encodeSs58(seed);
  const signer = { signer: `hotkey:ed25519:${hotkey}`, sign: () => unsigned };
  return { signer, hotkey, identity: { kind: 'hotkey', scheme: 'ed25519', hotkey } };
}

export function sessionOf(label: string, mode: SignatureMode): SimulatedSession {
  const seed = hashOfText(`simulated session ${label}`);
  if (mode === 'real') {
    const signer = sessionKeyFromSeed(fromHex(seed)!);
    return { signer, sessionKey: signer.sessionKey, identity: { kind: 'session', sessionKey: signer.sessionKey } };
  }
  const sessionKey = seed as string as SessionKey;
  const signer = { signer: `ed25519:${sessionKey}`, sign: () => unsigned };
  return { signer, sessionKey, identity: { kind: 'session', sessionKey } };
}

/** Whose messages are named by id later: the others' ids nobody reads. */
const named: ReadonlySet<EventKind> = new Set(['claim-commit', 'release']);
const noId = '0'.repeat(64) as Hash;

/** The entry that says it, at its place in the journal. */
export function entryOf<K extends EventKind>(
  key: SimulatedKey,
  event: { readonly kind: K; readonly body: EventBody<K> },
  place: Pick<JournalEntry, 'seq' | 'prevHash' | 'timeMs'> & {
    readonly context: SignContext;
    readonly mode: SignatureMode;
    readonly equation: Ed25519Equation;
  },
): OpenedEntry {
  const { context, mode, equation, ...at } = place;
  const { kind, body } = event;
  if (mode === 'real') {
    const raw = { ...at, message: signMessage(key.signer, kind, body, context) };
    const opened = openEntry(raw, at.prevHash, { ...context, equation });
    assert(opened.ok, `a simulated ${kind} is not well-formed: ${opened.ok ? '' : opened.sentence}`);
    return opened;
  }
  const { signer } = key.signer;
  const { run, seenHead } = context;
  const envelope = { version: 1 as const, kind, run, signer, seenHead, body, signature: zeros };
  const id = named.has(kind) ? messageId(envelope) : noId;
  const message = { kind, body, signer: key.identity, id, envelope } as OpenedEntry['message'];
  return { entry: { ...at, message: envelope }, message };
}
