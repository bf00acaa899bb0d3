/** @file What every ledger promises; run against each adapter. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { callBytes } from '../../src/ledger/calls.ts';
import { chainErrorOf } from '../../src/ledger/errors.ts';
import type { LedgerSigner, RecordedLedger } from '../../src/ledger/port.ts';
import { type HotkeySigner, hotkeyFromSeed, verifySignature } from '../../src/protocol/keys.ts';
import { fromHex } from '../../src/util/bytes.ts';

/** A ledger with `tempoBlocks` 10 whose blocks come when the test says so. */
export interface OpenLedger {
  readonly ledger: RecordedLedger;
  /** Lets this many blocks pass. */
  advance(blocks: number): Promise<void>;
  close(): Promise<void>;
}

const signers = new Map<number, HotkeySigner>();

/** A key of its own for each number; every third is sr25519, which takes long in JavaScript. */
export function signerOf(n: number): HotkeySigner {
  const signer = signers.get(n) ?? hotkeyFromSeed(new Uint8Array(32).fill(n + 1), n % 3 === 0 ? 'sr25519' : 'ed25519');
  signers.set(n, signer);
  return signer;
}
const coldkeyOf = (n: number) => signerOf(100 + n).hotkey;
const stakeRao = 5_000_000_000;

export function testLedger(name: string, open: () => Promise<OpenLedger>): void {
  describe(`ledger contract: ${name}`, () => {
    let opened: OpenLedger;
    let ledger: RecordedLedger;
    beforeEach(async () => {
      opened = await open();
      ledger = opened.ledger;
    });
    afterEach(() => opened.close());

    /** Two validators with permit (uids 0, 1) and two miners (2, 3). */
    async function populate(): Promise<readonly LedgerSigner[]> {
      const signers = [0, 1, 2, 3].map(signerOf);
      for (const [n, signer] of signers.entries()) await ledger.register(signer, { coldkey: coldkeyOf(n) });
      for (const signer of signers.slice(0, 2)) await ledger.addStake(signer, { amountRao: stakeRao });
      await opened.advance(10);
      return signers;
    }

    it('makes blocks in order, keeps their hashes, and has none of the future', async () => {
      const first = await ledger.head();
      await opened.advance(3);
      const head = await ledger.head();
      expect(head.number).toBe(first.number + 3);
      expect(await ledger.block(first.number)).toEqual(first);
      expect(await ledger.block(head.number)).toEqual(head);
      expect(await ledger.block(head.number + 1)).toBeNull();
      const hashes = new Set<string>();
      for (let n = first.number; n <= head.number; n++) hashes.add((await ledger.block(n))!.hash);
      expect(hashes.size).toBe(4);
      expect([...hashes].every((hash) => /^[0-9a-f]{64}$/.test(hash))).toBe(true);
      expect(head.timeMs).toBeGreaterThan(first.timeMs);
    });

    it('registers a hotkey once; a second time gives its neuron', async () => {
      const neuron = await ledger.register(signerOf(0), { coldkey: coldkeyOf(0) });
      expect(neuron).toMatchObject({ uid: 0, hotkey: signerOf(0).hotkey, coldkey: coldkeyOf(0), stakeRao: 0 });
      expect(neuron.validatorPermit).toBe(false);
      const other = await ledger.register(signerOf(2), { coldkey: coldkeyOf(0) });
      expect(other.uid).toBe(1);
      expect(await ledger.register(signerOf(0), { coldkey: coldkeyOf(5) })).toEqual(neuron);
      expect((await ledger.metagraph()).map(({ uid }) => uid)).toEqual([0, 1]);
    });

    it('refuses stake, weights and commitments of a hotkey that is not registered', async () => {
      const refusal = { code: 'NOT_REGISTERED' };
      const stranger = signerOf(7);
      await expect(ledger.addStake(stranger, { amountRao: stakeRao })).rejects.toMatchObject(refusal);
      await ledger.register(signerOf(0), { coldkey: coldkeyOf(0) });
      await expect(ledger.setWeights(stranger, new Map([[0, 1]]))).rejects.toMatchObject(refusal);
      await expect(ledger.commit(stranger, new Uint8Array(4))).rejects.toMatchObject(refusal);
      expect(await ledger.commitment(stranger.hotkey)).toBeNull();
      expect((await ledger.weights(stranger.hotkey)).size).toBe(0);
    });

    it('stakes from who signs, and not more than it has', async () => {
      await ledger.register(signerOf(0), { coldkey: coldkeyOf(0) });
      await ledger.addStake(signerOf(0), { amountRao: stakeRao });
      await ledger.addStake(signerOf(0), { amountRao: stakeRao });
      expect((await ledger.metagraph())[0]!.stakeRao).toBe(2 * stakeRao);
      await expect(ledger.addStake(signerOf(0), { amountRao: 9e15 })).rejects.toMatchObject({ code: 'BALANCE' });
      await expect(ledger.addStake(signerOf(0), { amountRao: 1 })).rejects.toMatchObject({ code: 'BALANCE' });
      expect((await ledger.metagraph())[0]!.stakeRao).toBe(2 * stakeRao);
    });

    it('gives permits to stake at the next epoch, and takes weights with a permit only', async () => {
      await ledger.register(signerOf(0), { coldkey: coldkeyOf(0) });
      await ledger.register(signerOf(1), { coldkey: coldkeyOf(1) });
      await ledger.addStake(signerOf(0), { amountRao: stakeRao });
      await expect(ledger.setWeights(signerOf(0), new Map([[1, 1]]))).rejects.toMatchObject({ code: 'NO_PERMIT' });
      await opened.advance(10);
      expect((await ledger.metagraph()).map((neuron) => neuron.validatorPermit)).toEqual([true, false]);
      await ledger.setWeights(signerOf(0), new Map([[1, 1]]));
    });

    it("normalises weights by the chain's rule: the largest is 65,535, zeros are left out", async () => {
      const [validator] = await populate();
      await ledger.setWeights(
        validator!,
        new Map([
          [3, 0.5],
          [2, 1.5],
          [1, 0],
        ]),
      );
      expect([...(await ledger.weights(validator!.hotkey))]).toEqual([
        [2, 65_535],
        [3, 21_845],
      ]);
    });

    it('refuses weights that are none', async () => {
      const [validator] = await populate();
      const cases: [string, [number, number][]][] = [
        ['none', []],
        ['all zero', [[2, 0]]],
        ['negative', [[2, -1]]],
        ['NaN', [[2, Number.NaN]]],
        ['infinite', [[2, Number.POSITIVE_INFINITY]]],
        ['an uid that is not taken', [[9, 1]]],
      ];
      for (const [what, weights] of cases) {
        await expect(ledger.setWeights(validator!, new Map(weights)), what).rejects.toMatchObject({
          code: 'BAD_WEIGHTS',
        });
      }
      expect((await ledger.weights(validator!.hotkey)).size).toBe(0);
    });

    it('takes weights again after its limit of half a tempo', async () => {
      const [validator] = await populate();
      await ledger.setWeights(validator!, new Map([[2, 1]]));
      await opened.advance(4);
      await expect(ledger.setWeights(validator!, new Map([[3, 1]]))).rejects.toMatchObject({ code: 'RATE_LIMIT' });
      expect([...(await ledger.weights(validator!.hotkey))]).toEqual([[2, 65_535]]);
      await opened.advance(1);
      await ledger.setWeights(validator!, new Map([[3, 1]]));
      expect([...(await ledger.weights(validator!.hotkey))]).toEqual([[3, 65_535]]);
    });

    it('pays miners by weight and validators for it, at the epoch', async () => {
      const [a, b] = await populate();
      const before = await ledger.metagraph();
      const weights = new Map([
        [2, 3],
        [3, 1],
      ]);
      await ledger.setWeights(a!, weights);
      await ledger.setWeights(b!, weights);
      await opened.advance(10);
      const after = await ledger.metagraph();
      const paidRao = after.map((neuron, uid) => neuron.emissionRao - before[uid]!.emissionRao);
      expect(after[2]!.incentive).toBeCloseTo(0.75, 4);
      expect(after[3]!.incentive).toBeCloseTo(0.25, 4);
      expect(paidRao[2]! / paidRao[3]!).toBeCloseTo(3, 3);
      expect(paidRao[0]!).toBe(paidRao[1]!);
      // Servers and validators get half each of what the owner leaves.
      expect((paidRao[0]! + paidRao[1]!) / (paidRao[2]! + paidRao[3]!)).toBeCloseTo(1, 6);
      expect(after[2]!.stakeRao).toBe(after[2]!.emissionRao);
    });

    it('keeps one commitment a hotkey, up to 128 bytes, and so many a tempo', async () => {
      const signer = signerOf(0);
      await ledger.register(signer, { coldkey: coldkeyOf(0) });
      const data = Uint8Array.from({ length: 128 }, (_, i) => i);
      const { block } = await ledger.commit(signer, data);
      expect(await ledger.commitment(signer.hotkey)).toEqual({ block, data });
      await expect(ledger.commit(signer, new Uint8Array(129))).rejects.toMatchObject({ code: 'TOO_LARGE' });
      await opened.advance(1);
      const later = await ledger.commit(signer, Uint8Array.of(7));
      expect(later.block).toBe(block + 1);
      expect(await ledger.commitment(signer.hotkey)).toEqual({ block: later.block, data: Uint8Array.of(7) });
      const refused = (async () => {
        for (let i = 0; i < 40; i++) await ledger.commit(signer, Uint8Array.of(i));
      })();
      await expect(refused).rejects.toMatchObject({ code: 'RATE_LIMIT' });
      await opened.advance(10);
      await ledger.commit(signer, Uint8Array.of(8));
    });

    it('keeps its history: blocks with their salts, and every accepted call once, in order, page by page', async () => {
      const [a] = await populate();
      await ledger.setWeights(a!, new Map([[2, 1]]));
      await opened.advance(3);
      await ledger.commit(a!, Uint8Array.of(1, 2));
      await ledger.addStake(a!, { amountRao: 1 }).catch(() => undefined); // refused: not in the history
      await opened.advance(2);
      const head = await ledger.head();
      const blocks = await ledger.blocks(1, 1_000);
      expect(blocks.map(({ number }) => number)).toEqual(Array.from({ length: head.number }, (_, i) => i + 1));
      expect(blocks.at(-1)!.hash).toBe(head.hash);
      expect(blocks.slice(3, 7)).toEqual(await ledger.blocks(4, 4));
      expect(new Set(blocks.map(({ salt }) => salt)).size).toBe(blocks.length);
      const all = await ledger.calls(0, 1_000);
      expect(all.calls.map(({ signed }) => signed.call.name)).toEqual([
        ...Array(4).fill('burned_register'),
        ...Array(2).fill('add_stake'),
        'set_weights',
        'set_commitment',
      ]);
      for (const { block, parent, signed } of all.calls) {
        const { hotkey, scheme, nonce, call, signature } = signed;
        expect(parent).toBe((await ledger.block(block - 1))!.hash);
        const bytes = callBytes(ledger, hotkey, nonce, call);
        expect(verifySignature({ kind: 'hotkey', scheme, hotkey }, bytes, fromHex(signature)!), call.name).toBe(true);
      }
      const paged: unknown[] = [];
      for (let cursor = 0; ; ) {
        const page = await ledger.calls(cursor, 3);
        if (page.next === cursor) break;
        expect(page.calls.length).toBeLessThanOrEqual(3);
        paged.push(...page.calls);
        cursor = page.next;
      }
      expect(paged).toEqual(all.calls);
      await expect(ledger.calls(all.next + 1_000, 3)).rejects.toMatchObject({ code: 'BAD_CALL' });
    });

    it('a coldkey registers, stakes on and takes back from its own hotkeys; nobody else does', async () => {
      const [coldkey, stranger] = [signerOf(40), signerOf(41)];
      const hotkey = signerOf(1).hotkey;
      const before = await ledger.balance(coldkey.hotkey);
      const neuron = await ledger.register(coldkey, { coldkey: coldkey.hotkey, hotkey });
      expect(neuron).toMatchObject({ hotkey, coldkey: coldkey.hotkey });
      await ledger.addStake(coldkey, { hotkey, amountRao: stakeRao });
      await ledger.removeStake(coldkey, { hotkey, amountRao: 1_000_000_000 });
      expect((await ledger.metagraph())[0]!.stakeRao).toBe(stakeRao - 1_000_000_000);
      const { burnRao } = await ledger.subnet();
      expect(before - (await ledger.balance(coldkey.hotkey))).toBeGreaterThanOrEqual(BigInt(stakeRao) - 1_000_000_000n);
      expect(burnRao).toBeGreaterThanOrEqual(0);
      const refusal = { code: 'NOT_ASSOCIATED' };
      await expect(ledger.addStake(stranger, { hotkey, amountRao: stakeRao })).rejects.toMatchObject(refusal);
      await expect(ledger.removeStake(stranger, { hotkey, amountRao: 1 })).rejects.toMatchObject(refusal);
      await expect(ledger.removeStake(signerOf(1), { amountRao: 1 })).rejects.toMatchObject(refusal);
      const sum = (await ledger.balance(coldkey.hotkey)) + (await ledger.balance(stranger.hotkey));
      await ledger.transfer(coldkey, { to: stranger.hotkey, amountRao: 12_345 });
      expect((await ledger.balance(coldkey.hotkey)) + (await ledger.balance(stranger.hotkey))).toBe(sum);
    });

    it('rehearses a tempo: register, stake, weigh, read incentive and dividends, anchor a tree head', async () => {
      const [a, b] = await populate();
      const weights = new Map([
        [2, 2],
        [3, 1],
      ]);
      await ledger.setWeights(a!, weights);
      await ledger.setWeights(b!, weights);
      const root = Uint8Array.from({ length: 32 }, (_, i) => 255 - i);
      const { block } = await ledger.commit(a!, root);
      await opened.advance(10);
      const neurons = await ledger.metagraph();
      const incentive = [0, 0, 2 / 3, 1 / 3];
      const dividends = [0.5, 0.5, 0, 0];
      for (const [uid, neuron] of neurons.entries()) {
        expect(neuron.incentive, `incentive of ${uid}`).toBeCloseTo(incentive[uid]!, 4);
        expect(neuron.dividends, `dividends of ${uid}`).toBeCloseTo(dividends[uid]!, 4);
        expect(neuron.validatorTrust, `trust of ${uid}`).toBeCloseTo(uid < 2 ? 1 : 0, 4);
      }
      expect(await ledger.commitment(a!.hotkey)).toEqual({ block, data: root });
      const subnet = await ledger.subnet();
      expect(subnet).toMatchObject({ netuid: ledger.netuid, tempoBlocks: 10, neuronCount: 4, isCommitReveal: false });
      expect(subnet.nextEpochBlock - subnet.lastEpochBlock).toBe(10);
    });

    it('publishes axons and identities, within their limits', async () => {
      const signer = signerOf(1);
      const axon = { ip: '203.0.113.7', port: 8_091, protocol: 4, version: 1 };
      const chainError = (promise: Promise<unknown>) => promise.then(() => null, chainErrorOf);
      expect(await chainError(ledger.serveAxon(signer, axon))).toBe('HotKeyNotRegisteredInSubNet');
      await ledger.register(signer, { coldkey: signer.hotkey });
      for (const ip of ['127.0.0.1', '0.0.0.0', '255.255.255.255', '::1', '::'])
        expect(await chainError(ledger.serveAxon(signer, { ...axon, ip })), ip).toBe('InvalidIpAddress');
      expect(await chainError(ledger.serveAxon(signer, { ...axon, port: 0 }))).toBe('InvalidPort');
      await ledger.serveAxon(signer, axon);
      expect((await ledger.metagraph())[0]!.axon).toEqual(axon);
      expect(await chainError(ledger.serveAxon(signer, axon))).toBe('ServingRateLimitExceeded');
      const blank = { name: '', url: '', githubRepo: '', image: '', discord: '', description: '', additional: '' };
      expect(await chainError(ledger.setIdentity(signerOf(2), blank))).toBe('HotKeyNotRegisteredInNetwork');
      const long = { ...blank, name: 'é'.repeat(129) };
      expect(await chainError(ledger.setIdentity(signer, long))).toBe('InvalidIdentity');
      await ledger.setIdentity(signer, { ...blank, name: 'somebody' });
      expect((await ledger.identity(signer.hotkey))?.name).toBe('somebody');
    });

    it('names each refusal as the chain does, and says what to do', async () => {
      const [a] = await populate();
      const names = new Set<string | null>();
      const tries: Promise<unknown>[] = [
        ledger.addStake(signerOf(7), { amountRao: stakeRao }),
        ledger.addStake(a!, { amountRao: 1 }),
        ledger.addStake(a!, { amountRao: 9e15 }),
        ledger.setWeights(signerOf(2), new Map([[0, 1]])),
        ledger.setWeights(a!, new Map([[9, 1]])),
        ledger.setWeights(a!, new Map(Array.from({ length: 5 }, (_, uid) => [uid, 1]))),
        ledger.setWeights(a!, new Map([[2, 1]])).then(() => ledger.setWeights(a!, new Map([[2, 1]]))),
        ledger.removeStake(a!, { amountRao: 1 }),
      ];
      for (const tried of tries) names.add(await tried.then(() => 'accepted', chainErrorOf));
      expect([...names].sort()).toEqual([
        'HotKeyNotRegisteredInSubNet',
        'NeuronNoValidatorPermit',
        'NonAssociatedColdKey',
        'NotEnoughBalanceToStake',
        'SettingWeightsTooFast',
        'StakeAmountTooLow',
        'UidVecContainInvalidOne',
        'UidsLengthExceedUidsInSubNet',
      ]);
    });

    it('refuses a call signed with another key', async () => {
      const { hotkey, scheme } = signerOf(0);
      for (const sign of [signerOf(1).sign, () => new Uint8Array(64), () => new Uint8Array(64).fill(255)]) {
        const refused = ledger.register({ hotkey, scheme, sign }, { coldkey: coldkeyOf(0) });
        await expect(refused).rejects.toMatchObject({ code: 'BAD_SIGNATURE' });
      }
      expect(await ledger.metagraph()).toEqual([]);
    });

    it('takes calls of one hotkey that are made at once, all of them, once each', async () => {
      const signer = signerOf(0);
      await ledger.register(signer, { coldkey: coldkeyOf(0) });
      await Promise.all(Array.from({ length: 5 }, () => ledger.addStake(signer, { amountRao: 2_000_000 })));
      expect((await ledger.metagraph())[0]!.stakeRao).toBe(10_000_000);
    });
  });
}
