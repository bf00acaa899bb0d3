/**
 * @file A set of 64-bit hashes in one typed array (open addressing): 13 to 27 bytes an entry, no garbage. It grows up to a
 * bound and then says so; that two texts share a hash by chance has the odds n²/2^65.
 */
import { DataError } from '../errors.ts';

const mostFull = 0.6;

export class HashSet {
  #table: Uint32Array;
  #mask: number;
  #count = 0;
  readonly #maxBytes: number;
  readonly #what: string;

  /** `what`: for the message when the bound is reached. */
  constructor(options: { readonly maxBytes: number; readonly what: string; readonly table?: Uint32Array }) {
    this.#table = options.table ?? new Uint32Array(2 << 12);
    this.#mask = this.#table.length / 2 - 1;
    this.#maxBytes = options.maxBytes;
    this.#what = options.what;
  }

  get size(): number {
    return this.#count;
  }

  /** The table, which another thread can read as a set of its own (`HashSet.of`). */
  shared(): Uint32Array {
    const copy = new Uint32Array(new SharedArrayBuffer(this.#table.byteLength));
    copy.set(this.#table);
    return copy;
  }

  static readOnly(table: Uint32Array): HashSet {
    return new HashSet({ maxBytes: 0, what: 'a table that is only read', table });
  }

  /** Whether one more would go beyond the bound. */
  get isFull(): boolean {
    return this.#count + 1 > mostFull * (this.#mask + 1) && 2 * this.#table.byteLength > this.#maxBytes;
  }

  has(low: number, high: number): boolean {
    return this.#find(low, high || 1) < 0;
  }

  /** Whether it was new. @throws DataError LIMIT */
  add(low: number, high: number): boolean {
    if (this.#count + 1 > mostFull * (this.#mask + 1)) this.#grow();
    const key = high || 1; // 0 marks a free place
    const at = this.#find(low, key);
    if (at < 0) return false;
    this.#table[at] = low;
    this.#table[at + 1] = key;
    this.#count++;
    return true;
  }

  /** The free place where it belongs; −1: it is there. */
  #find(low: number, high: number): number {
    const table = this.#table;
    let place = (low ^ (high >>> 7)) & this.#mask;
    for (;;) {
      const at = 2 * place;
      if (table[at + 1] === 0) return at;
      if (table[at] === low >>> 0 && table[at + 1] === high >>> 0) return -1;
      place = (place + 1) & this.#mask;
    }
  }

  #grow(): void {
    const old = this.#table;
    if (2 * old.byteLength > this.#maxBytes)
      throw new DataError(
        'LIMIT',
        `${this.#what}: ${this.#count} hashes fill the ${this.#maxBytes} bytes that they may take; raise --memory-mib, or prepare fewer sources at once`,
      );
    this.#table = new Uint32Array(2 * old.length);
    this.#mask = this.#table.length / 2 - 1;
    for (let at = 0; at < old.length; at += 2) {
      if (old[at + 1] === 0) continue;
      const free = this.#find(old[at]!, old[at + 1]!);
      this.#table[free] = old[at]!;
      this.#table[free + 1] = old[at + 1]!;
    }
  }
}

/**
 * The newest hashes in bounded memory, whatever comes: a half that grows and the half before it, which goes when the new one is full.
 * So the last hashes that fill half of the memory are always known, and at most twice as many.
 */
export class RecentHashes {
  readonly #options: ConstructorParameters<typeof HashSet>[0];
  #young: HashSet;
  #old: HashSet | null = null;
  #forgotten = 0;

  constructor({ maxBytes, what }: { readonly maxBytes: number; readonly what: string }) {
    this.#options = { maxBytes: maxBytes / 2, what };
    this.#young = new HashSet(this.#options);
  }

  /** Hashes that are known no more. */
  get forgotten(): number {
    return this.#forgotten;
  }

  has(low: number, high: number): boolean {
    return this.#young.has(low, high) || this.#old?.has(low, high) === true;
  }

  /** Whether it was new. */
  add(low: number, high: number): boolean {
    if (this.has(low, high)) return false;
    if (this.#young.isFull) {
      this.#forgotten += this.#old?.size ?? 0;
      this.#old = this.#young;
      this.#young = new HashSet(this.#options);
    }
    return this.#young.add(low, high);
  }
}
