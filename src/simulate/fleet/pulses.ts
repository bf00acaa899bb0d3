/**
 * @file When each learner or validator was heard of last, without its heartbeats: the simulator knows who is up and within reach,
 * and such a one beats every two seconds. Single heartbeats would be nine tenths of all that happens.
 */
export class Pulses<K> extends Map<K, number> {
  readonly #isUp: (key: K) => boolean;
  readonly #nowMs: () => number;

  constructor(isUp: (key: K) => boolean, nowMs: () => number) {
    super();
    this.#isUp = isUp;
    this.#nowMs = nowMs;
  }

  override get(key: K): number | undefined {
    return this.#isUp(key) ? this.#nowMs() : super.get(key);
  }

  override has(key: K): boolean {
    return this.#isUp(key) || super.has(key);
  }

  /** Heard of for the last time now. */
  ends(key: K): void {
    super.set(key, this.#nowMs());
  }
}
