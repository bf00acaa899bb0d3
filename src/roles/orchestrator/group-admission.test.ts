/** @file Who waits is admitted in order and answered together, after one write; a group that is not written fails as a whole. */
import { describe, expect, it } from 'vitest';
import { sampleEntries } from '../../../tests/contracts/journal.ts';
import { MemoryJournal } from '../../journal/memory.ts';
import type { JournalEntry } from '../../protocol/messages.ts';
import { VirtualClock } from '../../simulate/virtual-clock.ts';
import { GroupAdmission } from './group-admission.ts';

const entries = sampleEntries();

/** A journal whose writes end when the test says how. */
class HeldJournal {
  readonly journal = new MemoryJournal();
  readonly writes: (readonly number[])[] = [];
  readonly #ends: ((error: Error | null) => void)[] = [];

  async appendAll(group: readonly JournalEntry[]): Promise<void> {
    this.writes.push(group.map(({ seq }) => seq));
    const error = await new Promise<Error | null>((end) => this.#ends.push(end));
    if (error !== null) throw error;
    await this.journal.appendAll(group);
  }

  end(error: Error | null = null): void {
    this.#ends.shift()!(error);
  }
}

function open() {
  const journal = new HeldJournal();
  const clock = new VirtualClock(1_000);
  const events: string[] = [];
  const failures: string[] = [];
  const admission = new GroupAdmission({
    ...{ journal, clock, signal: new AbortController().signal },
    onDurable: async (group) => void events.push(`durable ${group.map(({ seq }) => seq).join(' ')}`),
    onFailure: (error) => failures.push(String(error)),
  });
  let next = 0;
  /** Admits the next entry, as the task `name`. */
  const ask = (name: string, { isRefused = false, isUrgent = false, sizeBytes = 1_000 } = {}): void => {
    const task = () => {
      events.push(`run ${name}`);
      if (isRefused) return 'refused';
      admission.admit(entries[next++]!, sizeBytes);
      return 'taken';
    };
    admission.enqueue(task, { isUrgent }).then(
      (answer) => events.push(`${answer} ${name}`),
      (error) => events.push(`failed ${name}: ${(error as Error).message}`),
    );
  };
  return { journal, clock, events, failures, admission, ask };
}

describe('a group', () => {
  it('begins with what is urgent, in its own order', async () => {
    const { journal, clock, events, ask } = open();
    for (const name of ['a', 'b']) ask(name);
    for (const name of ['u', 'v']) ask(name, { isUrgent: true });
    await clock.quiesce();
    journal.end();
    await clock.quiesce();
    expect(events.filter((event) => event.startsWith('run'))).toEqual(['run u', 'run v', 'run a', 'run b']);
    expect(events.slice(-4)).toEqual(['taken u', 'taken v', 'taken a', 'taken b']);
  });

  it('is all that waits, in order of arrival, written at once and answered after it', async () => {
    const { journal, clock, events, ask } = open();
    for (const name of ['a', 'b', 'c']) ask(name);
    await clock.quiesce();
    expect(events).toEqual(['run a', 'run b', 'run c']);
    // These come while the write is under way.
    for (const name of ['d', 'e']) ask(name);
    await clock.quiesce();
    expect(journal.writes).toEqual([[0, 1, 2]]);
    journal.end();
    await clock.quiesce();
    expect(events.slice(3)).toEqual(['durable 0 1 2', 'taken a', 'taken b', 'taken c', 'run d', 'run e']);
    journal.end();
    await clock.quiesce();
    expect(journal.writes).toEqual([
      [0, 1, 2],
      [3, 4],
    ]);
    expect(await journal.journal.read(0, 10)).toEqual(entries.slice(0, 5));
  });

  it('goes on after one that is refused in its middle, who is answered with the others', async () => {
    const { journal, clock, events, ask } = open();
    ask('a');
    ask('b', { isRefused: true });
    ask('c');
    await clock.quiesce();
    // The refusal follows from what `a` changed, which a crash may still undo.
    expect(events).toEqual(['run a', 'run b', 'run c']);
    journal.end();
    await clock.quiesce();
    expect(journal.writes).toEqual([[0, 1]]);
    expect(events.slice(3)).toEqual(['durable 0 1', 'taken a', 'refused b', 'taken c']);
  });

  it('of refusals alone is not written', async () => {
    const { journal, clock, events, ask } = open();
    ask('a', { isRefused: true });
    await clock.quiesce();
    expect(events).toEqual(['run a', 'refused a']);
    expect(journal.writes).toEqual([]);
  });

  it('takes what a task of it asks for, after those who came before', async () => {
    const { journal, clock, admission, ask, events } = open();
    admission.enqueue(() => ask('own'));
    ask('b');
    await clock.quiesce();
    expect(events).toEqual(['run b', 'run own']);
    expect(journal.writes).toEqual([[0, 1]]);
  });

  it('is bounded by its number and by its bytes', async () => {
    for (const [sizeBytes, expected] of [
      [1, 32],
      [1024 * 1024, 4],
    ] as const) {
      const { journal, clock, admission } = open();
      const entry = entries[0]!;
      for (let i = 0; i < 70; i++) admission.enqueue(() => admission.admit(entry, sizeBytes)).catch(() => {});
      await clock.quiesce();
      expect(journal.writes.map((group) => group.length)).toEqual([expected]);
    }
  });

  it('survives a task that throws', async () => {
    const { journal, clock, admission, ask, events } = open();
    const thrown = admission.enqueue(() => {
      throw new Error('a bug');
    });
    thrown.catch((error) => events.push(String(error)));
    ask('b');
    await clock.quiesce();
    journal.end();
    await clock.quiesce();
    expect(events).toEqual(['run b', 'durable 0', 'Error: a bug', 'taken b']);
  });
});

describe('what others see', () => {
  it('waits until all that was admitted is durable', async () => {
    const { journal, clock, admission, ask, events } = open();
    admission.whenDurable(() => events.push('seen at once'));
    ask('a');
    await clock.quiesce();
    admission.whenDurable(() => events.push('seen'));
    await clock.quiesce();
    expect(events).toEqual(['seen at once', 'run a']);
    journal.end();
    await clock.quiesce();
    expect(events.slice(2)).toEqual(['durable 0', 'seen', 'taken a']);
  });
});

describe('a write that fails', () => {
  it('fails the whole group and who came meanwhile; nothing is told, nothing else admitted', async () => {
    const { journal, clock, admission, ask, events, failures } = open();
    for (const name of ['a', 'b']) ask(name);
    ask('c', { isRefused: true });
    await clock.quiesce();
    ask('d');
    admission.whenDurable(() => events.push('seen'));
    journal.end(new Error('fsync failed'));
    await clock.quiesce();
    expect(events.slice(3)).toEqual(['a', 'b', 'c', 'd'].map((name) => `failed ${name}: fsync failed`));
    expect(failures).toEqual(['Error: fsync failed']);
    expect(admission.pending).toBe(2);
    // Who asks now has the journal tried first, and is not admitted.
    ask('e');
    await clock.quiesce();
    expect(journal.writes).toEqual([
      [0, 1],
      [0, 1],
    ]);
    journal.end(new Error('still full'));
    await clock.quiesce();
    expect(events.at(-1)).toBe('failed e: still full');
    expect(journal.journal.head.size).toBe(0);
  });

  it('is tried again though nobody asks, and then each entry is there once', async () => {
    const { journal, clock, admission, ask, events } = open();
    for (const name of ['a', 'b']) ask(name);
    await clock.quiesce();
    admission.whenDurable(() => events.push('seen'));
    journal.end(new Error('full'));
    await clock.advance(1_000);
    journal.end();
    await clock.quiesce();
    expect(events.slice(4)).toEqual(['durable 0 1', 'seen']);
    expect(admission.pending).toBe(0);
    ask('c');
    await clock.quiesce();
    journal.end();
    await clock.advance(5_000);
    expect(events.at(-1)).toBe('taken c');
    expect(journal.writes).toEqual([[0, 1], [0, 1], [2]]);
    expect(await journal.journal.read(0, 10)).toEqual(entries.slice(0, 3));
  });

  it('does not keep a closing process waiting', async () => {
    const { journal, clock, admission, ask } = open();
    ask('a');
    await clock.quiesce();
    let isIdle = false;
    admission.idle().then(() => {
      isIdle = true;
    });
    await clock.quiesce();
    expect(isIdle).toBe(false);
    journal.end(new Error('full'));
    await clock.quiesce();
    expect(isIdle).toBe(true);
  });
});
