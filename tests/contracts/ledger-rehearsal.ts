/** @file What a run does on a ledger, whichever it is: embedded, Bittensor's protocol, a true node. Coldkeys pay, hotkeys work. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { chainErrorOf } from '../../src/ledger/errors.ts';
import type { Ledger, LedgerSigner } from '../../src/ledger/port.ts';

export interface OpenRehearsal {
  readonly ledger: Ledger;
  /** Funded; each owns the hotkey of the same number. The first two validate. */
  readonly coldkeys: readonly LedgerSigner[];
  readonly hotkeys: readonly LedgerSigner[];
  /** Nobody that is registered, and nobody with money. */
  readonly stranger: LedgerSigner;
  readonly stakeRao: number;
  /** Lets this many blocks pass. */
  advance(blocks: number): Promise<void>;
  close(): Promise<void>;
}

export function testRehearsal(name: string, open: () => Promise<OpenRehearsal>, timeoutMs = 30_000): void {
  describe(`ledger rehearsal: ${name}`, { timeout: timeoutMs }, () => {
    let opened: OpenRehearsal;
    let ledger: Ledger;
    beforeEach(async () => {
      opened = await open();
      ledger = opened.ledger;
    }, timeoutMs);
    afterEach(() => opened.close(), timeoutMs);

    async function populate(): Promise<readonly number[]> {
      const { coldkeys, hotkeys, stakeRao } = opened;
      const uids: number[] = [];
      for (const [i, coldkey] of coldkeys.entries()) {
        const options = { coldkey: coldkey.hotkey, hotkey: hotkeys[i]!.hotkey };
        uids.push((await ledger.register(coldkey, options)).uid);
      }
      for (const i of [0, 1]) await ledger.addStake(coldkeys[i]!, { hotkey: hotkeys[i]!.hotkey, amountRao: stakeRao });
      const { nextEpochBlock, block } = await ledger.subnet();
      await opened.advance(nextEpochBlock - block + 1);
      return uids;
    }

    it('registers two miners and two validators, stakes, weighs, crosses a tempo, pays, and anchors a tree head', async () => {
      const { coldkeys, hotkeys } = opened;
      const before = await ledger.balance(coldkeys[0]!.hotkey);
      const uids = await populate();
      expect(new Set(uids).size).toBe(4);
      expect(await ledger.balance(coldkeys[0]!.hotkey)).toBeLessThan(before);
      const again = await ledger.register(coldkeys[2]!, { coldkey: coldkeys[2]!.hotkey, hotkey: hotkeys[2]!.hotkey });
      expect(again.uid).toBe(uids[2]);
      const weights = new Map([
        [uids[2]!, 2],
        [uids[3]!, 1],
      ]);
      for (const hotkey of hotkeys.slice(0, 2)) await ledger.setWeights(hotkey, weights);
      expect([...(await ledger.weights(hotkeys[0]!.hotkey))]).toEqual([
        [uids[2], 65_535],
        [uids[3], 32_768],
      ]);
      const root = Uint8Array.from({ length: 32 }, (_, i) => 255 - i);
      const { block } = await ledger.commit(hotkeys[0]!, root);
      expect(await ledger.commitment(hotkeys[0]!.hotkey)).toEqual({ block, data: root });
      const { nextEpochBlock, block: now, tempoBlocks } = await ledger.subnet();
      await opened.advance(Math.max(nextEpochBlock - now, 1) + 1);
      const neurons = new Map((await ledger.metagraph()).map((neuron) => [neuron.uid, neuron]));
      const of = (i: number) => neurons.get(uids[i]!)!;
      expect(of(2).incentive).toBeCloseTo(2 / 3, 3);
      expect(of(3).incentive).toBeCloseTo(1 / 3, 3);
      expect(of(0).dividends + of(1).dividends).toBeCloseTo(1, 3);
      expect(of(0).validatorPermit).toBe(true);
      expect(of(2).emissionRao).toBeGreaterThan(of(3).emissionRao);
      expect(of(0).hotkey).toBe(hotkeys[0]!.hotkey);
      expect(of(0).coldkey).toBe(coldkeys[0]!.hotkey);
      const anchors = await ledger.anchors({ fromBlock: Math.max(1, block - tempoBlocks), toBlock: block });
      expect(anchors.filter(({ hotkey }) => hotkey === hotkeys[0]!.hotkey)).toEqual([
        { block, hotkey: hotkeys[0]!.hotkey, data: Buffer.from(root).toString('hex') },
      ]);
    });

    it('names each refusal as the chain does', async () => {
      const { coldkeys, hotkeys, stranger, stakeRao } = opened;
      const uids = await populate();
      const [validator, miner] = [hotkeys[0]!, hotkeys[2]!];
      const one = new Map([[uids[2]!, 1]]);
      const free = Number(await ledger.balance(coldkeys[0]!.hotkey));
      const nobody = Math.max(...uids) + 40;
      const axon = { ip: '127.0.0.1', port: 8_091, protocol: 4, version: 1 };
      await ledger.setWeights(validator, one);
      const tries: readonly (readonly [string, () => Promise<unknown>])[] = [
        ['HotKeyNotRegisteredInSubNet', () => ledger.setWeights(stranger, one)],
        ['HotKeyNotRegisteredInSubNet', () => ledger.commit(stranger, Uint8Array.of(1))],
        ['NeuronNoValidatorPermit', () => ledger.setWeights(miner, new Map([[uids[3]!, 1]]))],
        ['UidVecContainInvalidOne', () => ledger.setWeights(hotkeys[1]!, new Map([[nobody, 1]]))],
        ['SettingWeightsTooFast', () => ledger.setWeights(validator, one)],
        ['CommitRevealDisabled', () => ledger.commitWeights(validator, { uids: [uids[2]!], values: [1], salt: [1], versionKey: 0 })], // biome-ignore format: one line a case
        ['NotEnoughBalanceToStake', () => ledger.addStake(coldkeys[0]!, { hotkey: validator.hotkey, amountRao: free + 1 })], // biome-ignore format: one line a case
        ['StakeAmountTooLow', () => ledger.addStake(coldkeys[0]!, { hotkey: validator.hotkey, amountRao: 1 })],
        ['NonAssociatedColdKey', () => ledger.removeStake(coldkeys[1]!, { hotkey: validator.hotkey, amountRao: stakeRao })], // biome-ignore format: one line a case
        ['NonAssociatedColdKey', () => ledger.register(coldkeys[1]!, { coldkey: coldkeys[0]!.hotkey, hotkey: stranger.hotkey })], // biome-ignore format: one line a case
        ['InvalidIpAddress', () => ledger.serveAxon(miner, axon)],
      ];
      for (const [expected, tried] of tries) {
        const found = await tried().then(
          () => 'accepted',
          (error: unknown) => chainErrorOf(error) ?? String(error),
        );
        expect(found).toBe(expected);
      }
    });

    it('takes calls of one account that are made at once, each once', async () => {
      const [coldkey, hotkey] = [opened.coldkeys[0]!, opened.hotkeys[0]!];
      await ledger.register(coldkey, { coldkey: coldkey.hotkey, hotkey: hotkey.hotkey });
      const amountRao = 2_000_000_000;
      const before = await ledger.balance(coldkey.hotkey);
      await Promise.all([1, 2, 3].map(() => ledger.addStake(coldkey, { hotkey: hotkey.hotkey, amountRao })));
      const paidRao = Number(before - (await ledger.balance(coldkey.hotkey)));
      expect(paidRao).toBeGreaterThanOrEqual(3 * amountRao);
      expect(paidRao).toBeLessThan(3.1 * amountRao);
    });

    it('publishes an axon and reads it back', async () => {
      const [coldkey, hotkey] = [opened.coldkeys[2]!, opened.hotkeys[2]!];
      const { uid } = await ledger.register(coldkey, { coldkey: coldkey.hotkey, hotkey: hotkey.hotkey });
      const axon = { ip: '203.0.113.7', port: 8_091, protocol: 4, version: 1 };
      await ledger.serveAxon(hotkey, axon);
      expect((await ledger.metagraph()).find((neuron) => neuron.uid === uid)!.axon).toEqual(axon);
    });
  });
}
