/** @file A client follows, checks and mends: the fold is the syncer's own, and a lie of the syncer is refused. */
import { afterEach, describe, expect, it } from 'vitest';
import { LocalNetwork } from '../../tests/support/local-network.ts';
import { testSession } from '../../tests/support/run-fixture.ts';
import { BusError } from '../bus/errors.ts';
import type { Bus } from '../bus/port.ts';
import { hashState } from '../journal/fold.ts';
import type { JournalEntry } from '../protocol/messages.ts';
import { silentLog } from '../util/clock.ts';
import { topics } from './client.ts';
import { RoleError } from './errors.ts';

const networks: LocalNetwork[] = [];
afterEach(async () => {
  for (const network of networks.splice(0)) await network.close();
});

async function open(): Promise<LocalNetwork> {
  const network = await LocalNetwork.open();
  networks.push(network);
  return network;
}

/** The bus as one client sees it; published entries and read pages pass through the functions given. */
function through(
  bus: Bus,
  change: { readonly published?: (text: string) => string | null; readonly read?: (text: string) => string },
): Bus {
  const wrapped: Partial<Bus> = {
    subscribe: (topic, handler) =>
      bus.subscribe(topic, (payload) => {
        const changed = topic === topics.journal && change.published ? change.published(payload) : payload;
        if (changed !== null) handler(changed);
      }),
    request: async (topic, payload, options) => {
      const reply = await bus.request(topic, payload, options);
      return topic === topics.journalRead && change.read ? change.read(reply) : reply;
    },
  };
  return new Proxy(bus, {
    get: (target, name) => {
      const own = wrapped[name as keyof Bus] ?? target[name as keyof Bus];
      return typeof own === 'function' ? own.bind(target) : own;
    },
  });
}

