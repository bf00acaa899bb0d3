/** @file What every bus promises; run against each adapter. */
import { describe, expect, it } from 'vitest';
import { type Bus, maxPayloadBytes } from '../../src/bus/port.ts';
import { BaseError } from '../../src/util/errors.ts';

/** Two ends of one bus (the same object where there is only one). */
export interface BusPair {
  readonly a: Bus;
  readonly b: Bus;
  close(): Promise<void>;
}

/** Resolves once `list` holds `count` items. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const endsAt = performance.now() + 60_000;
  while (!condition()) {
    if (performance.now() > endsAt) throw new Error(`waited 60 s for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

export function testBus(name: string, open: () => Promise<BusPair>): void {
  describe(`bus contract: ${name}`, () => {
    const both = (body: (pair: { from: Bus; to: Bus }) => Promise<void>) => async () => {
      for (const turned of [false, true]) {
        const pair = await open();
        try {
          await body(turned ? { from: pair.b, to: pair.a } : { from: pair.a, to: pair.b });
        } finally {
          await pair.close();
        }
      }
    };

    it(
      'delivers to each subscriber in the order of the publisher',
      both(async ({ from, to }) => {
        const seen: string[] = [];
        const other: string[] = [];
        await to.subscribe('news', (payload) => seen.push(payload));
        await to.subscribe('news', (payload) => other.push(payload));
        await to.subscribe('other', (payload) => seen.push(`wrong topic ${payload}`));
        const sent = Array.from({ length: 50 }, (_, i) => `message ${i} "quoted"\nline é`);
        await Promise.all(sent.map((payload) => from.publish('news', payload)));
        await until(() => other.length >= 50 && seen.length >= 50, 'all messages');
        expect(seen).toEqual(sent);
        expect(other).toEqual(sent);
      }),
    );

    it(
      'a closed subscription hears nothing more, and a failing handler harms nobody',
      both(async ({ from, to }) => {
        const closed: string[] = [];
        const open: string[] = [];
        const subscription = await to.subscribe('news', (payload) => closed.push(payload));
        await to.subscribe('news', () => {
          throw new Error('broken handler');
        });
        await to.subscribe('news', (payload) => open.push(payload));
        await from.publish('news', '1');
        await until(() => open.length === 1, 'first message');
        await subscription.close();
        await from.publish('news', '2');
        await until(() => open.length === 2, 'second message');
        expect(closed).toEqual(['1']);
      }),
    );

    it(
      'answers requests, many at a time',
      both(async ({ from, to }) => {
        await to.respond('double', async (payload) => {
          await new Promise((resolve) => setTimeout(resolve, 3 * (Number(payload) % 4)));
          return String(2 * Number(payload));
        });
        const replies = await Promise.all(
          Array.from({ length: 20 }, (_, i) => from.request('double', String(i), { timeoutMs: 5_000 })),
        );
        expect(replies).toEqual(Array.from({ length: 20 }, (_, i) => String(2 * i)));
      }),
    );

    it(
      'no responder, also after it was closed: NO_RESPONDER, retryable',
      both(async ({ from, to }) => {
        const refusal = { code: 'NO_RESPONDER', retryable: true };
        await expect(from.request('nobody', '', { timeoutMs: 1_000 })).rejects.toMatchObject(refusal);
        const responder = await to.respond('nobody', async () => 'here');
        expect(await from.request('nobody', '', { timeoutMs: 1_000 })).toBe('here');
        await responder.close();
        await expect(from.request('nobody', '', { timeoutMs: 1_000 })).rejects.toMatchObject(refusal);
      }),
    );

    it(
      'a silent responder: TIMEOUT, and the responder is told',
      both(async ({ from, to }) => {
        let told = false;
        await to.respond('slow', (_, { signal }) => {
          signal.addEventListener('abort', () => {
            told = true;
          });
          return new Promise(() => undefined);
        });
        await expect(from.request('slow', '', { timeoutMs: 20 })).rejects.toMatchObject({
          code: 'TIMEOUT',
          retryable: true,
        });
        await until(() => told, 'the abort of the responder');
      }),
    );

    it(
      'a caller who gives up gets his own reason',
      both(async ({ from, to }) => {
        await to.respond('slow', () => new Promise(() => undefined));
        const controller = new AbortController();
        const reply = from.request('slow', '', { timeoutMs: 10_000, signal: controller.signal });
        controller.abort(new Error('no longer wanted'));
        await expect(reply).rejects.toThrow('no longer wanted');
      }),
    );

    it(
      "a responder's error keeps its code; our own bugs stay inside",
      both(async ({ from, to }) => {
        await to.respond('refuse', async () => {
          throw new BaseError('RATE_LIMIT', 'wait for block 12', { retryable: true });
        });
        await to.respond('break', async () => {
          throw new TypeError('secret detail');
        });
        await expect(from.request('refuse', '', { timeoutMs: 1_000 })).rejects.toMatchObject({
          name: 'BusError',
          code: 'RATE_LIMIT',
          message: 'wait for block 12',
          retryable: true,
        });
        const broken = await from.request('break', '', { timeoutMs: 1_000 }).catch((error: unknown) => error);
        expect(broken).toMatchObject({ name: 'BusError', code: 'INTERNAL' });
        expect((broken as Error).message).not.toContain('secret');
      }),
    );

    it(
      'one responder a topic: the second is refused with TAKEN, and may come when the first has gone',
      both(async ({ from, to }) => {
        const first = await to.respond('one', async () => 'first');
        await expect(to.respond('one', async () => 'second')).rejects.toMatchObject({ code: 'TAKEN' });
        await expect(from.respond('one', async () => 'third')).rejects.toMatchObject({ code: 'TAKEN' });
        expect(await from.request('one', '', { timeoutMs: 1_000 })).toBe('first');
        await first.close();
        await from.respond('one', async () => 'third');
        expect(await to.request('one', '', { timeoutMs: 1_000 })).toBe('third');
      }),
    );

    it(
      'payloads and topics are bounded',
      both(async ({ from, to }) => {
        const huge = 'x'.repeat(maxPayloadBytes + 1);
        await to.respond('big', async () => huge);
        await expect(from.publish('news', huge)).rejects.toMatchObject({ code: 'TOO_LARGE' });
        await expect(from.request('big', huge, { timeoutMs: 1_000 })).rejects.toMatchObject({ code: 'TOO_LARGE' });
        await expect(from.request('big', '', { timeoutMs: 5_000 })).rejects.toMatchObject({ code: 'TOO_LARGE' });
        for (const topic of ['', ' ', 'a\nb', 'x'.repeat(201)]) {
          await expect(from.publish(topic, ''), topic).rejects.toMatchObject({ code: 'BAD_TOPIC' });
        }
      }),
    );

    it(
      'after close: CLOSED, and waiting requests end',
      both(async ({ from, to }) => {
        await to.respond('slow', () => new Promise(() => undefined));
        const waiting = from.request('slow', '', { timeoutMs: 10_000 });
        const ended = expect(waiting).rejects.toMatchObject({ code: 'CLOSED', retryable: true });
        expect(from.connected).toBe(true);
        await new Promise((resolve) => setTimeout(resolve, 10));
        await from.close();
        await ended;
        expect(from.connected).toBe(false);
        await expect(from.publish('news', '')).rejects.toMatchObject({ code: 'CLOSED' });
        await expect(from.subscribe('news', () => undefined)).rejects.toMatchObject({ code: 'CLOSED' });
        await from.close();
      }),
    );
  });
}
