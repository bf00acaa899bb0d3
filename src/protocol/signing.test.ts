/** @file Signed messages: what opens, and everything that must not: other runs, kinds, signers, sizes and forms. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { owner, TestRun, testHotkey, testManifest, testSession } from '../../tests/support/run-fixture.ts';
import { fromHex, toHex, utf8 } from '../util/bytes.ts';
import { hotkeyFromSeed, parseSigner, verifySignature } from './keys.ts';
import type { Envelope } from './messages.ts';
import type { Hash } from './names.ts';
import {
  bindingOfRun,
  maxMessageLength,
  messageId,
  openEntry,
  openEnvelope,
  signedBytes,
  signMessage,
} from './signing.ts';
import { decodeSs58, encodeSs58 } from './ss58.ts';

const run = 'a1'.repeat(32) as Hash;
const context = { chainId: 'test', netuid: 24, run, seenHead: null };
const session = testSession('miner');
const body = { atMs: 5, threads: 2, memoryGib: 4, machineClass: 'x64' };
const envelope = signMessage(session, 'join', body, context);
const open = (changed: unknown, where = context) => openEnvelope(JSON.stringify(changed), where);
const codeOf = (result: ReturnType<typeof openEnvelope>): string => (result.ok ? 'OK' : result.code);

describe('signed bytes', () => {
  it('are the framed domain and the hash of the canonical body', () => {
    const bytes = signedBytes('join', body, context);
    const field = (text: string) => [0, 0, 0, text.length, ...utf8(text)];
    const framed = ['accrete', '1', 'test', '24', run, 'join'].flatMap(field);
    expect([...bytes.subarray(0, framed.length)]).toEqual(framed);
    // sha256 of {"body":{"atMs":5,"machineClass":"x64","memoryGib":4,"threads":2},"seenHead":null} by sha256sum
    expect(toHex(bytes.subarray(framed.length))).toBe(
      '757dbb4503408f2bfad321d95e1d3cfd5517cb5a3e42aa6ee6ec8c8ea4be8e84',
    );
  });
});

describe('opening', () => {
  it('gives the typed message, whatever the order of keys and spaces', () => {
    const opened = openEnvelope(
      JSON.stringify(Object.fromEntries(Object.entries(envelope).reverse()), null, 2),
      context,
    );
    expect(opened).toMatchObject({ ok: true, message: { kind: 'join', body, id: messageId(envelope) } });
  });

  it('refuses a message of another run, chain, netuid, kind, signer, body or tree head', () => {
    expect(codeOf(open({ ...envelope, run: 'b2'.repeat(32) }))).toBe('WRONG_RUN');
    expect(codeOf(open(envelope, { ...context, run: 'b2'.repeat(32) as Hash }))).toBe('WRONG_RUN');
    const changed: [string, unknown, typeof context?][] = [
      ['chain', envelope, { ...context, chainId: 'other' }],
      ['netuid', envelope, { ...context, netuid: 25 }],
      ['signer', { ...envelope, signer: testSession('other').signer }],
      ['body', { ...envelope, body: { ...body, threads: 3 } }],
      ['tree head', { ...envelope, seenHead: { size: 1, root: run } }],
      ['kind', { ...signMessage(session, 'leave', { atMs: 5 }, context), kind: 'lease-request', body: { nonce: 5 } }],
      ['signature', { ...envelope, signature: '0'.repeat(128) }],
    ];
    for (const [what, message, where] of changed) expect(codeOf(open(message, where)), what).toBe('BAD_SIGNATURE');
  });

  it('refuses what does not fit the schema, before it looks at the signature', () => {
    const malformed: [string, unknown][] = [
      ['no object', 5],
      ['an array', []],
      ['a key more', { ...envelope, extra: 1 }],
      ['a key less', { ...envelope, signature: undefined }],
      ['version', { ...envelope, version: 2 }],
      ['signature length', { ...envelope, signature: 'ab' }],
      ['upper case', { ...envelope, signature: 'A'.repeat(128) }],
      ['body key more', { ...envelope, body: { ...body, address: '10.0.0.1' } }],
      ['negative', { ...envelope, body: { ...body, threads: -1 } }],
      ['fraction', { ...envelope, body: { ...body, threads: 1.5 } }],
      ['too large', { ...envelope, body: { ...body, atMs: 2 ** 53 } }],
    ];
    for (const [what, message] of malformed) expect(codeOf(open(message)), what).toBe('MALFORMED');
    expect(codeOf(open({ ...envelope, kind: 'toString' }))).toBe('UNKNOWN_KIND');
    expect(codeOf(open({ ...envelope, kind: 'gossip' }))).toBe('UNKNOWN_KIND');
    expect(codeOf(open({ ...envelope, body: { ...body, machineClass: '\ud800' } }))).toBe('BAD_TEXT');
  });

  it('refuses text that is too long, too deep, or says a thing twice', () => {
    expect(codeOf(openEnvelope(' '.repeat(maxMessageLength + 1), context))).toBe('OVERSIZED');
    expect(codeOf(openEnvelope('['.repeat(1_000_000), context))).toBe('TOO_DEEP');
    const twice = JSON.stringify(envelope).replace('"kind":', '"kind":"leave","kind":');
    expect(codeOf(openEnvelope(twice, context))).toBe('REPEATED_KEY');
    expect(codeOf(openEnvelope('{', context))).toBe('MALFORMED');
  });

  it('takes delegations of hotkeys only from hotkeys, and all else only from session keys', () => {
    const hotkey = testHotkey('m');
    expect(codeOf(open(signMessage(hotkey, 'join', body, context)))).toBe('WRONG_SIGNER');
    const delegation = {
      hotkey: hotkey.hotkey,
      role: 'miner',
      name: 'a',
      sessionKey: session.sessionKey,
      issuedAtMs: 1,
      expiresAtMs: 2,
    };
    expect(codeOf(open(signMessage(session, 'delegate', delegation, context)))).toBe('WRONG_SIGNER');
    for (const scheme of ['ed25519', 'sr25519'] as const) {
      const signer = hotkeyFromSeed(new Uint8Array(32).fill(7), scheme);
      const signed = signMessage(signer, 'delegate', { ...delegation, hotkey: signer.hotkey }, context);
      expect(codeOf(open(signed)), scheme).toBe('OK');
      const other = scheme === 'ed25519' ? 'sr25519' : 'ed25519';
      expect(codeOf(open({ ...signed, signer: signed.signer.replace(scheme, other) })), scheme).toBe('BAD_SIGNATURE');
    }
    expect(codeOf(open({ ...envelope, signer: 'nobody' }))).toBe('WRONG_SIGNER');
  });

  it('never throws, whatever bytes come', () => {
    const text = JSON.stringify(envelope);
    fc.assert(
      fc.property(fc.nat(text.length - 1), fc.string({ unit: 'binary', maxLength: 3 }), (at, insert) => {
        const changed = text.slice(0, at) + insert + text.slice(at + insert.length);
        const result = openEnvelope(changed, context);
        if (result.ok) expect(result.message.id).toBe(messageId(envelope));
      }),
      { seed: 8, numRuns: 300 },
    );
  });

  it('names a message by all but its signature', () => {
    const again: Envelope = { ...envelope, signature: 'f'.repeat(128) };
    expect(messageId(again)).toBe(messageId(envelope));
    expect(messageId({ ...envelope, signer: testSession('other').signer })).not.toBe(messageId(envelope));
  });
});

describe('journal entries', () => {
  it('open with their chain, the first one by its own manifest', () => {
    const test = new TestRun();
    const first = test.open('run', { manifest: testManifest(), start: [...test.state.run!.start] }, owner, true);
    const entry = { ...first.entry, seq: 0, prevHash: '0'.repeat(64) as Hash };
    const opened = openEntry(JSON.parse(JSON.stringify(entry)), entry.prevHash, null);
    expect(opened).toMatchObject({ ok: true, entry });
    expect(bindingOfRun(entry)?.run).toBe(test.context.run);
    expect(openEntry(entry, run, null)).toMatchObject({ ok: false, code: 'BROKEN_CHAIN' });
    expect(openEntry({ ...entry, more: 1 }, entry.prevHash, null)).toMatchObject({ ok: false, code: 'MALFORMED' });
    const wrong = { ...entry, message: { ...entry.message, signature: '1'.repeat(128) } };
    expect(openEntry(wrong, entry.prevHash, null)).toMatchObject({ ok: false, code: 'BAD_SIGNATURE' });
    expect(openEntry({ ...entry, message: envelope }, entry.prevHash, null)).toMatchObject({
      ok: false,
      code: 'MALFORMED',
    });
  });
});

describe('hotkeys', () => {
  // Substrate's development account Alice: seed, sr25519 public key and address as `subkey inspect //Alice` prints them.
  const alice = {
    seed: 'e5be9a5092b81bca64be81d212e7f2f9eba183bb7a90954f7b76361f6edb5c0a',
    publicKey: 'd43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d',
    address: '5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY',
  };

  it('have Substrate’s addresses', () => {
    expect(encodeSs58(fromHex(alice.publicKey)!)).toBe(alice.address);
    expect(toHex(decodeSs58(alice.address)!)).toBe(alice.publicKey);
    expect(hotkeyFromSeed(fromHex(alice.seed)!).hotkey).toBe(alice.address);
  });

  it('sign deterministically, and only their own bytes', () => {
    for (const scheme of ['sr25519', 'ed25519'] as const) {
      const signer = hotkeyFromSeed(fromHex(alice.seed)!, scheme);
      const signature = signer.sign(utf8('one'));
      expect(signer.sign(utf8('one'))).toEqual(signature);
      const identity = parseSigner(signer.signer)!;
      expect(verifySignature(identity, utf8('one'), signature), scheme).toBe(true);
      expect(verifySignature(identity, utf8('two'), signature), scheme).toBe(false);
      for (const bad of [new Uint8Array(64), new Uint8Array(64).fill(255), new Uint8Array(3)])
        expect(verifySignature(identity, utf8('one'), bad), scheme).toBe(false);
    }
  });

  it('with a typing mistake, another network or another length are no addresses', () => {
    expect(decodeSs58(`${alice.address.slice(0, -1)}Z`)).toBeNull();
    expect(decodeSs58(alice.address.replace('5G', '5H'))).toBeNull();
    // Polkadot's own prefix, 0, for the same key.
    expect(decodeSs58('15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5')).toBeNull();
    for (const bad of ['', '0', 'l', alice.address.slice(1), `${alice.address}1`, '1'.repeat(60)])
      expect(decodeSs58(bad), bad).toBeNull();
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (key) => {
        expect(decodeSs58(encodeSs58(key))).toEqual(key);
      }),
      { seed: 9 },
    );
  });
});
