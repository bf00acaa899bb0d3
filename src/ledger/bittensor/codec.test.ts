/** @file Calls, storage, events and extrinsics against true chainMetadata!, published keys, and what polkadot-api and hdkd make of the same. */
import { getPolkadotSigner } from '@polkadot-api/signer';
import { ed25519CreateDerive, sr25519CreateDerive } from '@polkadot-labs/hdkd';
import { entropyToMiniSecret, mnemonicToEntropy, sr25519 } from '@polkadot-labs/hdkd-helpers';
import { describe, expect, it } from 'vitest';
import { chainMetadata, describeOnChain } from '../../../tests/support/chain-metadata.ts';
import { blake2b256 } from '../../protocol/hash.ts';
import { hotkeyFromSeed } from '../../protocol/keys.ts';
import { decodeSs58, encodeSs58 } from '../../protocol/ss58.ts';
import { fromHex, toHex, utf8 } from '../../util/bytes.ts';
import { weightsCommitHash } from '../committed-weights.ts';
import { chainErrorOf, LedgerError } from '../errors.ts';
import { dispatchRefusal } from './chain-errors.ts';
import { fieldsData, rawField } from './commitment-fields.ts';
import { compact, mortalBlocks, readExtrinsic, signExtrinsic } from './extrinsic.ts';
import { Runtime } from './runtime.ts';
import { formatIp, parseIp } from './subnet.ts';

/** Where its metadata is not at hand nothing below that needs it is run. */
const runtime =
  chainMetadata === null
    ? (undefined as never)
    : new Runtime(chainMetadata, { specVersion: 424, transactionVersion: 1 });
const alice = hotkeyFromSeed(new Uint8Array(32).fill(1), 'ed25519');
const bob = hotkeyFromSeed(new Uint8Array(32).fill(2));
const netuid = 7;

const calls: readonly [pallet: string, name: string, args: Readonly<Record<string, unknown>>, index: number][] = [
  ['SubtensorModule', 'burned_register', { netuid, hotkey: bob.hotkey }, 7],
  ['SubtensorModule', 'register_limit', { netuid, hotkey: bob.hotkey, limit_price: 550_000n }, 134],
  ['SubtensorModule', 'add_stake', { hotkey: bob.hotkey, netuid, amount_staked: 10n ** 12n }, 2],
  ['SubtensorModule', 'remove_stake', { hotkey: bob.hotkey, netuid, amount_unstaked: 5n }, 3],
  ['SubtensorModule', 'set_weights', { netuid, dests: [0, 3, 255], weights: [1, 65_535, 7], version_key: 9n }, 0],
  ['SubtensorModule', 'commit_weights', { netuid, commit_hash: `0x${'ab'.repeat(32)}` }, 96],
  ['SubtensorModule', 'reveal_weights', { netuid, uids: [1], values: [65_535], salt: [1, 2, 3], version_key: 0n }, 97],
  [
    'SubtensorModule',
    'serve_axon',
    { netuid, version: 1, ip: 3_405_803_783n, port: 8_091, ip_type: 4, protocol: 4, placeholder1: 0, placeholder2: 0 },
    4,
  ],
  [
    'SubtensorModule',
    'set_identity',
    Object.fromEntries(
      ['name', 'url', 'github_repo', 'image', 'discord', 'description', 'additional'].map((key) => [key, utf8(key)]),
    ),
    68,
  ],
  ['Commitments', 'set_commitment', { netuid, info: [rawField(new Uint8Array(32).fill(5))] }, 0],
  ['Balances', 'transfer_keep_alive', { dest: { type: 'Id', value: bob.hotkey }, value: 10n ** 10n }, 3],
  ['Timestamp', 'set', { now: 1_700_000_000_000n }, 0],
];

