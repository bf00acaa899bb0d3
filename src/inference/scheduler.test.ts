/** @file Sequences on one model: turns, places, the queue, and the same tokens whoever runs beside. The model here is a table. */
import { describe, expect, it } from 'vitest';
import type { DecodeModel, Decoder } from '../model/quasar-long/decode-model.ts';
import { presetConfig } from '../model/quasar-long/presets.ts';
import { Scheduler, type SequenceEvent, type SequenceRequest } from './scheduler.ts';

const config = presetConfig('tiny');
const vocab = 16;

/** Logits that follow from the tokens so far; tells who was read, with how many tokens. */
function tableModel(log: [sequence: number, tokens: number][] = [], failAt = Number.POSITIVE_INFINITY): DecodeModel {
  let begun = 0;
  return {
    config,
    begin() {
      const name = begun++;
      let sum = 0;
      return {
        feedLast: async (ids: readonly number[]) => {
          log.push([name, ids.length]);
          if (log.length >= failAt) throw new Error('broken');
          for (const id of ids) sum = (sum * 31 + id + 7) % 1_009;
          return Float32Array.from({ length: vocab }, (_, i) => Math.sin(sum * (i + 1)));
        },
        release: async () => void log.push([name, 0]),
      } as unknown as Decoder;
    },
    release: async () => {},
  };
}

const request = (changes: Partial<SequenceRequest> = {}): SequenceRequest => ({
  ...{ prompt: [1, 2, 3], maxTokens: 6, stopIds: [] },
  sampling: { temperature: 1, topK: 0, seed: 1 },
  ...changes,
});

async function idsOf(events: AsyncIterable<SequenceEvent>): Promise<(number | string)[]> {
  const found: (number | string)[] = [];
  for await (const event of events) found.push(event.kind === 'token' ? event.id : event.reason);
  return found;
}

describe('the scheduler', () => {
  it('draws the same tokens alone and among others', async () => {
    const requests = [1, 2, 3, 4, 5].map((seed) =>
      request({ prompt: [seed, 9], sampling: { temperature: 1, topK: 0, seed } }),
    );
    const alone: unknown[] = [];
    for (const each of requests)
      alone.push(await idsOf(new Scheduler(tableModel(), { concurrent: 1, queue: 0 }).submit(each)));
    const scheduler = new Scheduler(tableModel(), { concurrent: 3, queue: 9 });
    expect(await Promise.all(requests.map((each) => idsOf(scheduler.submit(each))))).toEqual(alone);
    expect(new Set(alone.map(String)).size).toBe(5);
  });

  it('gives turns: a long prompt is read in slices between the tokens of others', async () => {
    const log: [number, number][] = [];
    const scheduler = new Scheduler(tableModel(log), { concurrent: 2, queue: 0 });
    const long = request({ prompt: Array.from({ length: 600 }, (_, i) => i % vocab), maxTokens: 2 });
    const short = request({ maxTokens: 4 });
    const both = [long, short].map((each) => idsOf(scheduler.submit(each)));
    expect((await Promise.all(both)).map((ids) => ids.length)).toEqual([3, 5]);
    expect(log.filter(([, tokens]) => tokens > 0)).toEqual([
      ...[
        [0, 256],
        [1, 3],
      ],
      ...[
        [0, 256],
        [1, 1],
      ],
      ...[
        [0, 88],
        [1, 1],
      ],
      ...[
        [0, 1],
        [1, 1],
      ],
    ]);
    expect(log.filter(([, tokens]) => tokens === 0)).toHaveLength(2);
  });

  it('ends at a stop token, which is not told', async () => {
    const scheduler = new Scheduler(tableModel(), { concurrent: 1, queue: 9 });
    const all = await idsOf(scheduler.submit(request()));
    expect(all).toHaveLength(7);
    const stopIds = [all[2] as number];
    const before = all.slice(0, all.indexOf(stopIds[0]!));
    expect(await idsOf(scheduler.submit(request({ stopIds })))).toEqual([...before, 'stop']);
  });

  it('refuses what finds no place in the queue, and has room again afterwards', async () => {
    const scheduler = new Scheduler(tableModel(), { concurrent: 1, queue: 1 });
    const running = [request(), request()].map((each) => idsOf(scheduler.submit(each)));
    expect(scheduler.hasRoomFor(1)).toBe(false);
    expect(() => scheduler.submit(request())).toThrow(expect.objectContaining({ code: 'QUEUE_FULL', retryable: true }));
    await Promise.all(running);
    expect(scheduler.hasRoomFor(2)).toBe(true);
  });

  it('frees a sequence that is given up, waiting or running', async () => {
    const log: [number, number][] = [];
    const scheduler = new Scheduler(tableModel(log), { concurrent: 1, queue: 5 });
    const [first, second] = [new AbortController(), new AbortController()];
    const one = scheduler.submit(request({ maxTokens: 1_000_000, signal: first.signal }));
    const two = idsOf(scheduler.submit(request({ signal: second.signal })));
    const three = idsOf(scheduler.submit(request()));
    let seen = 0;
    await expect(async () => {
      for await (const event of one) {
        if (event.kind === 'token' && ++seen === 3) {
          second.abort(new Error('gone too'));
          first.abort(new Error('gone'));
        }
      }
    }).rejects.toThrow('gone');
    await expect(two).rejects.toThrow('gone too');
    expect(await three).toHaveLength(7);
    expect({ active: scheduler.activeCount, waiting: scheduler.waitingCount }).toEqual({ active: 0, waiting: 0 });
    // The one that waited was never begun.
    expect(new Set(log.map(([name]) => name)).size).toBe(2);
  });

  it('pauses a sequence that nobody reads, and goes on with the others', async () => {
    const log: [number, number][] = [];
    const scheduler = new Scheduler(tableModel(log), { concurrent: 2, queue: 0 });
    const unread = scheduler.submit(request({ maxTokens: 500 }));
    expect(await idsOf(scheduler.submit(request({ maxTokens: 400 })))).toHaveLength(401);
    expect(log.filter(([name]) => name === 0).length).toBeLessThanOrEqual(65);
    expect(await idsOf(unread)).toHaveLength(501);
  });

  it('tells a fault to the reader whose sequence it is', async () => {
    const scheduler = new Scheduler(tableModel([], 3), { concurrent: 1, queue: 1 });
    await expect(idsOf(scheduler.submit(request()))).rejects.toThrow('broken');
  });

  it('ends everything when it is closed', async () => {
    const scheduler = new Scheduler(tableModel(), { concurrent: 1, queue: 1 });
    const running = [request({ maxTokens: 1e6 }), request()].map((each) => idsOf(scheduler.submit(each)));
    const ended = Promise.allSettled(running);
    await scheduler.close();
    expect((await ended).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(() => scheduler.submit(request())).toThrow(expect.objectContaining({ code: 'CLOSED' }));
  });
});
