/**
 * @file Two syncers and one log, on a clock that the test moves: one leads, the other has all that was told to anybody, and a
 * leader that was away can neither append nor fork.
 */
import { describe, expect, it } from 'vitest';
import { sampleEntries, testJournal } from '../../tests/contracts/journal.ts';
import { VirtualClock } from '../simulate/virtual-clock.ts';
import { StoreError } from '../store/errors.ts';
import { WriteOnceMemory } from '../store/write-once-memory.ts';
import { utf8 } from '../util/bytes.ts';
import { silentLog } from '../util/clock.ts';
import { MemoryJournal } from './memory.ts';
import { type LeadOptions, type LineCopy, SharedJournal } from './shared.ts';
import { type LogPlace, SharedLog, segmentName } from './shared-log.ts';

const silenceMs = 3_000;

/** A place that can be away, and that can do what it is asked and fail to say so. */
class FaultyPlace implements LogPlace {
  readonly #place = new WriteOnceMemory();
  isAway = false;
  losesAnswers = false;
  hangs = false;
  writes = 0;

  async putNew(name: string, bytes: Uint8Array): Promise<boolean> {
    if (this.isAway) throw away(name);
    this.writes++;
    const isTaken = await this.#place.putNew(name, bytes);
    if (this.losesAnswers) throw away(name);
    if (this.hangs) await new Promise(() => {});
    return isTaken;
  }

  async get(name: string): Promise<Uint8Array | null> {
    if (this.isAway) throw away(name);
    return this.#place.get(name);
  }
}

const away = (name: string): StoreError => new StoreError('UNAVAILABLE', `${name}: away`, { retryable: true });

class Lines implements LineCopy {
  readonly texts: string[] = [];

  get sizeBytes(): number {
    return this.texts.reduce((sum, text) => sum + text.length + 1, 0);
  }

  async append(...texts: readonly string[]): Promise<number> {
    this.texts.push(...texts);
    return this.sizeBytes;
  }

  async *lines(fromByte: number): AsyncIterable<{ text: string }> {
    let at = 0;
    for (const text of this.texts) {
      if (at >= fromByte) yield { text };
      at += text.length + 1;
    }
  }
}

class Syncer {
  readonly copy = new MemoryJournal();
  readonly lines = new Lines();
  readonly log: SharedLog;
  readonly journal: SharedJournal;
  readonly checked: number[] = [];
  readonly stop = new AbortController();
  readonly #clock: VirtualClock;

  constructor(name: string, place: LogPlace, clock: VirtualClock) {
    this.#clock = clock;
    this.log = new SharedLog({ place, syncer: name, writer: `writer of ${name}`, clock, log: silentLog });
    const { log, copy, lines } = this;
    this.journal = new SharedJournal({ log, copy, lines });
  }

