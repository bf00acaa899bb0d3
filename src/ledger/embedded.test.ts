/** @file The contract of the ledger, held by the embedded chain; its file, its restarts, and its accounts. */
import { appendFile, mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { signerOf, testLedger } from '../../tests/contracts/ledger.ts';
import { testRehearsal } from '../../tests/contracts/ledger-rehearsal.ts';
import type { Hash } from '../protocol/names.ts';
import { canonicalJson } from '../util/canonical-json.ts';
import type { SigningLedger } from './backend.ts';
import { ManualBlockClock } from './block-clock.ts';
import { callBytes, signCall } from './calls.ts';
import { type EmbeddedChain, type EmbeddedLedgerOptions, openEmbeddedLedger } from './embedded.ts';
import { LedgerError } from './errors.ts';
import { MemoryLedgerStorage } from './file.ts';
import { type GenesisOptions, mainnetRules } from './genesis.ts';
import { LedgerFile } from './read-file.ts';

const owner = signerOf(50).hotkey;
const coldkey = signerOf(51).hotkey;
const genesis: GenesisOptions = {
  chainId: 'accrete-test',
  netuid: 24,
  tempoBlocks: 10,
  blockMs: 100,
  owner,
  secret: 'ab'.repeat(32) as Hash,
  startMs: 0,
};

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function temporaryDir(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'accrete-ledger-'));
  cleanups.push(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

async function openLedger(
  options: Partial<EmbeddedLedgerOptions> & { readonly clock: ManualBlockClock },
): Promise<{ readonly ledger: SigningLedger; readonly chain: EmbeddedChain }> {
  const ledger = await openEmbeddedLedger({ genesis, ...options });
  cleanups.push(() => ledger.close());
  return { ledger, chain: ledger.backend as EmbeddedChain };
}

for (const where of ['memory', 'files'] as const) {
  testLedger(`embedded, ${where}`, async () => {
    const clock = new ManualBlockClock({ blockMs: 100 });
    const { ledger } = await openLedger({ clock, ...(where === 'files' ? { dir: await temporaryDir() } : {}) });
    return { ledger, advance: async (blocks) => clock.advance(blocks), close: () => ledger.close() };
  });
}

testRehearsal('embedded', async () => {
  const clock = new ManualBlockClock({ blockMs: 100 });
  const { ledger } = await openLedger({ clock });
  return {
    ...{ ledger, coldkeys: [40, 41, 43, 44].map(signerOf), hotkeys: [0, 1, 2, 4].map(signerOf) },
    ...{ stranger: signerOf(60), stakeRao: 5_000_000_000 },
    advance: async (blocks) => clock.advance(blocks),
    close: () => ledger.close(),
  };
});

/** Some calls in some blocks, the same ones each time. */
async function live(ledger: SigningLedger, clock: ManualBlockClock): Promise<void> {
  for (const n of [0, 1, 2]) await ledger.register(signerOf(n), { coldkey });
  await ledger.addStake(signerOf(0), { amountRao: 7_000_000_000 });
  await ledger.addStake(signerOf(1), { amountRao: 3_000_000_000 });
  clock.advance(12);
  await ledger.setWeights(signerOf(0), new Map([[2, 1]]));
  clock.advance(5);
  await ledger.commit(signerOf(2), Uint8Array.of(1, 2, 3));
  clock.advance(30);
  await ledger.head();
}

describe('embedded ledger', () => {
  it('a reader of its file has the same history, and a half-written line does not disturb it', async () => {
    const dir = await temporaryDir();
    const clock = new ManualBlockClock({ blockMs: 100 });
    const { ledger, chain } = await openLedger({ dir, clock });
    await live(ledger, clock);
    const file = (await LedgerFile.open(dir))!;
    cleanups.push(() => file.close());
    const all = await ledger.calls(0, 1_000);
    expect(await file.calls(0, 1_000)).toEqual(all);
    expect((await file.calls(0, 2)).calls).toEqual(all.calls.slice(0, 2));
    expect(file.genesis).toEqual(chain.publicGenesis);
    expect(JSON.stringify(file.genesis)).not.toContain(genesis.secret);
    for (const { number, salt } of await ledger.blocks(1, 50)) expect(file.salt(number)).toBe(salt);
    await appendFile(join(dir, 'ledger.jsonl'), '{"kind":"call","block":9');
    expect(await file.calls(0, 1_000)).toEqual(all);
    expect(await LedgerFile.open(join(dir, 'nowhere'))).toBeNull();
    await expect(ledger.calls(7, 3)).rejects.toMatchObject({ code: 'BAD_CALL' });
  });

  it('the same calls in the same blocks give the same hashes and accounts; other calls others', async () => {
    const runs = await Promise.all(
      [0, 1].map(async () => {
        const clock = new ManualBlockClock({ blockMs: 100 });
        const { ledger } = await openLedger({ clock });
        await live(ledger, clock);
        return { head: await ledger.head(), neurons: await ledger.metagraph() };
      }),
    );
    expect(runs[0]).toEqual(runs[1]);
    const clock = new ManualBlockClock({ blockMs: 100 });
    const { ledger } = await openLedger({ clock });
    clock.advance(47);
    expect((await ledger.head()).number).toBe(runs[0]!.head.number);
    expect((await ledger.head()).hash).not.toBe(runs[0]!.head.hash);
  });

  it('block hashes of a chain are not known to who has not its secret', async () => {
    const clock = new ManualBlockClock({ blockMs: 100, startMs: 500 });
    const heads = await Promise.all(
      [0, 1].map(async () => {
        const { secret: _, ...public_ } = genesis;
        const { ledger } = await openLedger({ clock, genesis: public_ });
        return (await ledger.head()).hash;
      }),
    );
    expect(heads[0]).not.toBe(heads[1]);
  });

  for (const how of ['clean close', 'crash', 'crash without a snapshot'] as const) {
    it(`gives the same head, state and history after a restart: ${how}`, async () => {
      const dir = await temporaryDir();
      const clock = new ManualBlockClock({ blockMs: 100 });
      const { ledger } = await openLedger({ clock, dir });
      await live(ledger, clock);
      const before = await readAll(ledger);
      if (how === 'clean close') await ledger.close();
      if (how === 'crash without a snapshot') await rm(join(dir, 'snapshot.json'));
      const { ledger: again } = await openLedger({ clock, dir });
      expect(await readAll(again)).toEqual(before);
      clock.advance(20);
      expect((await again.head()).number).toBe(before.head.number + 20);
      await again.addStake(signerOf(2), { amountRao: 2_000_000 });
    });
  }

  it('cuts off the half of a line that a crash left', async () => {
    const dir = await temporaryDir();
    const clock = new ManualBlockClock({ blockMs: 100 });
    const { ledger } = await openLedger({ clock, dir });
    await live(ledger, clock);
    const before = await readAll(ledger);
    const { size } = await stat(join(dir, 'ledger.jsonl'));
    await appendFile(join(dir, 'ledger.jsonl'), '{"kind":"call","block":99,"par');
    const { ledger: again } = await openLedger({ clock, dir });
    expect(await readAll(again)).toEqual(before);
    expect((await stat(join(dir, 'ledger.jsonl'))).size).toBe(size);
  });

  it('refuses a file that was changed, and one of another chain', async () => {
    const dir = await temporaryDir();
    const file = join(dir, 'ledger.jsonl');
    const clock = new ManualBlockClock({ blockMs: 100 });
    const { ledger } = await openLedger({ clock, dir });
    await live(ledger, clock);
    await ledger.close();
    await expect(openLedger({ clock, dir, genesis: { ...genesis, chainId: 'another' } })).rejects.toMatchObject({
      code: 'DAMAGED',
      message: expect.stringContaining('accrete-test'),
    });
    const text = await readFile(file, 'utf8');
    await rm(join(dir, 'snapshot.json'));
    const lines = text.split('\n');
    const changed: [string, string][] = [
      ['more stake', text.replace('7000000000', '8000000000')],
      ['a call left out', [...lines.slice(0, 2), ...lines.slice(3)].join('\n')],
      ['a line of something else', text.replace(lines[3]!, '{"kind":"gift"}')],
      ['no genesis', lines.slice(1).join('\n')],
      ['nonsense', 'x\n'],
    ];
    for (const [what, content] of changed) {
      await writeFile(file, content);
      await expect(openLedger({ clock, dir }), what).rejects.toMatchObject({ code: 'DAMAGED' });
    }
    await writeFile(file, text);
    await openLedger({ clock, dir });
  });

  it('a damaged snapshot costs time, nothing else', async () => {
    const dir = await temporaryDir();
    const clock = new ManualBlockClock({ blockMs: 100 });
    const { ledger } = await openLedger({ clock, dir });
    await live(ledger, clock);
    const before = await readAll(ledger);
    await ledger.close();
    await truncate(join(dir, 'snapshot.json'), 100);
    const { ledger: again } = await openLedger({ clock, dir });
    expect(await readAll(again)).toEqual(before);
  });

  it('empty blocks do not grow the file, and old hashes can still be had', async () => {
    const dir = await temporaryDir();
    const clock = new ManualBlockClock({ blockMs: 100 });
    const { ledger } = await openLedger({ clock, dir, snapshotEveryBlocks: 1_000, maxCatchUpBlocks: 50_000 });
    await live(ledger, clock);
    const { size } = await stat(join(dir, 'ledger.jsonl'));
    const snapshotBytes = (await stat(join(dir, 'snapshot.json'))).size;
    const early = await ledger.head();
    clock.advance(20_000);
    expect((await ledger.head()).number).toBe(early.number + 20_000);
    expect((await stat(join(dir, 'ledger.jsonl'))).size).toBe(size);
    expect((await stat(join(dir, 'snapshot.json'))).size).toBeLessThan(snapshotBytes + 6_000);
    expect(await ledger.block(early.number)).toEqual(early);
    await ledger.close();
    const { ledger: again } = await openLedger({ clock, dir });
    expect(await again.block(early.number)).toEqual(early);
  });

  it('stands still while the program is away for long, and never takes a block back', async () => {
    const storage = new MemoryLedgerStorage();
    const clock = new ManualBlockClock({ blockMs: 100 });
    const options = { clock, storage, snapshotEveryBlocks: 50, maxCatchUpBlocks: 200 };
    const { ledger, chain } = await openLedger(options);
    await live(ledger, clock);
    clock.advance(40); // Seen, but after the last snapshot.
    const seen = await ledger.head();
    clock.advance(1_000_000); // A crash, and days later:
    const { ledger: second, chain: secondChain } = await openLedger(options);
    const resumed = await second.head();
    expect(resumed.number).toBeGreaterThanOrEqual(seen.number);
    expect(resumed.number).toBeLessThanOrEqual(seen.number + 50);
    expect(await second.block(seen.number)).toEqual(seen);
    const { issuedRao } = await secondChain.balances(coldkey);
    expect(Number(issuedRao)).toBeLessThanOrEqual(resumed.number * 1_000_000);
    clock.advance(3);
    expect((await second.head()).number).toBe(resumed.number + 3);
    // A laptop that slept with the program running.
    clock.advance(5_000);
    expect((await second.head()).number).toBe(resumed.number + 3);
    clock.advance(1);
    const awake = await second.head();
    expect(awake).toMatchObject({ number: resumed.number + 4, timeMs: clock.nowMs() });
    expect(await second.block(seen.number)).toEqual(seen);
    // A clock that was set back.
    clock.advanceMs(-10_000);
    expect(await second.head()).toEqual(awake);
    expect(chain.chainId).toBe('accrete-test');
  });

  it('pays out every rao of every tempo', async () => {
    for (const emissionPerBlockRao of [1_000_000, 999_983, 7, 1, 0]) {
      const clock = new ManualBlockClock({ blockMs: 100 });
      const { ledger, chain } = await openLedger({ clock, genesis: { ...genesis, emissionPerBlockRao } });
      const freeRao = async (key: typeof owner) => (await chain.balances(key)).freeRao;
      const accounts = [owner, ...[0, 1, 2, 3, 4, 5].map((n) => signerOf(n).hotkey)];
      const allFree = async () => (await Promise.all(accounts.map(freeRao))).reduce((a, b) => a + b, 0n);
      const start = await allFree();
      for (let n = 0; n < 6; n++) await ledger.register(signerOf(n), { coldkey });
      for (let n = 0; n < 3; n++) await ledger.addStake(signerOf(n), { amountRao: 1_000_000_007 * (n + 1) });
      for (let tempo = 1; tempo <= 4; tempo++) {
        clock.advance(10);
        const weights = new Map([3, 4, 5].map((uid) => [uid, uid * tempo]));
        for (let n = 0; n < 3; n++) await ledger.setWeights(signerOf(n), weights);
        const neurons = await ledger.metagraph();
        const emitted = neurons.reduce((sum, { emissionRao }) => sum + emissionRao, 0);
        const staked = neurons.reduce((sum, { stakeRao }) => sum + BigInt(stakeRao), 0n);
        const { issuedRao } = await chain.balances(owner);
        const what = `${emissionPerBlockRao} rao a block, tempo ${tempo}`;
        expect(issuedRao, what).toBe(BigInt(10 * tempo * emissionPerBlockRao));
        expect((await allFree()) + staked, what).toBe(start + issuedRao);
        const ownerShare = (issuedRao * 18n) / 100n;
        expect(Math.abs(emitted - Number(issuedRao - ownerShare)), what).toBeLessThanOrEqual(tempo);
      }
    }
  });

  it('a call counts once: sent again it gives its block, with an old nonce it is refused', async () => {
    const clock = new ManualBlockClock({ blockMs: 100 });
    const { ledger, chain } = await openLedger({ clock });
    const signer = signerOf(0);
    await ledger.register(signer, { coldkey });
    const stake = { name: 'add_stake', args: { amountRao: 2_000_000 } } as const;
    const signed = signCall(chain, signer, 1, stake);
    const first = await chain.submit(signed);
    clock.advance(2);
    expect(await chain.submit(signed)).toEqual(first);
    expect((await ledger.metagraph())[0]!.stakeRao).toBe(2_000_000);
    await ledger.addStake(signer, { amountRao: 2_000_000 });
    await expect(chain.submit(signed)).rejects.toMatchObject({ code: 'BAD_NONCE' });
    await expect(chain.submit(signCall(chain, signer, 9, stake))).rejects.toMatchObject({ code: 'BAD_NONCE' });
  });

  it('a signature is for one chain, subnet, nonce and call', async () => {
    const { ledger, chain } = await openLedger({ clock: new ManualBlockClock({ blockMs: 100 }) });
    const signer = signerOf(1);
    await ledger.register(signer, { coldkey });
    const call = { name: 'add_stake', args: { amountRao: 2_000_000 } } as const;
    const good = signCall(chain, signer, 1, call);
    const forged = [
      ['another chain', signCall({ chainId: 'other', netuid: 24 }, signer, 1, call)],
      ['another subnet', signCall({ chainId: chain.chainId, netuid: 1 }, signer, 1, call)],
      ['another nonce', { ...good, nonce: 2 }],
      ['another amount', { ...good, call: { ...call, args: { amountRao: 4_000_000 } } }],
      ['another hotkey', { ...good, hotkey: signerOf(0).hotkey }],
      ['another scheme', { ...good, scheme: 'sr25519' as const }],
    ] as const;
    for (const [what, message] of forged) {
      await expect(chain.submit(message), what).rejects.toMatchObject({ code: 'BAD_SIGNATURE' });
    }
    await expect(chain.submit({ ...good, extra: 1 } as never)).rejects.toMatchObject({ code: 'BAD_CALL' });
    expect((await ledger.metagraph())[0]!.stakeRao).toBe(0);
    await chain.submit(good);
  });

  it('signed bytes are fixed: this is what other signers must make', () => {
    const bytes = callBytes({ chainId: 'c', netuid: 2 }, owner, 3, { name: 'add_stake', args: { amountRao: 5 } });
    const parts = ['accrete/ledger-call/1', 'c', '2', owner, '3', 'add_stake', canonicalJson({ amountRao: 5 })];
    const expected = parts.flatMap((part) => [0, 0, 0, part.length, ...Buffer.from(part)]);
    expect([...bytes]).toEqual(expected);
  });

  it('calls that are made together are written together; if that fails, none of them happened', async () => {
    const clock = new ManualBlockClock({ blockMs: 100 });
    const storage = new MemoryLedgerStorage();
    const append = storage.append.bind(storage);
    let writes = 0;
    let isFull = false;
    storage.append = async (...texts) => {
      writes++;
      if (isFull) throw new LedgerError('DISK_FULL', 'no space');
      return append(...texts);
    };
    const { ledger, chain } = await openLedger({ clock, storage });
    await live(ledger, clock);
    const before = await readAll(ledger);
    const calls = [3, 4, 5, 6].map((n) =>
      signCall(chain, signerOf(n), 0, { name: 'burned_register', args: { coldkey: signerOf(n).hotkey } }),
    );
    isFull = true;
    const refusals = await Promise.allSettled(calls.map((call) => chain.submit(call)));
    expect(refusals.map(({ status }) => status)).toEqual(Array(4).fill('rejected'));
    expect(await readAll(ledger)).toEqual(before);
    isFull = false;
    writes = 0;
    await Promise.all(calls.map((call) => chain.submit(call)));
    expect(writes).toBe(1);
    expect((await ledger.metagraph()).length).toBe(before.neurons.length + 4);
    const { ledger: again } = await openLedger({ clock, storage });
    expect(await again.metagraph()).toEqual(await ledger.metagraph());
  });

  it('the price of a registration rises by 26 %, halves every 360 blocks, and stays within its bounds', async () => {
    const clock = new ManualBlockClock({ blockMs: 100 });
    const rules = { ...genesis, ...mainnetRules, endowmentRao: 1_000_000_000, maxBurnRao: 1_000_000 };
    const { ledger } = await openLedger({ clock, genesis: rules });
    const price = async () => (await ledger.subnet()).burnRao;
    expect(await price()).toBe(500_000);
    await ledger.register(signerOf(1), { coldkey });
    expect(await ledger.balance(signerOf(1).hotkey)).toBe(999_500_000n);
    expect(Math.abs((await price()) - 630_000)).toBeLessThan(2);
    for (const n of [2, 3, 4, 5]) await ledger.register(signerOf(n), { coldkey });
    expect(await price()).toBe(1_000_000);
    clock.advance(180);
    expect(Math.abs((await price()) - 1_000_000 * Math.SQRT1_2)).toBeLessThan(2_000);
    clock.advance(180);
    expect(await price()).toBeLessThan(501_000);
    clock.advance(5_000);
    expect(await price()).toBe(500_000);
    expect((await ledger.subnet()).burnedRao).toBeGreaterThan(2_500_000);
    const poor = { ...rules, endowmentRao: 499_999 };
    const { ledger: second } = await openLedger({ clock, genesis: poor });
    await expect(second.register(signerOf(1), { coldkey })).rejects.toThrow(/^NotEnoughBalanceToStake: .*transfer/);
  });

  it('a full subnet drops who earned least and is no longer immune; its stake stays its own', async () => {
    const clock = new ManualBlockClock({ blockMs: 100 });
    const rules = { ...genesis, maxUids: 4, immunityBlocks: 15 };
    const { ledger } = await openLedger({ clock, genesis: rules });
    for (const n of [0, 1, 2, 4]) await ledger.register(signerOf(n), { coldkey: signerOf(n).hotkey });
    for (const n of [0, 4]) await ledger.addStake(signerOf(n), { amountRao: 5_000_000 });
    await expect(ledger.register(signerOf(5), { coldkey })).rejects.toThrow(/^NoNeuronIdAvailable: .*immune/);
    clock.advance(10);
    await ledger.setWeights(signerOf(0), new Map([[2, 1]]));
    clock.advance(10);
    expect((await ledger.register(signerOf(5), { coldkey })).uid).toBe(1); // Uid 1 earned nothing.
    expect((await ledger.metagraph()).map(({ hotkey }) => hotkey)).not.toContain(signerOf(1).hotkey);
    clock.advance(36);
    await ledger.register(signerOf(6), { coldkey });
    const listed = (await ledger.metagraph()).map(({ hotkey }) => hotkey);
    // A validator without weights earns nothing, as a miner without work, and this one is older.
    expect(listed).toEqual([0, 5, 2, 6].map((n) => signerOf(n).hotkey));
  });

  it('stake of a hotkey that lost its uid can be removed, and comes back with it', async () => {
    const clock = new ManualBlockClock({ blockMs: 100 });
    const { ledger } = await openLedger({ clock, genesis: { ...genesis, maxUids: 1, immunityBlocks: 5 } });
    const [first, second] = [signerOf(1), signerOf(2)];
    await ledger.register(first, { coldkey: first.hotkey });
    await ledger.addStake(first, { amountRao: 5_000_000 });
    clock.advance(6);
    await ledger.register(second, { coldkey });
    expect((await ledger.metagraph()).map(({ hotkey }) => hotkey)).toEqual([second.hotkey]);
    const foreign = ledger.removeStake(second, { amountRao: 1, hotkey: first.hotkey });
    await expect(foreign).rejects.toThrow(/^NonAssociatedColdKey/);
    await ledger.removeStake(first, { amountRao: 2_000_000 });
    const tooMuch = ledger.removeStake(first, { amountRao: 3_000_001 });
    await expect(tooMuch).rejects.toThrow(/^NotEnoughStakeToWithdraw/);
    clock.advance(6);
    await expect(ledger.register(first, { coldkey })).rejects.toThrow(/^NonAssociatedColdKey/);
    expect(await ledger.register(first, { coldkey: first.hotkey })).toMatchObject({ uid: 0, stakeRao: 3_000_000 });
  });

  it("weights on the owner's own hotkey pay nobody", async () => {
    const clock = new ManualBlockClock({ blockMs: 100 });
    const { ledger } = await openLedger({ clock });
    await ledger.register(signerOf(50), { coldkey: owner });
    await ledger.register(signerOf(1), { coldkey: signerOf(1).hotkey });
    await ledger.register(signerOf(2), { coldkey: signerOf(2).hotkey });
    await ledger.addStake(signerOf(1), { amountRao: 5_000_000 });
    clock.advance(10);
    const weights = new Map([
      [0, 3],
      [2, 1],
    ]);
    await ledger.setWeights(signerOf(1), weights);
    const before = await ledger.metagraph();
    clock.advance(10);
    const after = await ledger.metagraph();
    expect(after[0]).toMatchObject({ emissionRao: 0, validatorPermit: true });
    expect(after[0]!.incentive).toBeCloseTo(0.75, 4);
    expect(after[2]!.emissionRao - before[2]!.emissionRao).toBeCloseTo(10_000_000 * 0.41 * 0.25, -3);
    expect((await ledger.subnet()).burnedRao).toBeCloseTo(10_000_000 * 0.41 * 0.75, -3);
  });

  it('takes weights by commit and reveal where the subnet wants them so', async () => {
    const clock = new ManualBlockClock({ blockMs: 100 });
    const { ledger } = await openLedger({ clock, genesis: { ...genesis, isCommitReveal: true } });
    for (const n of [1, 2]) await ledger.register(signerOf(n), { coldkey: signerOf(n).hotkey });
    await ledger.addStake(signerOf(1), { amountRao: 5_000_000 });
    clock.advance(10);
    const validator = signerOf(1);
    const row = { uids: [1], values: [65_535], salt: [1, 2, 3], versionKey: 0 };
    await expect(ledger.setWeights(validator, new Map([[1, 1]]))).rejects.toThrow(/^CommitRevealEnabled/);
    await expect(ledger.revealWeights(validator, row)).rejects.toThrow(/^NoWeightsCommitFound/);
    await ledger.commitWeights(validator, row);
    await expect(ledger.commitWeights(validator, row)).rejects.toThrow(/^CommittingWeightsTooFast/);
    await expect(ledger.revealWeights(validator, row)).rejects.toThrow(/^RevealTooEarly/);
    clock.advance(10);
    const other = ledger.revealWeights(validator, { ...row, values: [1] });
    await expect(other).rejects.toThrow(/^InvalidRevealCommitHashNotMatch/);
    await ledger.revealWeights(validator, row);
    expect([...(await ledger.weights(validator.hotkey))]).toEqual([[1, 65_535]]);
    await expect(ledger.revealWeights(validator, row)).rejects.toThrow(/^NoWeightsCommitFound/);
    await ledger.commitWeights(validator, row);
    clock.advance(30);
    await expect(ledger.revealWeights(validator, row)).rejects.toThrow(/^ExpiredWeightCommit/);
    clock.advance(10);
    expect((await ledger.metagraph())[1]!.incentive).toBe(1);
    const { ledger: plain } = await openLedger({ clock });
    await plain.register(signerOf(1), { coldkey });
    await expect(plain.commitWeights(signerOf(1), row)).rejects.toThrow(/^CommitRevealDisabled/);
  });

  it('keeps the limits of its genesis: version key, stake to weigh, length, one weight, registration', async () => {
    const clock = new ManualBlockClock({ blockMs: 100 });
    const limits = {
      weightsVersionKey: 7,
      minStakeToSetWeightsRao: 6_000_000,
      minAllowedWeights: 2,
      maxWeightLimit: 40_000,
    };
    const { ledger } = await openLedger({ clock, genesis: { ...genesis, ...limits } });
    for (const n of [1, 2, 4]) await ledger.register(signerOf(n), { coldkey: signerOf(n).hotkey });
    const validator = signerOf(1);
    await ledger.addStake(validator, { amountRao: 5_000_000 });
    const weigh = (row: [number, number][], versionKey = 7) =>
      ledger.setWeights(validator, new Map(row), { versionKey });
    const pair: [number, number][] = [
      [1, 1],
      [2, 1],
    ];
    await expect(weigh(pair)).rejects.toThrow(/^NotEnoughStakeToSetWeights/);
    await ledger.addStake(validator, { amountRao: 5_000_000 });
    clock.advance(10);
    await expect(weigh(pair, 6)).rejects.toThrow(/^IncorrectWeightVersionKey: .*update/);
    await expect(weigh([[1, 1]])).rejects.toThrow(/^WeightVecLengthIsLow/);
    const uneven: [number, number][] = [
      [1, 9],
      [2, 1],
    ];
    await expect(weigh(uneven)).rejects.toThrow(/^MaxWeightExceeded/);
    await weigh(pair);
    const { ledger: closed } = await openLedger({ clock, genesis: { ...genesis, isRegistrationOpen: false } });
    await expect(closed.register(validator, { coldkey })).rejects.toThrow(/^SubNetRegistrationDisabled/);
  });

  it('is closed for good', async () => {
    const { ledger } = await openLedger({ clock: new ManualBlockClock({ blockMs: 100 }) });
    await ledger.close();
    await ledger.close();
    await expect(ledger.head()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });
});

async function readAll(ledger: SigningLedger) {
  const head = await ledger.head();
  const blocks = await Promise.all([0, 1, 13, head.number - 1].map((number) => ledger.block(number)));
  return {
    head,
    blocks,
    neurons: await ledger.metagraph(),
    weights: await ledger.weights(signerOf(0).hotkey),
    commitment: await ledger.commitment(signerOf(2).hotkey),
  };
}
