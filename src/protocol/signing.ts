/**
 * @file Signed messages: which bytes a signature covers, making an envelope, and opening one from a stranger. Opening
 * checks size, form and signature; whether the message is allowed now is decided by `journal/fold.ts`.
 */
import type { z } from 'zod';
import { concatBytes, fromHex, toHex, utf8 } from '../util/bytes.ts';
import { canonicalJson, parseStrictJson } from '../util/canonical-json.ts';
import { assert } from '../util/errors.ts';
import type { Ed25519Equation } from './ed25519.ts';
import { hashOfJson, runIdOf, sha256 } from './hash.ts';
import { parseSigner, type Signer, type SignerIdentity, verifySignature } from './keys.ts';
import {
  type Envelope,
  type EventBody,
  type EventKind,
  envelopeSchema,
  eventSchemas,
  type JournalEntry,
  journalEntrySchema,
  type MessageKind,
  type WireBody,
  type WireKind,
  wireSchemas,
} from './messages.ts';
import type { Hash } from './names.ts';

export type { Signer };

/** A body of 65,536 merged claims fits; the bus carries no more either. */
export const maxMessageLength = 8 * 1024 * 1024;
const maxDepth = 24;

/** What signatures of a run are bound to. */
export interface RunBinding {
  readonly chainId: string;
  readonly netuid: number;
  readonly run: Hash;
}
export interface SignContext extends RunBinding {
  /** The newest tree head that the signer has seen. */
  readonly seenHead: Envelope['seenHead'];
}
export interface OpenContext extends RunBinding {
  /** A native check of ed25519 signatures. */
  readonly equation?: Ed25519Equation;
}

export type BodyOf<K extends MessageKind> = K extends EventKind
  ? EventBody<K>
  : K extends WireKind
    ? WireBody<K>
    : never;

export type OpenedMessage = {
  [K in MessageKind]: {
    readonly kind: K;
    readonly body: BodyOf<K>;
    readonly signer: SignerIdentity;
    readonly id: Hash;
    readonly envelope: Envelope;
  };
}[MessageKind];

export type OpenCode =
  | 'OVERSIZED'
  | 'MALFORMED'
  | 'TOO_DEEP'
  | 'REPEATED_KEY'
  | 'BAD_TEXT'
  | 'UNKNOWN_KIND'
  | 'WRONG_RUN'
  | 'WRONG_SIGNER'
  | 'BAD_SIGNATURE'
  | 'BROKEN_CHAIN';
export interface OpenFault {
  readonly ok: false;
  readonly code: OpenCode;
  readonly sentence: string;
}
const fault = (code: OpenCode, sentence: string): OpenFault => ({ ok: false, code, sentence });

/** Kinds that hotkeys sign, and session keys never. */
export const hotkeyKinds: ReadonlySet<string> = new Set(['run', 'delegate', 'amendment']);
const schemas: Readonly<Record<string, z.ZodType>> = { ...eventSchemas, ...wireSchemas };

/**
 * Signed bytes: `accrete`, protocol version, chain id, netuid, run id and kind as UTF-8, each after its length (4 bytes,
 * big-endian), then SHA-256 of the canonical JSON of {body, seenHead}.
 */
export function signedBytes(kind: string, body: unknown, context: SignContext): Uint8Array {
  const fields = ['accrete', '1', context.chainId, String(context.netuid), context.run, kind].map(utf8);
  const framed = fields.flatMap((field) => {
    const length = new Uint8Array(4);
    new DataView(length.buffer).setUint32(0, field.byteLength);
    return [length, field];
  });
  return concatBytes(...framed, sha256(utf8(canonicalJson({ body, seenHead: context.seenHead }))));
}

/** Our own body must fit its schema; a fault in it is our bug. */
export function signMessage(signer: Signer, kind: MessageKind, body: unknown, context: SignContext): Envelope {
  const checked = schemas[kind]!.safeParse(body);
  assert(!checked.error, `${kind} does not fit its schema: ${checked.error && describeFault(checked.error)}`);
  return {
    version: 1,
    kind,
    run: context.run,
    signer: signer.signer,
    seenHead: context.seenHead,
    body,
    signature: toHex(signer.sign(signedBytes(kind, body, context))),
  };
}

/** Names a message by everything but its signature, so that signing again makes no second message. A claim's id. */
export function messageId(envelope: Envelope): Hash {
  const { signature: _, ...rest } = envelope;
  return hashOfJson(rest);
}

/** Signs, and opens without a check what was signed just now. */
export function signOpened(signer: Signer, kind: MessageKind, body: unknown, context: SignContext): OpenedMessage {
  const envelope = signMessage(signer, kind, body, context);
  const identity = parseSigner(envelope.signer);
  assert(identity !== null, `${envelope.signer} is no signer`);
  return { kind, body, signer: identity, id: messageId(envelope), envelope } as OpenedMessage;
}