  /** What it came to, once it did. */
  follow(check: LeadOptions['check'] = () => {}): { isLeading: boolean | null; error: unknown } {
    const state: { isLeading: boolean | null; error: unknown } = { isLeading: null, error: null };
    const options = { clock: this.#clock, signal: this.stop.signal, silenceMs, check };
    this.journal.untilLeading(options).then(
      (isLeading) => {
        state.isLeading = isLeading;
      },
      (error) => {
        state.error = error;
      },
    );
    return state;
  }
}

const entries = sampleEntries();

function open(): { place: FaultyPlace; clock: VirtualClock; syncer: (name: string) => Syncer } {
  const place = new FaultyPlace();
  const clock = new VirtualClock(1_000);
  return { place, clock, syncer: (name) => new Syncer(name, place, clock) };
}

async function leading(name = 'a') {
  const network = open();
  const a = network.syncer(name);
  const state = a.follow();
  await network.clock.advance(0);
  expect(state.isLeading).toBe(true);
  return { ...network, a };
}

testJournal('shared', async () => {
  const { a, clock } = await leading();
  const ticking = setInterval(() => void clock.advance(100), 1);
  return {
    journal: a.journal,
    close: async () => {
      clearInterval(ticking);
      await a.journal.close();
    },
  };
});

describe('two syncers', () => {
  it('started at once: one leads, the other follows it', async () => {
    const { clock, syncer } = open();
    const both = [syncer('a'), syncer('b')];
    const states = both.map((each) => each.follow());
    await clock.advance(10_000);
    expect(states.map(({ isLeading }) => isLeading).sort()).toEqual([null, true]);
    const leader = both[states.findIndex(({ isLeading }) => isLeading === true)]!;
    const follower = both.find((each) => each !== leader)!;
    for (const entry of entries) await leader.journal.append(entry);
    await leader.journal.appendLines(['one', 'two']);
    await clock.advance(200);
    expect(await follower.copy.read(0, 1000)).toEqual(entries);
    expect(follower.lines.texts).toEqual(['one', 'two']);
  });

  it('the follower leads once the leader is silent, with all that was told, and goes on', async () => {
    const { a, clock, syncer } = await leading();
    const b = syncer('b');
    const state = b.follow();
    for (const entry of entries.slice(0, 4)) await a.journal.append(entry);
    await clock.advance(10 * silenceMs); // a leader with nothing to say still gives signs of life
    expect(state.isLeading).toBe(null);
    for (const entry of entries.slice(4, 6)) await a.journal.append(entry);
    await a.log.close(); // killed: nothing of it is heard again
    await clock.advance(silenceMs + 1_000);
    expect(state.isLeading).toBe(true);
    expect(await b.copy.read(0, 1000)).toEqual(entries.slice(0, 6));
    for (const entry of entries.slice(6)) await b.journal.append(entry);
    expect(b.journal.head.size).toBe(entries.length);
    expect(b.log.position.term).toBe(2);
  });

  it('a leader that wakes too late is fenced: it appends nothing, is told so, and follows', async () => {
    const { place, clock } = open();
    const frozenClock = new VirtualClock(1_000); // only moves while it is not frozen
    const a = new Syncer('a', place, frozenClock);
    a.follow();
    await frozenClock.advance(0);
    for (const entry of entries.slice(0, 3)) await a.journal.append(entry);
    const b = new Syncer('b', place, clock);
    const state = b.follow();
    await clock.advance(2 * silenceMs);
    expect(state.isLeading).toBe(true);
    for (const entry of entries.slice(3, 5)) await b.journal.append(entry);
    await frozenClock.advance(1_000);
    expect((await a.journal.lost).code).toBe('FENCED');
    await expect(a.journal.append(entries[3]!)).rejects.toMatchObject({ code: 'FENCED' });
    expect(a.copy.head.size).toBe(3);
    // As its process does: opened anew, on the copy that it has.
    const again = new Syncer('a', place, clock);
    for (const entry of entries.slice(0, 3)) await again.copy.append(entry);
    const follows = again.follow();
    await clock.advance(500);
    expect(follows.isLeading).toBe(null);
    expect(await again.copy.read(0, 1000)).toEqual(entries.slice(0, 5));
  });

  it('of two that both believe to lead, the one whose name was taken stops at its next write', async () => {
    const { place, clock, syncer } = open();
    const a = syncer('a');
    a.follow();
    await clock.advance(0);
    await a.journal.append(entries[0]!);
    // Its turns come late: nothing is written while the place is slow for it alone.
    const thief = new SharedLog({
      ...{ place, syncer: 'b', writer: 'writer of b', clock, log: silentLog },
    });
    while ((await thief.readOn()).length > 0);
    expect(await thief.takeLead()).toBe(true);
    const lost = a.journal.lost.then((error) => error.code);
    await expect(a.journal.append(entries[1]!)).rejects.toMatchObject({ code: 'FENCED' });
    expect(await lost).toBe('FENCED');
    await expect(a.journal.append(entries[1]!)).rejects.toMatchObject({ code: 'FENCED' });
    await expect(a.journal.appendLines(['line'])).rejects.toMatchObject({ code: 'FENCED' });
    expect(a.journal.head.size).toBe(1);
    expect(a.lines.texts).toEqual([]);
    await thief.close();
    const follower = syncer('c');
    follower.follow();
    await clock.advance(500);
    expect(await follower.copy.read(0, 10)).toEqual([entries[0]]);
  });

  it('a leader without work finds out by its sign of life', async () => {
    const { place, clock, a } = await leading();
    const thief = new SharedLog({ ...{ place, syncer: 'b', writer: 'b', clock, log: silentLog } });
    while ((await thief.readOn()).length > 0);
    expect(await thief.takeLead()).toBe(true);
    let isLost = false;
    void a.journal.lost.then(() => {
      isLost = true;
    });
    await clock.advance(1_500);
    expect(isLost).toBe(true);
  });

  it('hands the lead over at once when it is given up', async () => {
    const { clock, a, syncer } = await leading();
    const b = syncer('b');
    const state = b.follow();
    await a.journal.append(entries[0]!);
    await clock.advance(200);
    await a.log.giveUp();
    await clock.advance(200);
    expect(state.isLeading).toBe(true);
    await b.journal.append(entries[1]!);
    await expect(a.journal.append(entries[1]!)).rejects.toMatchObject({ code: 'FENCED' });
  });
});

describe('a place that fails', () => {
  it('holds an append back until it says what became of it, and takes it once', async () => {
    const { place, clock, a } = await leading();
    place.losesAnswers = true;
    let isDone = false;
    const appending = a.journal.append(entries[0]!).then(() => {
      isDone = true;
    });
    await clock.advance(5_000);
    // The second try is told that the name is taken, and finds its own bytes there.
    expect(isDone).toBe(true);
    await appending;
    place.losesAnswers = false;
    expect(await a.copy.read(0, 10)).toEqual([entries[0]]);
    const reader = new SharedLog({ ...{ place, syncer: 'r', writer: 'r', clock, log: silentLog } });
    const records = (await reader.readOn()).flatMap((segment) => segment.records);
    expect(records.length).toBe(1);
  });

  it('stops nobody for good: after it was away the leader goes on, or the follower', async () => {
    const { place, clock, a, syncer } = await leading();
    const b = syncer('b');
    const state = b.follow();
    await clock.advance(500);
    place.isAway = true;
    const appending = a.journal.append(entries[0]!);
    await clock.advance(2_000);
    place.isAway = false;
    await clock.advance(4_000);
    await appending;
    expect(a.log.isLeading).toBe(true);
    expect(state).toEqual({ isLeading: null, error: null });
    await clock.advance(200);
    expect(b.copy.head.size).toBe(1);
  });
});

it('what there is to read is asked for eight at a time, in order, and one at a time where there is nothing', async () => {
  const place = new WriteOnceMemory();
  const clock = new VirtualClock(0);
  const writer = new SharedLog({ place, syncer: 'w', writer: 'w', clock, log: silentLog });
  await writer.takeLead();
  for (let i = 0; i < 30; i++) await writer.append([`${i}`]);
  let [under, most, asked] = [0, 0, 0];
  const far: LogPlace = {
    putNew: (name, bytes) => place.putNew(name, bytes),
    get: async (name) => {
      asked++;
      most = Math.max(most, ++under);
      await new Promise<void>((resolve) => setImmediate(resolve));
      under--;
      return place.get(name);
    },
  };
  const reader = new SharedLog({ place: far, syncer: 'r', writer: 'r', clock, log: silentLog });
  const first = await reader.readOn(10);
  expect(first.map(({ number }) => number)).toEqual(Array.from({ length: 10 }, (_, i) => i));
  const rest = await reader.readOn();
  expect(rest.flatMap(({ records }) => records).at(-1)).toBe('29');
  expect([most, reader.position.next]).toEqual([8, 31]);
  await new Promise<void>((resolve) => setImmediate(resolve));
  asked = 0;
  expect(await reader.readOn()).toEqual([]);
  expect(asked).toBe(1);
  await writer.close();
  await reader.close();
});

describe('a place that one syncer does not see', () => {
  it('costs it the lead, so that who is connected to it goes on to the other', async () => {
    const { clock, place, a, syncer } = await leading();
    const b = syncer('b');
    const state = b.follow();
    await clock.advance(500);
    place.isAway = true; // for both: nobody leads
    const appending = a.journal.append(entries[0]!).catch((error) => error.code);
    await clock.advance(20_000);
    expect(await appending).toBe('FENCED');
    expect((await a.journal.lost).code).toBe('FENCED');
    expect(state).toEqual({ isLeading: null, error: null });
    place.isAway = false;
    await clock.advance(silenceMs + 1_000);
    expect(state.isLeading).toBe(true);
    await b.journal.append(entries[0]!);
  });

  it('may hang: a write without an answer is asked for, and found', async () => {
    const { clock, place, a } = await leading();
    place.hangs = true;
    const appending = a.journal.append(entries[0]!);
    await clock.advance(5_500);
    place.hangs = false;
    await clock.advance(1_000);
    await appending;
    expect(a.copy.head.size).toBe(1);
  });
});

describe('what waits meanwhile', () => {
  it('shares one write', async () => {
    const { place, a } = await leading();
    const before = place.writes;
    await Promise.all(entries.map((entry) => a.journal.append(entry)));
    expect(await a.copy.read(0, 1000)).toEqual(entries);
    // The first goes alone, all others together.
    expect(place.writes - before).toBe(2);
  });
});

describe('a group', () => {
  it('is one segment, read by who follows', async () => {
    const { place, clock, a, syncer } = await leading();
    const b = syncer('b');
    b.follow();
    const before = place.writes;
    await a.journal.appendAll(entries);
    expect(place.writes - before).toBe(1);
    await clock.advance(200);
    expect(await b.copy.read(0, 1000)).toEqual(entries);
  });

  it('of a leader that is fenced is appended by no part', async () => {
    const { place, clock, a, syncer } = await leading();
    await a.journal.append(entries[0]!);
    const thief = new SharedLog({ ...{ place, syncer: 'b', writer: 'b', clock, log: silentLog } });
    while ((await thief.readOn()).length > 0);
    expect(await thief.takeLead()).toBe(true);
    await expect(a.journal.appendAll(entries.slice(1))).rejects.toMatchObject({ code: 'FENCED' });
    expect(a.copy.head.size).toBe(1);
    await thief.close();
    const c = syncer('c');
    c.follow();
    await clock.advance(500);
    expect(await c.copy.read(0, 10)).toEqual([entries[0]]);
  });
});

describe('a copy', () => {
  it('that is older or newer than where reading begins is brought level, each entry once', async () => {
    const { clock, a, syncer } = await leading();
    for (const entry of entries) await a.journal.append(entry);
    await a.journal.appendLines(['one', 'two']);
    const behind = syncer('behind');
    for (const entry of entries.slice(0, 3)) await behind.copy.append(entry);
    await behind.lines.append('one');
    behind.follow((entry) => behind.checked.push(entry.seq));
    await clock.advance(500);
    expect(await behind.copy.read(0, 1000)).toEqual(entries);
    expect(behind.lines.texts).toEqual(['one', 'two']);
    expect(behind.checked).toEqual(entries.slice(3).map(({ seq }) => seq));
  });

  it('of another run, and a place of another run, are refused', async () => {
    const { place, clock, a, syncer } = await leading();
    await a.journal.append(entries[0]!);
    const other = syncer('other');
    await other.copy.append({ ...entries[0]!, timeMs: entries[0]!.timeMs + 1 });
    const state = other.follow();
    await clock.advance(500);
    expect(state.error).toMatchObject({ code: 'DAMAGED' });
    await a.log.close();
    await place.putNew(segmentName(a.log.position.next), utf8('{}'));
    const reader = syncer('reader');
    const read = reader.follow();
    await clock.advance(500);
    expect(read.error).toMatchObject({ code: 'DAMAGED' });
  });

  it('is not kept where the fold refuses an entry: the syncer does not follow a leader that lies', async () => {
    const { clock, a, syncer } = await leading();
    await a.journal.append(entries[0]!);
    const b = syncer('b');
    const state = b.follow(() => {
      throw new Error('a lie');
    });
    await clock.advance(500);
    expect(String(state.error)).toBe('Error: a lie');
    expect(b.copy.head.size).toBe(0);
  });

  it('of a run that began with one syncer is brought into an empty log', async () => {
    const { clock, syncer } = open();
    const a = syncer('a');
    for (const entry of entries) await a.copy.append(entry);
    await a.lines.append('one', 'two');
    const state = a.follow();
    await clock.advance(0);
    expect(state.isLeading).toBe(true);
    const b = syncer('b');
    b.follow();
    await clock.advance(500);
    expect(await b.copy.read(0, 1000)).toEqual(entries);
    expect(b.lines.texts).toEqual(['one', 'two']);
  });

  it('that cannot be written ends the lead, though the entry is journaled', async () => {
    const { clock, a, syncer } = await leading();
    a.copy.appendAll = () => Promise.reject(new Error('disk full'));
    await expect(a.journal.append(entries[0]!)).rejects.toMatchObject({ code: 'FENCED' });
    expect((await a.journal.lost).code).toBe('FENCED');
    const b = syncer('b');
    const state = b.follow();
    await clock.advance(2 * silenceMs);
    expect(state.isLeading).toBe(true);
    expect(await b.copy.read(0, 10)).toEqual([entries[0]]);
  });
});
