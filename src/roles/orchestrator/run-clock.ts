/**
 * @file The time of a run: its journal's entries never go back in time, so neither may the clock that its deadlines are
 * compared with. A machine whose clock was set back would otherwise stand still until it has caught up.
 */
import type { Clock } from '../../util/clock.ts';

/** `clock`, moved forward by as much as it is behind `timeMs` now. */
export function clockAfter(clock: Clock, timeMs: number): Clock {
  const behindMs = Math.max(0, timeMs - clock.nowMs());
  return { nowMs: () => clock.nowMs() + behindMs, sleep: (ms, signal) => clock.sleep(ms, signal) };
}
