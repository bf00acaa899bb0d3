/** @file Works in lanes: so many at once and in order, none after a fault, and all waited for. */
import { expect, it } from 'vitest';
import { inLanes } from './lanes.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

it('works on each once, in order, never more at once than asked for', async () => {
  const begun: number[] = [];
  let [now, most] = [0, 0];
  await inLanes(17, { atOnce: 3 }, async (i) => {
    begun.push(i);
    most = Math.max(most, ++now);
    for (let turns = 0; turns < (i * 7) % 5; turns++) await turn();
    now--;
  });
  expect(begun).toEqual(Array.from({ length: 17 }, (_, i) => i));
  expect(most).toBe(3);
  await inLanes(0, { atOnce: 3 }, () => Promise.reject(new Error('there is nothing to work on')));
});

it('ends with the first fault, after those under way, which are told', async () => {
  const ended: string[] = [];
  const working = inLanes(10, { atOnce: 3 }, async (i, signal) => {
    if (i === 1) throw new Error('one');
    while (!signal.aborted) await turn();
    ended.push(`${i} told ${String((signal.reason as Error).message)}`);
    throw new Error('a consequence');
  });
  await expect(working).rejects.toThrow('one');
  expect(ended).toEqual(['0 told one', '2 told one']);
});

it('ends by its signal, also where no work looks at it', async () => {
  const stop = new AbortController();
  let begun = 0;
  const working = inLanes(10, { atOnce: 2, signal: stop.signal }, async () => {
    if (++begun === 4) stop.abort(new Error('stopped'));
    await turn();
  });
  await expect(working).rejects.toThrow('stopped');
  expect(begun).toBe(4);
  await expect(inLanes(1, { atOnce: 1, signal: stop.signal }, turn)).rejects.toThrow('stopped');
});
