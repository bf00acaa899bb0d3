/**
 * @file All tensors of some kinds of a contract in one flat buffer of kernel memory, in contract order without gaps, so
 * that an optimiser sweeps them in one pass and a fragment is a few contiguous ranges. A buffer of the same layout for
 * gradients, moments or anchors is another FlatParams, or a region of the same length.
 */
import { AssertionError } from '../util/errors.ts';
import type { ContractKind, ParameterContract } from './contract.ts';
import { elementCount } from './contract.ts';
import { KernelMemory, type Region } from './kernels/memory.ts';

export interface FlatEntry {
  readonly name: string;
  readonly shape: readonly number[];
  /** First element in the flat buffer. */
  readonly offset: number;
  readonly length: number;
}

/** Where each tensor of `kinds` lies; allocates nothing. */
export function flatLayout(
  contract: ParameterContract,
  kinds: readonly ContractKind[] = ['param'],
): readonly FlatEntry[] {
  let offset = 0;
  return contract
    .filter(({ kind }) => kinds.includes(kind))
    .map(({ name, shape }) => {
      const entry = { name, shape, offset, length: elementCount(shape) };
      offset += entry.length;
      return entry;
    });
}

export class FlatParams {
  readonly memory: KernelMemory;
  readonly region: Region;
  readonly entries: readonly FlatEntry[];
  /** Elements in all. */
  readonly length: number;
  readonly #byName: ReadonlyMap<string, FlatEntry>;

  /** Zeroed. @throws KernelMemoryError KERNEL_MEMORY_FULL */
  constructor(memory: KernelMemory, contract: ParameterContract, kinds: readonly ContractKind[] = ['param']) {
    this.memory = memory;
    this.entries = flatLayout(contract, kinds);
    this.length = this.entries.reduce((sum, { length }) => sum + length, 0);
    this.region = memory.allocateF32(this.length);
    this.#byName = new Map(this.entries.map((entry) => [entry.name, entry]));
  }

  /** Bytes of kernel memory that one such buffer takes. */
  static footprint(contract: ParameterContract, kinds: readonly ContractKind[] = ['param']): number {
    return KernelMemory.footprint(flatLayout(contract, kinds).reduce((sum, { length }) => sum + 4 * length, 0));
  }

  has(name: string): boolean {
    return this.#byName.has(name);
  }

  entry(name: string): FlatEntry {
    const entry = this.#byName.get(name);
    if (entry === undefined) throw new AssertionError(`${name} is not in this buffer`);
    return entry;
  }

  /** A live view of one tensor, row-major. */
  view(name: string): Float32Array {
    const { offset, length } = this.entry(name);
    return new Float32Array(this.memory.buffer, this.region.byteOffset + 4 * offset, length);
  }

  /** A live view of everything. */
  flat(): Float32Array {
    return this.memory.f32(this.region);
  }
}
