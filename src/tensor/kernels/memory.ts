/**
 * @file Flat buffers in one WebAssembly memory, and the SIMD kernels that work on them. The size is fixed when the
 * memory is made: growing would detach every view, also those that a tensor engine holds. One memory has at most 4 GiB
 * (about 250M parameters with gradients and two moments); a larger model needs several, which nothing here offers.
 * Pages that are never touched cost no memory.
 */
import { AssertionError, assert, BaseError } from '../../util/errors.ts';
import { kernelsBase64 } from './kernels.generated.ts';

const pageBytes = 65_536;
const maxPages = 65_535; // The last page stays free, so that no address and no end address wraps around.
const alignmentBytes = 64;

export class KernelMemoryError extends BaseError<'KERNEL_MEMORY_FULL' | 'KERNEL_MEMORY_TOO_LARGE'> {}

/** A range of bytes of one memory; names a buffer without holding a view of it. */
export interface Region {
  readonly byteOffset: number;
  readonly byteLength: number;
}

/** Addresses are byte offsets in the memory, n counts elements. What each computes: assembly/*.ts and reference.ts. */
export interface Kernels {
  adamw(
    param: number,
    grad: number,
    m: number,
    v: number,
    n: number,
    scale: number,
    b1: number,
    c1: number,
    b2: number,
    c2: number,
    keep: number,
    step: number,
    inv2: number,
    eps: number,
  ): void;
  axpy(a: number, x: number, y: number, n: number): void;
  scale(a: number, y: number, n: number): void;
  difference(a: number, b: number, c: number, out: number, n: number): void;
  nonFinite(x: number, n: number, limitBits: number): number;
  sumSquares(x: number, n: number, lanes: number): void;
  weightedSumSquares(table: number, k: number, n: number, lanes: number): void;
  weightedMean(table: number, k: number, n: number, out: number): void;
  weightedNesterov(
    table: number,
    k: number,
    n: number,
    theta: number,
    momentum: number,
    rate: number,
    mu: number,
  ): void;
  weightedShift(table: number, k: number, n: number, theta: number): void;
  bf16Encode(x: number, out: number, residue: number, n: number): void;
  bf16Decode(source: number, out: number, n: number): void;
  int8Encode(x: number, q: number, scales: number, residue: number, n: number): void;
  int8Decode(q: number, scales: number, out: number, n: number): number;
  int4Encode(x: number, q: number, scales: number, residue: number, n: number): void;
  int4Decode(q: number, scales: number, out: number, n: number): number;
  topkEncode(x: number, out: number, residue: number, n: number, scratch: number): void;
  topkDecode(source: number, out: number, n: number): number;
}

let compiled: WebAssembly.Module | null = null;

function kernelModule(): WebAssembly.Module {
  compiled ??= new WebAssembly.Module(Uint8Array.from(atob(kernelsBase64), (char) => char.charCodeAt(0)));
  return compiled;
}

/** A bump allocator over one memory. Buffers are 64-byte aligned and, until the first `release`, zeroed. */
export class KernelMemory {
  readonly kernels: Kernels;
  readonly #memory: WebAssembly.Memory;
  #next = 1024;

  /** @throws KernelMemoryError KERNEL_MEMORY_TOO_LARGE above 4 GiB less a page */
  constructor(capacityBytes: number) {
    const pages = Math.ceil((capacityBytes + 1024) / pageBytes);
    if (!(pages <= maxPages))
      throw new KernelMemoryError(
        'KERNEL_MEMORY_TOO_LARGE',
        `asked for ${capacityBytes} bytes; one memory holds at most ${maxPages * pageBytes - 1024}: use a smaller model`,
      );
    this.#memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    const instance = new WebAssembly.Instance(kernelModule(), { env: { memory: this.#memory } });
    this.kernels = instance.exports as unknown as Kernels;
  }

  /** Bytes that a buffer of `byteLength` takes, alignment included; for summing up a capacity. */
  static footprint(byteLength: number): number {
    return Math.ceil(byteLength / alignmentBytes) * alignmentBytes;
  }

  get buffer(): ArrayBuffer {
    return this.#memory.buffer;
  }

  get freeBytes(): number {
    return this.buffer.byteLength - this.#next;
  }

  /** @throws KernelMemoryError KERNEL_MEMORY_FULL */
  allocate(byteLength: number): Region {
    assert(Number.isSafeInteger(byteLength) && byteLength >= 0, `allocate(${byteLength})`);
    const size = KernelMemory.footprint(byteLength);
    if (size > this.freeBytes)
      throw new KernelMemoryError(
        'KERNEL_MEMORY_FULL',
        `asked for ${byteLength} bytes, ${this.freeBytes} of ${this.buffer.byteLength} are free; give a larger capacity`,
      );
    const region = Object.freeze({ byteOffset: this.#next, byteLength });
    this.#next += size;
    return region;
  }

  /** A buffer of `length` float32. */
  allocateF32(length: number): Region {
    return this.allocate(length * 4);
  }

  /** Names the present level, for `release`. */
  mark(): number {
    return this.#next;
  }

  /** Gives back everything allocated since `mark()`; its buffers are void and their bytes are not zeroed. */
  release(mark: number): void {
    assert(mark <= this.#next, 'release of a mark above the present level');
    this.#next = mark;
  }

  f32(region: Region): Float32Array {
    return new Float32Array(this.buffer, region.byteOffset, region.byteLength >>> 2);
  }

  f64(region: Region): Float64Array {
    return new Float64Array(this.buffer, region.byteOffset, region.byteLength >>> 3);
  }

  u8(region: Region): Uint8Array {
    return new Uint8Array(this.buffer, region.byteOffset, region.byteLength);
  }

  /** The address of a view's first byte if the view lies in this memory, else null. */
  addressOf(view: ArrayBufferView): number | null {
    return view.buffer === this.buffer ? view.byteOffset : null;
  }
}

/** Part of a region. */
export function subRegion(region: Region, byteOffset: number, byteLength: number): Region {
  if (byteOffset < 0 || byteLength < 0 || byteOffset + byteLength > region.byteLength)
    throw new AssertionError(`part [${byteOffset}, +${byteLength}) of a region of ${region.byteLength} bytes`);
  return { byteOffset: region.byteOffset + byteOffset, byteLength };
}