describeOnChain('the true metadata (spec 424)', () => {
  it('is the whole file, and has what a run needs', () => {
    expect(chainMetadata!.byteLength).toBe(337_961);
    expect(runtime.features).toEqual({
      ...{ mechanisms: true, commitReveal: true, timelocked: 4, registerLimit: true, storedEpochs: true },
    });
    expect(runtime.constant('System', 'Version')).toMatchObject({ spec_version: 424 });
  });

  it('is refused when it is cut short, too large or nothing', () => {
    const version = { specVersion: 424, transactionVersion: 1 };
    for (const bytes of [chainMetadata!.slice(0, 1_000), new Uint8Array(), new Uint8Array(9 << 20)])
      expect(() => new Runtime(bytes, version), `${bytes.byteLength} bytes`).toThrow(/metadata/);
  });

  it('encodes every call that is made, and reads it back', () => {
    for (const [pallet, name, args, index] of calls) {
      const bytes = runtime.encodeCall({ pallet, name, args });
      expect(bytes[1], name).toBe(index);
      const again = runtime.decodeCall(pallet, name, bytes);
      expect(again, name).not.toBeNull();
      expect(toHex(runtime.encodeCall({ pallet, name, args: again! })), name).toBe(toHex(bytes));
    }
  });

  it('encodes set_weights as SCALE says, byte by byte', () => {
    const args = { netuid: 1, dests: [0, 258], weights: [65_535, 1], version_key: 3n };
    const bytes = runtime.encodeCall({ pallet: 'SubtensorModule', name: 'set_weights', args });
    expect(toHex(bytes)).toBe('0700' + '0100' + '0800000201' + '08ffff0100' + '0300000000000000');
  });

  it('encodes a commitment of any length up to 128 bytes and gives its bytes back', () => {
    for (const sizeBytes of [0, 1, 2, 31, 32, 33, 127, 128]) {
      const data = Uint8Array.from({ length: sizeBytes }, (_, i) => 255 - i);
      const args = { netuid, info: [rawField(data)] };
      const bytes = runtime.encodeCall({ pallet: 'Commitments', name: 'set_commitment', args });
      // Pallet, call, netuid, one field, the variant's number is the length plus one.
      expect([...bytes.slice(0, 6)], `${sizeBytes} bytes`).toEqual([18, 0, netuid, 0, 4, sizeBytes + 1]);
      expect(toHex(bytes.slice(6))).toBe(toHex(data));
      expect(toHex(fieldsData(runtime.decodeCall('Commitments', 'set_commitment', bytes)!.info))).toBe(toHex(data));
    }
  });

  it('reads and writes every storage item that is read', () => {
    const items: readonly [pallet: string, item: string, keys: readonly unknown[], value: unknown][] = [
      ['SubtensorModule', 'NetworksAdded', [netuid], true],
      ['SubtensorModule', 'Tempo', [netuid], 360],
      ['SubtensorModule', 'LastEpochBlock', [netuid], 100n],
      ['SubtensorModule', 'SubnetEpochIndex', [netuid], 3n],
      ['SubtensorModule', 'SubnetOwner', [netuid], bob.hotkey],
      ['SubtensorModule', 'SubnetOwnerHotkey', [netuid], bob.hotkey],
      ['SubtensorModule', 'SubnetworkN', [netuid], 2],
      ['SubtensorModule', 'MaxAllowedUids', [netuid], 256],
      ['SubtensorModule', 'MaxAllowedValidators', [netuid], 64],
      ['SubtensorModule', 'Burn', [netuid], 500_000n],
      ['SubtensorModule', 'NetworkRegistrationAllowed', [netuid], true],
      ['SubtensorModule', 'SubnetAlphaOutEmission', [netuid], 1_000_000_000n],
      ['SubtensorModule', 'SubnetAlphaOut', [netuid], 2n ** 60n],
      ['SubtensorModule', 'WeightsSetRateLimit', [netuid], 100n],
      ['SubtensorModule', 'WeightsVersionKey', [netuid], 0n],
      ['SubtensorModule', 'CommitRevealWeightsEnabled', [netuid], true],
      ['SubtensorModule', 'RevealPeriodEpochs', [netuid], 1n],
      ['SubtensorModule', 'Yuma3On', [netuid], true],
      ['SubtensorModule', 'LiquidAlphaOn', [netuid], false],
      ['SubtensorModule', 'ImmunityPeriod', [netuid], 5_000],
      ['SubtensorModule', 'ServingRateLimit', [netuid], 50n],
      ['SubtensorModule', 'Incentive', [netuid], [65_535, 1]],
      ['SubtensorModule', 'Dividends', [netuid], [0, 65_535]],
      ['SubtensorModule', 'Consensus', [netuid], [1]],
      ['SubtensorModule', 'ValidatorTrust', [netuid], [2]],
      ['SubtensorModule', 'ValidatorPermit', [netuid], [true, false]],
      ['SubtensorModule', 'LastUpdate', [netuid], [5n, 6n]],
      ['SubtensorModule', 'Emission', [netuid], [2n ** 40n]],
      ['SubtensorModule', 'Keys', [netuid, 3], bob.hotkey],
      ['SubtensorModule', 'Uids', [netuid, bob.hotkey], 3],
      ['SubtensorModule', 'BlockAtRegistration', [netuid, 3], 77n],
      ['SubtensorModule', 'Owner', [bob.hotkey], alice.hotkey],
      ['SubtensorModule', 'TotalHotkeyAlpha', [bob.hotkey, netuid], 10n ** 15n],
      ['SubtensorModule', 'Weights', [netuid, 3], [[1, 65_535], [2, 9]]], // biome-ignore format: one line an item
      ['SubtensorModule', 'Axons', [netuid, bob.hotkey], { block: 9n, ...calls[7]![2], netuid: undefined }],
      ['SubtensorModule', 'IdentitiesV2', [bob.hotkey], calls[8]![2]],
      ['System', 'Account', [bob.hotkey], { nonce: 4, consumers: 0, providers: 1, sufficients: 0, data: { free: 5n, reserved: 0n, frozen: 0n, flags: 0n } }], // biome-ignore format: one line an item
      ['Commitments', 'CommitmentOf', [netuid, bob.hotkey], { deposit: 0n, block: 12, info: [rawField(new Uint8Array(32))] }], // biome-ignore format: one line an item
      ['Commitments', 'UsedSpaceOf', [netuid, bob.hotkey], { last_epoch: 3n, used_space: 200n }],
      ['Commitments', 'MaxSpace', [], 3_100],
    ];
    for (const [pallet, item, keys, value] of items) {
      expect(runtime.storageKey(pallet, item, keys), item).toMatch(/^0x[0-9a-f]{64,}$/);
      const bytes = runtime.encodeStorage(pallet, item, value);
      const again = runtime.storageValue(pallet, item, `0x${toHex(bytes)}`);
      expect(toHex(runtime.encodeStorage(pallet, item, again)), item).toBe(toHex(bytes));
      const isPrimitive = typeof value !== 'object' || value === null;
      if (isPrimitive) expect(again, item).toEqual(value);
      // A byte too much or too few is another type than metadata's.
      expect(() => runtime.storageValue(pallet, item, `0x${toHex(bytes)}00`), item).toThrow();
      if (bytes.byteLength > 1) expect(() => runtime.storageValue(pallet, item, '0x'), item).toThrow();
    }
  });

  it('makes the keys that Substrate makes', () => {
    // twox128("System") ++ twox128("Account"): published in Substrate's documentation.
    expect(runtime.storageKey('System', 'Account', [bob.hotkey])).toMatch(
      /^0x26aa394eea5630e07c48ae0c9558cef7b99d880ec681799c0cf30e8886371da9/,
    );
    expect(runtime.storageKey('System', 'Events', [])).toBe(
      '0x26aa394eea5630e07c48ae0c9558cef780d41e5e16056765bc8461851072c9d7',
    );
  });

  it('reads success and failure from events, and names errors', () => {
    const location = runtime.errorLocation('SubtensorModule', 'SettingWeightsTooFast');
    expect(location[0]).toBe(7);
    // Byte by byte: phase (ApplyExtrinsic, u32), System, variant, [DispatchError::Module, pallet, error], weight, class, fee, topics.
    const success = '00' + '00000000' + '0000' + '00000000' + '00';
    const module = `03${toHex(Uint8Array.of(...location))}000000`;
    const failed = (at: string, error: string) => `00${at}0001${error}0000000000`;
    const hex = `0x0c${success}${failed('01000000', module)}${failed('02000000', '0700')}`;
    const events = runtime.decodeEvents(hex) as { event: { value: { value: { dispatch_error: unknown } } } }[];
    expect(events).toMatchObject([
      { phase: { type: 'ApplyExtrinsic', value: 0 }, event: { type: 'System', value: { type: 'ExtrinsicSuccess' } } },
      { phase: { type: 'ApplyExtrinsic', value: 1 }, event: { type: 'System', value: { type: 'ExtrinsicFailed' } } },
      { phase: { type: 'ApplyExtrinsic', value: 2 } },
    ]);
    const refusals = events.slice(1).map(({ event }) => dispatchRefusal(event.value.value.dispatch_error, 'a call'));
    expect(refusals.map((refusal) => [refusal.code, chainErrorOf(refusal)])).toEqual([
      ['RATE_LIMIT', 'SettingWeightsTooFast'],
      ['BALANCE', 'FundsUnavailable'],
    ]);
    expect(() => runtime.decodeEvents(`${hex.slice(0, -20)}`)).toThrow(/System.Events/);
  });

  it('tells what it lacks by name', () => {
    expect(runtime.hasCall('SubtensorModule', 'fly')).toBe(false);
    expect(() => runtime.encodeCall({ pallet: 'SubtensorModule', name: 'fly', args: {} })).toThrow(LedgerError);
    expect(() => runtime.storageKey('Nowhere', 'Nothing', [])).toThrow(/Nowhere\.Nothing/);
  });
});

