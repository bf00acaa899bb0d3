/** @file The contract of the ledger, held by the embedded chain; its file, its restarts, and its accounts. */
import { appendFile, mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { signerOf, testLedger } from '../../tests/contracts/ledger.ts';
import type { Hash } from '../protocol/names.ts';
import { canonicalJson } from '../util/canonical-json.ts';
import type { SigningLedger } from './backend.ts';
import { ManualBlockClock } from './block-clock.ts';
import { callBytes, signCall } from './calls.ts';
import type { GenesisOptions } from './chain.ts';
import { type EmbeddedChain, type EmbeddedLedgerOptions, openEmbeddedLedger } from './embedded.ts';
import { MemoryLedgerStorage } from './file.ts';
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
      const start = (await freeRao(owner)) + (await freeRao(coldkey));
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
        expect((await freeRao(owner)) + (await freeRao(coldkey)) + staked, what).toBe(start + issuedRao);
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