describe('a client', () => {
  it('has the fold of the syncer, entry by entry', async () => {
    const network = await open();
    const observer = await network.connect(null);
    const seen: number[] = [];
    const stop = observer.onEntry((entry) => seen.push(entry.seq));
    const from = observer.state.size;
    const miner = await network.miner('a');
    await network.pass(1_000, miner);
    const { run } = network.orchestrator;
    expect(run.size).toBeGreaterThan(from + 2);
    expect(hashState(observer.state)).toBe(hashState(run));
    expect(hashState(miner.client.state)).toBe(hashState(run));
    expect(seen).toEqual(Array.from({ length: run.size - from }, (_, i) => from + i));
    stop();
    await network.miner('b');
    expect(seen.at(-1)).toBeLessThan(observer.state.size - 1);
    const late = await network.connect(null);
    expect(hashState(late.state)).toBe(hashState(network.orchestrator.run));
    expect(late.manifest).toEqual(run.run!.manifest);
  });

  it('asks again where the syncer is away while it connects, and gives up after a while', async () => {
    const network = await open();
    let failures = 3;
    const lossy = through(network.bus, {
      read: (text) => {
        if (failures-- > 0) throw new BusError('CLOSED', 'the syncer restarts', { retryable: true });
        return text;
      },
    });
    const connecting = network.connect(null, { bus: lossy });
    for (let i = 0; i < 5; i++) await network.clock.advance(1_000);
    const client = await connecting;
    expect(client.state.size).toBe(network.orchestrator.run.size);
    failures = Number.POSITIVE_INFINITY;
    const refused = expect(network.connect(null, { bus: lossy })).rejects.toMatchObject({ code: 'CLOSED' });
    for (let i = 0; i < 12; i++) await network.clock.advance(1_000);
    await refused;
  });

  it('hands every entry to onFold, also those from before it connected', async () => {
    const network = await open();
    await network.miner('a');
    const seen: number[] = [];
    const client = await network.connect(null, { onFold: (state, { seq }) => seen.push(state.size - seq) });
    expect(seen).toEqual(Array.from({ length: client.state.size }, () => 1));
  });

  it('waits with `submit` until its own fold has the entry', async () => {
    const network = await open();
    const miner = await network.miner('a');
    const lease = await miner.client.requestLease();
    expect(miner.client.state.leases.get(lease!)?.learner).toBe(miner.record.id);
  });

  it('reads what was published and lost', async () => {
    const network = await open();
    let drops = 2;
    const bus = through(network.bus, { published: (text) => (drops-- > 0 ? null : text) });
    const client = await network.connect(null, { bus });
    const before = client.state.size;
    await network.miner('a');
    await network.clock.quiesce();
    expect(drops).toBeLessThan(0);
    expect(client.state.size).toBeGreaterThan(before + 2);
    expect(hashState(client.state)).toBe(hashState(network.orchestrator.run));
  });

  it('has what was published while a read was under way', async () => {
    const network = await open();
    let held: (() => void) | null = null;
    let isHolding = false;
    const slow = through(network.bus, {});
    const bus = new Proxy(slow, {
      get: (target, name) => {
        if (name !== 'request') return target[name as keyof Bus];
        return async (...asked: Parameters<Bus['request']>) => {
          const reply = await network.bus.request(...asked);
          if (isHolding) await new Promise<void>((resume) => (held = resume));
          return reply;
        };
      },
    });
    const client = await network.connect(null, { bus });
    isHolding = true;
    await network.clock.advance(1_000); // the poll's read is answered, and its answer is slow
    expect(held).not.toBeNull();
    await network.miner('a');
    await network.clock.quiesce();
    expect(hashState(client.state)).toBe(hashState(network.orchestrator.run));
    isHolding = false;
    held!();
    await network.clock.quiesce();
    expect(hashState(client.state)).toBe(hashState(network.orchestrator.run));
  });

  it('says aloud that its syncer lies', async () => {
    const network = await open();
    const errors: string[] = [];
    const log = { ...silentLog, error: (event: string) => errors.push(event) };
    let isLying = false;
    const read = (text: string) => (isLying ? text.replaceAll(/"signature":"..../g, '"signature":"0000') : text);
    const bus = through(network.bus, { published: () => null, read });
    const client = await network.connect(null, { bus, log });
    const before = hashState(client.state);
    isLying = true;
    await network.miner('a');
    await network.clock.advance(1_100);
    expect(errors).toEqual(['the syncer gives a journal that is not valid']);
    expect(hashState(client.state)).toBe(before);
  });

  it('finds the last entry by itself when nothing follows it', async () => {
    const network = await open();
    const client = await network.connect(null, { bus: through(network.bus, { published: () => null }) });
    await network.miner('a');
    await network.clock.advance(1_100);
    expect(hashState(client.state)).toBe(hashState(network.orchestrator.run));
  });

  it('takes no entry that does not belong: forged, out of place, or no entry at all', async () => {
    const network = await open();
    const miner = await network.miner('a');
    const client = await network.connect(null);
    const [last] = await network.journal.read(client.state.size - 1, 1);
    const next = { ...last!, seq: client.state.size, prevHash: client.state.headHash };
    const forged = [
      next,
      { ...next, message: { ...next.message, signature: '00'.repeat(64) } },
      { ...next, prevHash: last!.prevHash },
      { ...next, seq: next.seq + 100 },
      { ...next, timeMs: 0 },
      { ...next, extra: 1 },
      null,
      [],
    ].map((entry) => JSON.stringify(entry));
    const before = hashState(client.state);
    for (const payload of [...forged, 'not json', '{"seq":']) {
      await network.bus.publish(topics.journal, payload);
      await network.clock.quiesce();
      expect(hashState(client.state), payload.slice(0, 80)).toBe(before);
    }
    await miner.client.requestLease();
    await network.clock.advance(1_100);
    expect(hashState(client.state)).toBe(hashState(network.orchestrator.run));
  });

  it('does not join a run whose journal was changed', async () => {
    const network = await open();
    await network.miner('a');
    const last = network.orchestrator.run.size - 1;
    const change = (edit: (entry: JournalEntry) => unknown, at: number) => {
      const read = (text: string): string =>
        JSON.stringify((JSON.parse(text) as JournalEntry[]).map((entry) => (entry.seq === at ? edit(entry) : entry)));
      return network.connect(null, { bus: through(network.bus, { read }) });
    };
    const lies: readonly [string, (entry: JournalEntry) => unknown][] = [
      ['another time', (entry) => ({ ...entry, timeMs: entry.timeMs - 60_000 })],
      ['another body', ({ message, ...entry }) => ({ ...entry, message: { ...message, body: { atMs: 5 } } })],
      [
        'another signer',
        ({ message, ...entry }) => ({ ...entry, message: { ...message, signer: testSession('x').signer } }),
      ],
      ['a link that is broken', (entry) => ({ ...entry, prevHash: '0'.repeat(64) })],
      ['no message', ({ seq, prevHash, timeMs }) => ({ seq, prevHash, timeMs })],
    ];
    for (const [what, lie] of lies) {
      const error = await change(lie, last).catch((thrown: unknown) => thrown);
      expect(error, what).toBeInstanceOf(RoleError);
      expect(error, what).toMatchObject({ code: 'JOURNAL_INVALID' });
    }
    const empty = through(network.bus, { read: () => '[]' });
    await expect(network.connect(null, { bus: empty })).rejects.toMatchObject({ code: 'NO_RUN' });
  });

  it('asks again while the syncer is away, and knows what it had handed in', async () => {
    const network = await open();
    const miner = await network.miner('a');
    await network.stop();
    const asked = miner.client.requestLease();
    await network.clock.advance(2_000);
    await network.start();
    await network.clock.advance(3_000);
    expect(await asked).toBe(0);
    expect(hashState(miner.client.state)).toBe(hashState(network.orchestrator.run));
  });

  it('of an observer signs nothing', async () => {
    const network = await open();
    const observer = await network.connect(null);
    await expect(observer.requestLease()).rejects.toMatchObject({ code: 'NO_KEY' });
  });
});