describeOnChain('signed extrinsics', () => {
  const genesis = '2f'.repeat(32);
  const birth = { number: 4_242_017, hash: '3c'.repeat(32) };
  const call = runtime.encodeCall({ pallet: 'SubtensorModule', name: 'add_stake', args: calls[2]![2] });
  const long = runtime.encodeCall({
    ...{ pallet: 'SubtensorModule', name: 'set_weights' },
    args: { netuid, dests: Array.from({ length: 200 }, (_, i) => i), weights: Array(200).fill(3), version_key: 0n },
  });

  it('are the bytes that polkadot-api signs (ed25519 is deterministic)', async () => {
    for (const [bytes, nonce] of [
      [call, 0],
      [call, 70],
      [call, 20_000],
      [long, 2 ** 31],
    ] as const) {
      const mine = signExtrinsic({ runtime, genesis, nonce, birth }, alice, bytes);
      const era = Uint8Array.of(5 | ((birth.number % mortalBlocks) << 4) & 255, ((birth.number % mortalBlocks) << 4) >> 8); // biome-ignore format: one expression
      const u32 = (value: number) => Uint8Array.of(value & 255, value >> 8, 0, 0);
      const none = new Uint8Array();
      const extension = (identifier: string, value: Uint8Array = none, additionalSigned: Uint8Array = none) => ({
        identifier,
        value,
        additionalSigned,
      });
      const known = [
        extension('CheckSpecVersion', none, u32(424)),
        extension('CheckTxVersion', none, u32(1)),
        extension('CheckGenesis', none, fromHex(genesis)!),
        extension('CheckMortality', era, fromHex(birth.hash)!),
        extension('CheckNonce', compact(nonce)),
        extension('ChargeTransactionPayment', Uint8Array.of(0)),
        extension('CheckMetadataHash', Uint8Array.of(0), Uint8Array.of(0)),
      ];
      const extensions = Object.fromEntries(
        runtime.extensions.map(({ identifier }) => [
          identifier,
          known.find((each) => each.identifier === identifier) ?? extension(identifier),
        ]),
      );
      const signer = getPolkadotSigner(fromHex(publicKeyHex(alice.hotkey))!, 'Ed25519', alice.sign);
      const theirs = await signer.signTx(bytes, extensions, chainMetadata!, birth.number);
      expect(toHex(mine), `nonce ${nonce}`).toBe(toHex(theirs));
    }
  });

  it('are read back from a block', () => {
    for (const signer of [alice, bob]) {
      const read = readExtrinsic(runtime, signExtrinsic({ runtime, genesis, nonce: 300, birth }, signer, call));
      expect(read?.signer).toBe(signer.hotkey);
      expect(toHex(read!.call)).toBe(toHex(call));
    }
    expect(readExtrinsic(runtime, new Uint8Array())).toBeNull();
    expect(readExtrinsic(runtime, Uint8Array.of(8, 0x84, 0))?.call ?? null).toBeNull();
  });

  it('carry a signature that hdkd verifies, from a key that hdkd derives', () => {
    const seed = entropyToMiniSecret(
      mnemonicToEntropy('bottom drive obey lake curtain smoke basket hold race lonely fit walk'),
    );
    const root = sr25519CreateDerive(seed)('');
    expect(hotkeyFromSeed(seed).hotkey).toBe(encodeSs58(root.publicKey));
    expect(hotkeyFromSeed(seed, 'ed25519').hotkey).toBe(encodeSs58(ed25519CreateDerive(seed)('').publicKey));
    const payloads: Uint8Array[] = [];
    const key = hotkeyFromSeed(seed);
    const spy = { ...key, sign: (bytes: Uint8Array) => key.sign(payloads[payloads.push(bytes) - 1]!) };
    const extrinsic = signExtrinsic({ runtime, genesis, nonce: 1, birth }, spy, long);
    expect(payloads[0]!.byteLength).toBe(32); // more than 256 bytes are hashed first
    const at = indexOf(extrinsic, root.publicKey) + 32 + 1;
    expect(sr25519.verify(extrinsic.slice(at, at + 64), payloads[0]!, root.publicKey)).toBe(true);
  });

  it('commit to weights with the hash of the chain', () => {
    const hash = weightsCommitHash(bob.hotkey, netuid, { uids: [1], values: [65_535], salt: [9], versionKey: 2 });
    const scale = `${publicKeyHex(bob.hotkey)}0700` + '040100' + '04ffff' + '040900' + '0200000000000000';
    expect(hash).toBe(toHex(blake2b256(fromHex(scale)!)));
  });
});

describe('addresses of axons', () => {
  it('are numbers on the chain', () => {
    for (const [text, family, ip] of [
      ['203.0.113.7', 4, 3_405_803_783n],
      ['0.0.0.1', 4, 1n],
      ['2001:db8:0:0:0:0:0:1', 6, 0x20010db8000000000000000000000001n],
    ] as const) {
      expect(parseIp(text), text).toEqual({ ip, family });
      expect(formatIp(ip, family), text).toBe(text);
    }
    expect(parseIp('2001:db8::1').ip).toBe(0x20010db8000000000000000000000001n);
    expect(parseIp('::ffff:1.2.3.4').ip).toBe(0xffff01020304n);
  });
});

const publicKeyHex = (address: string): string => toHex(decodeSs58(address)!);

function indexOf(bytes: Uint8Array, part: Uint8Array): number {
  return toHex(bytes).indexOf(toHex(part)) / 2;
}
