/** @file The contract of the ledger, held over a bus; what a bus does wrong, and a chain that answers nonsense. */
import { afterEach, describe, expect, it } from 'vitest';
import { signerOf, testLedger } from '../../tests/contracts/ledger.ts';
import { testRehearsal } from '../../tests/contracts/ledger-rehearsal.ts';
import { BusError } from '../bus/errors.ts';
import { InProcessBus } from '../bus/in-process.ts';
import { ManualBlockClock } from './block-clock.ts';
import { EmbeddedChain } from './embedded.ts';
import { connectLedger, type LedgerRequester, serveLedger } from './remote.ts';

const coldkey = signerOf(51).hotkey;
const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function startChain() {
  const clock = new ManualBlockClock({ blockMs: 100 });
  const chain = await EmbeddedChain.open({
    genesis: { chainId: 'accrete-test', netuid: 24, tempoBlocks: 10, blockMs: 100, owner: signerOf(50).hotkey },
    clock,
  });
  const bus = new InProcessBus();
  await serveLedger(bus, chain);
  cleanups.push(async () => {
    await chain.close();
    await bus.close();
  });
  return { chain, bus, clock };
}

testLedger('over a bus', async () => {
  const { bus, clock } = await startChain();
  return {
    ledger: await connectLedger(bus),
    advance: async (blocks) => clock.advance(blocks),
    close: async () => undefined,
  };
});

testRehearsal('embedded, over a bus', async () => {
  const { bus, clock } = await startChain();
  return {
    ...{ ledger: await connectLedger(bus), coldkeys: [40, 41, 43, 44].map(signerOf) },
    ...{ hotkeys: [0, 1, 2, 4].map(signerOf), stranger: signerOf(60), stakeRao: 5_000_000_000 },
    advance: async (blocks) => clock.advance(blocks),
    close: async () => undefined,
  };
});

describe('ledger over a bus', () => {
  it('knows the chain it talks to', async () => {
    const { bus } = await startChain();
    const ledger = await connectLedger(bus);
    expect([ledger.chainId, ledger.netuid, ledger.tempoBlocks]).toEqual(['accrete-test', 24, 10]);
  });

  it('sends a call again when its answer was lost, and it counts once', async () => {
    const { bus, chain } = await startChain();
    let lost = 0;
    const lossy: LedgerRequester = {
      request: async (topic, payload, options) => {
        const reply = await bus.request(topic, payload, options);
        if (topic === 'ledger.submit' && lost++ % 2 === 0) {
          throw new BusError('CLOSED', 'the connection broke', { retryable: true });
        }
        return reply;
      },
    };
    const ledger = await connectLedger(lossy);
    await ledger.register(signerOf(1), { coldkey });
    await ledger.addStake(signerOf(1), { amountRao: 3_000_000 });
    await ledger.addStake(signerOf(1), { amountRao: 3_000_000 });
    expect((await chain.metagraph())[0]!.stakeRao).toBe(6_000_000);
    expect(lost).toBe(6);
  });

  it('two processes with one hotkey do not lose calls to each other', async () => {
    const { bus, chain } = await startChain();
    const [a, b] = [await connectLedger(bus), await connectLedger(bus)];
    await a.register(signerOf(1), { coldkey });
    await Promise.all([a, b, a, b].map((ledger, i) => ledger.addStake(signerOf(1), { amountRao: 2_000_000 + i })));
    expect((await chain.metagraph())[0]!.stakeRao).toBe(8_000_006);
  });

  it('nobody serves a ledger: UNAVAILABLE', async () => {
    const bus = new InProcessBus();
    await expect(connectLedger(bus)).rejects.toMatchObject({ code: 'UNAVAILABLE', retryable: true });
    await serveLedger(bus, (await startChain()).chain);
    const ledger = await connectLedger(bus);
    await bus.close();
    await expect(ledger.head()).rejects.toMatchObject({ code: 'UNAVAILABLE', retryable: true });
  });

  it('answers no nonsense, and takes none', async () => {
    const { bus } = await startChain();
    for (const payload of ['', 'null', '{"number":-1}', '{"number":1,"more":2}', '{"number":"1"}']) {
      const refused = bus.request('ledger.block', payload, { timeoutMs: 1_000 });
      await expect(refused, payload).rejects.toMatchObject({ code: 'BAD_CALL' });
    }
    const lying: LedgerRequester = {
      request: async (topic, payload, options) =>
        topic === 'ledger.info' ? bus.request(topic, payload, options) : '{"number":1,"hash":"00"}',
    };
    const ledger = await connectLedger(lying);
    await expect(ledger.head()).rejects.toMatchObject({ code: 'UNAVAILABLE', retryable: false });
  });
});
