/** @file A bounded line of values from one writer to one reader. The writer asks for room; it is never made to wait. */

export class Channel<T> implements AsyncIterable<T> {
  readonly #values: T[] = [];
  readonly #capacity: number;
  readonly #onRoom: () => void;
  #wake: (() => void) | null = null;
  #end: { readonly error: unknown } | null = null;

  /** `onRoom`: called when a full line has room again. */
  constructor(capacity: number, onRoom: () => void) {
    this.#capacity = capacity;
    this.#onRoom = onRoom;
  }

  get isFull(): boolean {
    return this.#values.length >= this.#capacity;
  }

  get isEnded(): boolean {
    return this.#end !== null;
  }

  push(value: T): void {
    if (this.#end !== null) return;
    this.#values.push(value);
    this.#wake?.();
  }

  /** The reader gets what is in the line, then the end, or the error. The first end counts. */
  end(error: unknown = null): void {
    this.#end ??= { error };
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void> {
    for (;;) {
      while (this.#values.length > 0) {
        const wasFull = this.isFull;
        const value = this.#values.shift()!;
        if (wasFull) this.#onRoom();
        yield value;
      }
      if (this.#end !== null) {
        if (this.#end.error !== null) throw this.#end.error;
        return;
      }
      await new Promise<void>((resolve) => void (this.#wake = resolve));
      this.#wake = null;
    }
  }
}