/** Parses and checks text from a stranger; never throws. */
export function openEnvelope(
  text: string,
  context: OpenContext,
): { readonly ok: true; readonly message: OpenedMessage } | OpenFault {
  const parsed = parseStrictJson(text, { maxLength: maxMessageLength, maxDepth });
  if (!parsed.ok) return parsed;
  const envelope = envelopeSchema.safeParse(parsed.value);
  if (!envelope.success) return fault('MALFORMED', `envelope: ${describeFault(envelope.error)}`);
  return openMessage(envelope.data, context);
}

/** Checks kind, body, run and signature of a parsed envelope; never throws. */
export function openMessage(
  envelope: Envelope,
  context: OpenContext,
): { readonly ok: true; readonly message: OpenedMessage } | OpenFault {
  const { kind } = envelope;
  if (!Object.hasOwn(schemas, kind)) return fault('UNKNOWN_KIND', `no message is called ${JSON.stringify(kind)}`);
  if (envelope.run !== context.run)
    return fault(
      'WRONG_RUN',
      `expected a message for run ${context.run.slice(0, 12)}, got ${envelope.run.slice(0, 12)}`,
    );
  const body = schemas[kind]!.safeParse(envelope.body);
  if (!body.success) return fault('MALFORMED', `${kind}: ${describeFault(body.error)}`);
  const signer = parseSigner(envelope.signer);
  if (signer === null || (signer.kind === 'hotkey') !== hotkeyKinds.has(kind))
    return fault('WRONG_SIGNER', `${kind} is signed by a ${hotkeyKinds.has(kind) ? 'hotkey' : 'session key'}`);
  const bytes = tryCanonical(() => signedBytes(kind, envelope.body, { ...context, seenHead: envelope.seenHead }));
  if (bytes === null) return fault('BAD_TEXT', `${kind} holds text that is not well-formed Unicode`);
  if (!verifySignature(signer, bytes, fromHex(envelope.signature)!, context.equation))
    return fault('BAD_SIGNATURE', `${kind} is not signed by ${envelope.signer} for this run`);
  return { ok: true, message: { kind, body: body.data, signer, id: messageId(envelope), envelope } as OpenedMessage };
}

/** Null for data that has no canonical text. */
function tryCanonical<T>(make: () => T): T | null {
  try {
    return make();
  } catch (error) {
    if (error instanceof TypeError) return null;
    throw error;
  }
}

/** Hash of a journal entry: what the next entry names as `prevHash`. */
export const entryHash = (entry: JournalEntry): Hash => hashOfJson(entry);

/** What the first entry's signature is bound to: its own manifest. Null if it is no run event. */
export function bindingOfRun(entry: JournalEntry): RunBinding | null {
  if (entry.message.kind !== 'run') return null;
  const body = eventSchemas.run.safeParse(entry.message.body);
  if (!body.success) return null;
  const { chainId, netuid } = body.data.manifest.ledger;
  return { chainId, netuid, run: runIdOf(body.data.manifest) };
}

function firstEntryFault({ kind, body }: Envelope): string {
  if (kind !== 'run') return `the first entry must be a run event, got ${kind}`;
  const { error } = eventSchemas.run.safeParse(body);
  return error === undefined ? 'the first entry has no manifest' : describeFault(error);
}

/** An entry whose form, place in the chain and signature are good. */
export interface OpenedEntry {
  readonly entry: JournalEntry;
  readonly message: OpenedMessage;
}

/**
 * Checks a journal entry's form, its place in the hash chain and its signature; never throws. `context` is null for the
 * first entry, which brings its own.
 */
export function openEntry(
  raw: unknown,
  previousHash: Hash,
  context: OpenContext | null,
): ({ readonly ok: true } & OpenedEntry) | OpenFault {
  const parsed = journalEntrySchema.safeParse(raw);
  if (!parsed.success) return fault('MALFORMED', `journal entry: ${describeFault(parsed.error)}`);
  const entry = parsed.data;
  if (entry.prevHash !== previousHash)
    return fault(
      'BROKEN_CHAIN',
      `entry ${entry.seq} follows ${entry.prevHash.slice(0, 12)}, expected ${previousHash.slice(0, 12)}`,
    );
  const binding = context ?? bindingOfRun(entry);
  if (binding === null) return fault('MALFORMED', firstEntryFault(entry.message));
  const opened = openMessage(entry.message, binding);
  return opened.ok ? { ok: true, entry, message: opened.message } : opened;
}

/** The first fault of a schema, with its place; bounded, and without the peer's bytes. */
export function describeFault(error: z.ZodError): string {
  const issue = error.issues[0]!;
  return `${issue.path.join('.').slice(0, 80)}: ${issue.message.slice(0, 160)}`;
}
