/**
 * @file Reads a fragment file in parts: any range of the packed numbers, decoded from only the bytes that it lies in. For
 * fragments that do not fit into memory; the same checks and numbers as `decodeFragment`.
 */
import type { Fragment } from '../fragment-plan.ts';
import type { Staging } from '../staging.ts';
import type { CodecName } from './codec.ts';
import { type LocatedSlice, locateSlices, mostHeadBytes } from './fragment-file.ts';

/** Bytes of a file by range. What comes back is good until the next read. */
export interface ByteSource {
  readonly sizeBytes: number;
  read(from: number, to: number): Promise<Uint8Array>;
}

/** Encoded bytes are read so many elements at a time: a multiple of every codec's block. */
const readElements = 262_144;

export class FragmentReader {
  readonly #source: ByteSource;
  readonly #staging: Staging;
  /** By offset. */
  readonly #slices: readonly LocatedSlice[];
  readonly #biases: readonly LocatedSlice[];
  readonly #scratch: Float32Array;
  #last = 0;

  private constructor(source: ByteSource, staging: Staging, located: readonly LocatedSlice[]) {
    this.#source = source;
    this.#staging = staging;
    this.#slices = located.filter(({ isBias }) => !isBias);
    this.#biases = located.filter(({ isBias }) => isBias);
    const block = this.#slices[0]?.codec.blockElements ?? 1;
    this.#scratch = new Float32Array(block === 1 ? 0 : block);
  }

  /** @throws CodecError as decodeFragment, but for values */
  static async open(
    codec: CodecName,
    fragment: Fragment,
    source: ByteSource,
    staging: Staging,
  ): Promise<FragmentReader> {
    const head = await source.read(0, Math.min(source.sizeBytes, mostHeadBytes(codec, fragment)));
    return new FragmentReader(source, staging, locateSlices(codec, fragment, head, source.sizeBytes));
  }

  /** Elements [from, from + out.length) of the packed fragment. @throws CodecError NOT_FINITE, BAD_SCALE, NOT_CANONICAL */
  async read(from: number, out: Float32Array): Promise<void> {
    const to = from + out.length;
    for (let at = from; at < to; ) {
      const located = this.#sliceAt(at);
      const { offset, length } = located.slice;
      const end = Math.min(to, offset + length);
      await this.#readSlice(located, at - offset, out.subarray(at - from, end - from));
      at = end;
    }
  }

  async selectionBias(count: number): Promise<Float32Array> {
    const biases = new Float32Array(count);
    for (const located of this.#biases) {
      const { offset, length } = located.slice;
      await this.#readSlice(located, 0, biases.subarray(offset, offset + length));
    }
    return biases;
  }

  /** Readers move forward for the most part. */
  #sliceAt(at: number): LocatedSlice {
    const holds = (i: number): boolean => {
      const { offset, length } = this.#slices[i]!.slice;
      return at >= offset && at < offset + length;
    };
    if (!holds(this.#last))
      this.#last =
        this.#last + 1 < this.#slices.length && holds(this.#last + 1)
          ? this.#last + 1
          : this.#slices.findIndex((_, i) => holds(i));
    return this.#slices[this.#last]!;
  }

  /** Elements [from, from + out.length) of a slice: whole blocks into `out`, those at its borders by way of the scratch. */
  async #readSlice(located: LocatedSlice, from: number, out: Float32Array): Promise<void> {
    const { blockElements: block } = located.codec;
    const { length } = located.slice;
    const to = from + out.length;
    for (let at = from; at < to; ) {
      const first = Math.floor(at / block) * block;
      const blockEnd = Math.min(length, first + block);
      if (first < at || blockEnd > to) {
        const scratch = this.#scratch.subarray(0, blockEnd - first);
        await this.#decode(located, first, scratch);
        const end = Math.min(to, blockEnd);
        out.set(scratch.subarray(at - first, end - first), at - from);
        at = end;
        continue;
      }
      // Whole blocks: up to the last border before `to`, or the slice's end.
      const whole = to === length ? to : Math.floor(to / block) * block;
      const end = Math.min(whole, at + readElements);
      await this.#decode(located, at, out.subarray(at - from, end - from));
      at = end;
    }
  }

  async #decode({ codec, parts }: LocatedSlice, from: number, out: Float32Array): Promise<void> {
    const [begin, end] = [codec.bytesOf(from), codec.bytesOf(from + out.length)];
    const bytes: Uint8Array[] = [];
    for (const [i, { at }] of parts.entries()) {
      const read = await this.#source.read(at + begin[i]!, at + end[i]!);
      // A view is good until the next read; scales are few.
      bytes.push(i < parts.length - 1 ? read.slice() : read);
    }
    codec.decode(this.#staging, bytes, out, parts[0]!.name);
  }
}
