/** @file Two buses as one: both hear, both are answered, and the far one's absence is no failure. */
import { describe, expect, it } from 'vitest';
import { until } from '../../tests/contracts/bus.ts';
import { InProcessBus } from './in-process.ts';
import { JoinedBus } from './joined.ts';

function open() {
  const [near, far] = [new InProcessBus(), new InProcessBus()];
  return { near, far, bus: new JoinedBus({ near, far, replicated: ['journal'] }) };
}

describe('a joined bus', () => {
  it('publishes to both sides, but what the far one has by its replica', async () => {
    const { near, far, bus } = open();
    const seen: string[] = [];
    for (const [name, side] of Object.entries({ near, far }))
      for (const topic of ['news', 'journal'])
        await side.subscribe(topic, (payload) => seen.push(`${name} ${payload}`));
    await bus.publish('news', 'news');
    await bus.publish('journal', 'entry');
    await until(() => seen.length === 3, 'all messages');
    expect(seen.sort()).toEqual(['far news', 'near entry', 'near news']);
  });

  it('hears and answers both sides, until it is closed', async () => {
    const { near, far, bus } = open();
    const seen: string[] = [];
    await bus.subscribe('news', (payload) => seen.push(payload));
    const responder = await bus.respond('echo', async (payload) => payload);
    await near.publish('news', 'near');
    await far.publish('news', 'far');
    await until(() => seen.length === 2, 'both');
    for (const side of [near, far, bus]) expect(await side.request('echo', 'x', { timeoutMs: 1_000 })).toBe('x');
    await responder.close();
    for (const side of [near, far])
      await expect(side.request('echo', 'x', { timeoutMs: 1_000 })).rejects.toMatchObject({ code: 'NO_RESPONDER' });
    await bus.close();
    expect([near.connected, far.connected, bus.connected]).toEqual([false, false, false]);
  });

  it('answers both sides or neither', async () => {
    const { near, far, bus } = open();
    await far.respond('one', async () => 'other');
    await expect(bus.respond('one', async () => 'mine')).rejects.toMatchObject({ code: 'TAKEN' });
    await expect(near.request('one', '', { timeoutMs: 1_000 })).rejects.toMatchObject({ code: 'NO_RESPONDER' });
  });

  it('goes on near when the far side is away', async () => {
    const { near, far, bus } = open();
    const seen: string[] = [];
    await near.subscribe('news', (payload) => seen.push(payload));
    await far.close();
    await bus.publish('news', 'still');
    await until(() => seen.length === 1, 'the message');
    expect(bus.connected).toBe(false);
  });
});
