/**
 * @file Keys and values of the tokens read so far, in place: for each part (one key-value head's keys, or its values)
 * rows in one array that grows by doubling. A run reads them as views and adds its own rows at the end.
 */
import { type TensorView, viewOf } from '../../tensor/view.ts';
import { assert } from '../../util/errors.ts';

export interface RowCacheOptions {
  readonly parts: number;
  readonly width: number;
  /** Only so many last rows are read again; Infinity: all. */
  readonly keep: number;
}

export class RowCache {
  readonly #options: RowCacheOptions;
  #arrays: Float32Array[];
  /** Rows in the arrays, the ones that nobody reads again included. */
  #count = 0;

  constructor(options: RowCacheOptions) {
    this.#options = options;
    this.#arrays = Array.from({ length: options.parts }, () => new Float32Array(0));
  }

  /** Rows that the next run reads. */
  get rows(): number {
    return Math.min(this.#count, this.#options.keep);
  }

  /** Adds `count` rows to each part; fresh (parts, count, width), row-major. */
  append(fresh: Float32Array, count: number): void {
    const { parts, width } = this.#options;
    assert(fresh.length === parts * count * width, `${fresh.length} numbers are not ${parts} x ${count} x ${width}`);
    this.#makeRoom(count);
    for (const [part, array] of this.#arrays.entries())
      array.set(fresh.subarray(part * count * width, (part + 1) * count * width), this.#count * width);
    this.#count += count;
  }

  /** The rows in `segments` consecutive views of at most `segmentRows`, for each part; the last ones may be empty. */
  views(segments: number, segmentRows: number): TensorView[][] {
    const { width } = this.#options;
    assert(this.rows <= segments * segmentRows, `${this.rows} rows do not fit ${segments} x ${segmentRows}`);
    const first = this.#count - this.rows;
    const cut = (at: number) => Math.min(this.#count, first + at * segmentRows);
    return Array.from({ length: segments }, (_, at) =>
      this.#arrays.map((array) =>
        viewOf(array.subarray(cut(at) * width, cut(at + 1) * width), [cut(at + 1) - cut(at), width]),
      ),
    );
  }

  clear(): void {
    this.#count = 0;
  }

  #makeRoom(count: number): void {
    const { width } = this.#options;
    const capacity = this.#arrays[0]!.length / width;
    if (this.#count + count <= capacity) return;
    const kept = this.rows;
    const isEnough = 2 * (kept + count) <= capacity;
    const size = isEnough ? capacity : Math.max(2 * kept, kept + count, 64);
    // One part at a time: the old and the new array of all of them together would be three times the cache.
    this.#arrays.forEach((array, part) => {
      const target = isEnough ? array : new Float32Array(size * width);
      const old = array.subarray((this.#count - kept) * width, this.#count * width);
      target.set(old);
      this.#arrays[part] = target;
    });
    this.#count = kept;
  }
}
