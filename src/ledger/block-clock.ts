/** @file The time that makes blocks: the system's, or one that a test or a simulation moves. */

export interface BlockClock {
  nowMs(): number;
}

export const systemBlockClock: BlockClock = { nowMs: () => Date.now() };

/** Stands still until it is moved. */
export class ManualBlockClock implements BlockClock {
  readonly #blockMs: number;
  #nowMs: number;

  constructor(options: { readonly blockMs: number; readonly startMs?: number }) {
    this.#blockMs = options.blockMs;
    this.#nowMs = options.startMs ?? 0;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  advance(blocks: number): void {
    this.advanceMs(blocks * this.#blockMs);
  }

  advanceMs(ms: number): void {
    this.#nowMs += ms;
  }
}
