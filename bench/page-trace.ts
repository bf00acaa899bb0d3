/** @file Reads a trace of Chromium: what the main thread of the page did in each frame's time. */

/** As the Trace Event Format has it; times in microseconds. */
export interface TraceEvent {
  readonly name: string;
  readonly cat: string;
  readonly ph: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly dur?: number;
  /** Processor time of the thread. */
  readonly tdur?: number;
  readonly args?: { readonly name?: string };
}

/**
 * Processor time (ms) of the main thread's tasks in each frame: from one animation frame's callback to the next. However long a
 * busy machine lets a frame wait, it is what the page itself needs of the frame's time.
 */
export function frameWork(events: readonly TraceEvent[]): readonly number[] {
  const main = mainThread(events);
  const own = events.filter(({ pid, tid }) => `${pid}/${tid}` === main).sort((a, b) => a.ts - b.ts);
  const tasks = own.filter(({ name, ph }) => ph === 'X' && name.endsWith('RunTask'));
  const fired = own.filter(({ name }) => name === 'FireAnimationFrame').map(({ ts }) => ts);
  const work: number[] = [];
  for (let i = 0, task = 0; i + 1 < fired.length; i++) {
    let spent = 0;
    // A task that holds the callback began before it, and belongs to the frame that it draws.
    for (; task < tasks.length && endOf(tasks[task]!) <= fired[i + 1]!; task++)
      if (endOf(tasks[task]!) > fired[i]!) spent += (tasks[task]!.tdur ?? 0) / 1_000;
    work.push(spent);
  }
  return work;
}

const endOf = ({ ts, dur = 0 }: TraceEvent): number => ts + dur;

/** The thread that fires animation frames most: spare renderers have main threads too. */
function mainThread(events: readonly TraceEvent[]): string {
  const counts = new Map<string, number>();
  for (const { name, pid, tid } of events) {
    const key = `${pid}/${tid}`;
    if (name === 'FireAnimationFrame') counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const [most] = [...counts].sort(([, a], [, b]) => b - a);
  if (most === undefined) throw new Error('the trace has no animation frame: did the page draw?');
  return most[0];
}
