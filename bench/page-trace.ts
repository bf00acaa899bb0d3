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

/** Processor and wall time of the main thread's tasks, in windows of one frame each, from the first drawn frame to the last. */
export function frameWork(
  events: readonly TraceEvent[],
  frameMs: number,
): { readonly cpuMs: readonly number[]; readonly wallMs: readonly number[] } {
  const main = mainThread(events);
  const own = events.filter(({ pid, tid }) => `${pid}/${tid}` === main);
  const fired = own.filter(({ name }) => name === 'FireAnimationFrame').map(({ ts }) => ts);
  const [from, to] = [Math.min(...fired), Math.max(...fired)];
  const frames = Math.max(0, Math.ceil((to - from) / 1_000 / frameMs));
  const cpuMs = Array.from({ length: frames }, () => 0);
  const wallMs = [...cpuMs];
  for (const { name, ph, ts, dur = 0, tdur = 0 } of own) {
    const frame = Math.floor((ts - from) / 1_000 / frameMs);
    if (ph !== 'X' || !name.endsWith('RunTask') || frame < 0 || frame >= frames) continue;
    cpuMs[frame]! += tdur / 1_000;
    wallMs[frame]! += dur / 1_000;
  }
  return { cpuMs, wallMs };
}

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
