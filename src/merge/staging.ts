/**
 * @file Scratch buffers in kernel memory through which tensors stream block by block: arrays stay where they are (on
 * the heap, or views of a file), and only a cache-sized block of each is in kernel memory at a time. Not re-entrant;
 * all users are synchronous.
 */
import { KernelMemory, type Kernels, type Region } from '../tensor/kernels/memory.ts';

const capacityBytes = 24 * 2 ** 20;

export class Staging {
  readonly memory: KernelMemory;
  readonly #arena: Region;

  constructor(sizeBytes: number = capacityBytes) {
    this.memory = new KernelMemory(sizeBytes);
    this.#arena = this.memory.allocate(this.memory.freeBytes - 64);
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
    if (next > this.#arena.byteOffset + this.#arena.byteLength) this.memory.allocate(next); // throws KERNEL_MEMORY_FULL
    return regions as { readonly [K in Name]: Region };
  }
}

let shared: Staging | null = null;

/** One staging area for the whole process, made when it is first asked for. */
export function sharedStaging(): Staging {
  shared ??= new Staging();
  return shared;
}
