/**
 * @file Scratch buffers in kernel memory through which tensors stream block by block: arrays stay where they are (on
 * the heap, or views of a file), and only a cache-sized block of each is in kernel memory at a time. Not re-entrant;
 * all users are synchronous.
 */
import { KernelMemory, type Kernels, type Region } from '../tensor/kernels/memory.ts';
import { assert } from '../util/errors.ts';

const defaultArenaBytes = 24 * 2 ** 20;

export class Staging {
  readonly memory: KernelMemory;
  readonly #arena: Region;
  readonly #bottom: number;

  /** `residentBytes`: room for whole arrays beside the blocks; what lies there is merged without a copy. */
  constructor(residentBytes = 0, arenaBytes: number = defaultArenaBytes) {
    this.memory = new KernelMemory(arenaBytes + residentBytes);
    this.#arena = this.memory.allocate(arenaBytes);
    this.#bottom = this.memory.mark();
  }

  get kernels(): Kernels {
    return this.memory.kernels;
  }

  /** Lays out buffers of the given byte lengths from the arena's start, 64-byte aligned; earlier layouts are void. */
  layOut<Name extends string>(byteLengths: { readonly [K in Name]: number }): { readonly [K in Name]: Region } {
    let next = this.#arena.byteOffset;
    const regions: Partial<Record<Name, Region>> = {};
    for (const name of Object.keys(byteLengths) as Name[]) {
      regions[name] = { byteOffset: next, byteLength: byteLengths[name] };
      next += KernelMemory.footprint(byteLengths[name]);
    }
    const used = next - this.#arena.byteOffset;
    assert(used <= this.#arena.byteLength, `a layout of ${used} bytes in an arena of ${this.#arena.byteLength}`);
    return regions as { readonly [K in Name]: Region };
  }

  /** An array in the resident room; its content is unspecified. @throws KernelMemoryError KERNEL_MEMORY_FULL */
  residentArray(length: number): Float32Array {
    return this.memory.f32(this.memory.allocateF32(length));
  }

  /** Gives the resident room back; arrays in it are void. */
  releaseResidents(): void {
    this.memory.release(this.#bottom);
  }
}

let shared: Staging | null = null;

/** One staging area for the whole process, made when it is first asked for; it has no resident room. */
export function sharedStaging(): Staging {
  shared ??= new Staging();
  return shared;
}
