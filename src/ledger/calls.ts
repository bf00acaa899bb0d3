/**
 * @file Calls on the embedded ledger as they are signed, sent and kept. An account signs chain, subnet, call, nonce and
 * arguments, so that a call counts once, on one chain. Names are the chain's own.
 */
import { z } from 'zod';
import type { HotkeyScheme } from '../protocol/keys.ts';
import { countSchema, type Hotkey, hashSchema, hotkeySchema } from '../protocol/names.ts';
import { concatBytes, toHex, utf8 } from '../util/bytes.ts';
import { canonicalJson } from '../util/canonical-json.ts';
import { LedgerError } from './errors.ts';

/** Signs a ledger call with a hotkey's secret; a `HotkeySigner` of the protocol is one. */
export interface LedgerSigner {
  readonly hotkey: Hotkey;
  readonly scheme: HotkeyScheme;
  sign(bytes: Uint8Array): Uint8Array;
}

export const maxCommitmentBytes = 128;
const u16 = countSchema.max(65_535);
const u16s = z.array(u16).max(65_536);
const versionKey = countSchema;

/** Where a neuron answers; `ip` is IPv4 or IPv6, `protocol` as the neurons of the subnet agree. */
export const axonSchema = z.strictObject({
  ip: z.union([z.ipv4(), z.ipv6()]),
  port: u16,
  protocol: countSchema.max(255),
  version: countSchema.max(2 ** 32 - 1),
});
export type Axon = z.infer<typeof axonSchema>;

const identityText = z.string().max(2_048);
/** Who a coldkey says it is; the chain's own limits are in `rules/records.ts`. */
export const identitySchema = z.strictObject({
  name: identityText,
  url: identityText,
  githubRepo: identityText,
  image: identityText,
  discord: identityText,
  description: identityText,
  additional: identityText,
});
export type Identity = z.infer<typeof identitySchema>;

const amountOnHotkey = z.strictObject({ amountRao: countSchema, hotkey: hotkeySchema.optional() });
const argsSchemas = {
  /** Signed by a coldkey for its `hotkey`, or by a hotkey for its `coldkey`; who signs pays. */
  burned_register: z.union([z.strictObject({ coldkey: hotkeySchema }), z.strictObject({ hotkey: hotkeySchema })]),
  /** On `hotkey`, or on the signer. */
  add_stake: amountOnHotkey,
  remove_stake: amountOnHotkey,
  transfer: z.strictObject({ to: hotkeySchema, amountRao: countSchema }),
  set_weights: z.strictObject({ uids: u16s, values: u16s, versionKey: versionKey.optional() }),
  commit_weights: z.strictObject({ hash: hashSchema }),
  reveal_weights: z.strictObject({ uids: u16s, values: u16s, salt: z.array(u16).max(256), versionKey }),
  serve_axon: axonSchema,
  set_identity: identitySchema,
  set_commitment: z.strictObject({
    data: z.string().regex(new RegExp(`^([0-9a-f]{2}){0,${maxCommitmentBytes}}$`), 'expected hex of up to 128 bytes'),
  }),
} as const;
export type CallName = keyof typeof argsSchemas;
export type CallArgs<N extends CallName> = z.infer<(typeof argsSchemas)[N]>;

const callOf = <N extends CallName>(name: N) => z.strictObject({ name: z.literal(name), args: argsSchemas[name] });
const callSchema = z.discriminatedUnion('name', [
  callOf('burned_register'),
  callOf('add_stake'),
  callOf('remove_stake'),
  callOf('transfer'),
  callOf('set_weights'),
  callOf('commit_weights'),
  callOf('reveal_weights'),
  callOf('serve_axon'),
  callOf('set_identity'),
  callOf('set_commitment'),
]);
/** A call and its arguments. */
export type Call = z.infer<typeof callSchema>;

export const signedCallSchema = z.strictObject({
  /** The account that signs: a hotkey, or a coldkey. */
  hotkey: hotkeySchema,
  scheme: z.enum(['sr25519', 'ed25519']),
  /** The account's count of accepted calls so far. */
  nonce: countSchema,
  signature: z.string().regex(/^[0-9a-f]{128}$/, 'expected 64 bytes of hex'),
  call: callSchema,
});
export type SignedCall = z.infer<typeof signedCallSchema>;

/** What a signature binds besides the call. */
export interface ChainBinding {
  readonly chainId: string;
  readonly netuid: number;
}

const lengthPrefixed = (text: string): Uint8Array => {
  const bytes = utf8(text);
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, bytes.byteLength, false);
  return concatBytes(length, bytes);
};

/** The signed bytes, version 1: each part after its length as a big-endian u32; arguments as canonical JSON. */
export function callBytes(chain: ChainBinding, hotkey: Hotkey, nonce: number, call: Call): Uint8Array {
  const parts = ['accrete/ledger-call/1', chain.chainId, String(chain.netuid), hotkey, String(nonce), call.name];
  return concatBytes(...[...parts, canonicalJson(call.args)].map(lengthPrefixed));
}

export function signCall(chain: ChainBinding, signer: LedgerSigner, nonce: number, call: Call): SignedCall {
  const signature = toHex(signer.sign(callBytes(chain, signer.hotkey, nonce, call)));
  return { hotkey: signer.hotkey, scheme: signer.scheme, nonce, signature, call };
}

/**
 * The chain's rule for relative weights: scaled so that the largest is 65,535, rounded, zeros left out; by uid.
 * `BAD_WEIGHTS` for none, for negative or non-finite ones, and when all are zero.
 */
export function toU16Weights(weights: ReadonlyMap<number, number>): CallArgs<'set_weights'> {
  const entries = [...weights].sort(([a], [b]) => a - b);
  for (const [uid, weight] of entries) {
    if (!Number.isFinite(weight) || weight < 0) {
      throw new LedgerError('BAD_WEIGHTS', `uid ${uid}: expected a finite weight ≥ 0, got ${weight}`);
    }
  }
  const largest = entries.reduce((max, [, weight]) => Math.max(max, weight), 0);
  if (largest === 0) throw new LedgerError('BAD_WEIGHTS', 'expected at least one weight above 0');
  const scaled = entries
    .map(([uid, weight]) => [uid, Math.round((weight / largest) * 65_535)] as const)
    .filter(([, value]) => value > 0);
  return { uids: scaled.map(([uid]) => uid), values: scaled.map(([, value]) => value) };
}
