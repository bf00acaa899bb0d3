/**
 * @file What happens when, on a virtual clock: a heap of actions by time, those of one instant in the order in which they were
 * put in. Nothing waits for real time, so one seed gives one order on any machine.
 */

export type Action = () => void;

export class EventQueue {
  nowMs: number;
  /** Actions done so far. */
  done = 0;
  readonly #times: number[] = [];
  readonly #orders: number[] = [];
  readonly #actions: Action[] = [];
  #order = 0;

  constructor(startMs: number) {
    this.nowMs = startMs;
  }

  /** In `delayMs` from now; never in the past. */
  after(delayMs: number, action: Action): void {
    this.at(this.nowMs + delayMs, action);
  }

  at(timeMs: number, action: Action): void {
    let child = this.#times.length;
    const time = Math.max(this.nowMs, timeMs);
    const order = this.#order++;
    this.#times.push(time);
    this.#orders.push(order);
    this.#actions.push(action);
    while (child > 0) {
      const parent = (child - 1) >> 1;
      if (!this.#isBefore(child, parent)) break;
      this.#swap(child, parent);
      child = parent;
    }
  }

  /** Does everything up to and at `untilMs`; the clock stands there afterwards. */
  run(untilMs: number): void {
    while (this.#times.length > 0 && this.#times[0]! <= untilMs) {
      this.nowMs = this.#times[0]!;
      this.done++;
      this.#take()();
    }
    this.nowMs = Math.max(this.nowMs, untilMs);
  }

  #take(): Action {
    const last = this.#times.length - 1;
    this.#swap(0, last);
    this.#times.pop();
    this.#orders.pop();
    const action = this.#actions.pop()!;
    let parent = 0;
    for (;;) {
      const [left, right] = [2 * parent + 1, 2 * parent + 2];
      if (left >= last) break;
      const child = right < last && this.#isBefore(right, left) ? right : left;
      if (!this.#isBefore(child, parent)) break;
      this.#swap(child, parent);
      parent = child;
    }
    return action;
  }

  #isBefore(a: number, b: number): boolean {
    const [timeA, timeB] = [this.#times[a]!, this.#times[b]!];
    return timeA < timeB || (timeA === timeB && this.#orders[a]! < this.#orders[b]!);
  }

  #swap(a: number, b: number): void {
    for (const list of [this.#times, this.#orders, this.#actions] as unknown[][]) {
      const kept = list[a];
      list[a] = list[b];
      list[b] = kept;
    }
  }
}
