/** @file Streams the same block of all learners' arrays through kernel memory and runs a kernel on it. */
import type { Kernels, Region } from '../tensor/kernels/memory.ts';
import { type Range, sumPieces } from './norms.ts';
import type { MergeSegment, NormOracle } from './rules.ts';
import type { Staging } from './staging.ts';

/** About half a megabyte for all blocks together: the second-level cache of one core. */
const cacheElements = 131_072;
const granularity = 1024;
const rowBytes = 16;

/** Addresses in kernel memory of one staged block. */
export interface StagedBlock {
  readonly table: number;
  readonly length: number;
  readonly kernels: Kernels;
}

export class LearnerBlocks implements NormOracle {
  readonly #staging: Staging;
  readonly #learners: readonly Float32Array[];
  /** Address of each learner's array if it lies in kernel memory already. */
  readonly #residents: readonly (number | null)[];
  readonly #blockElements: number;

  constructor(staging: Staging, learners: readonly Float32Array[]) {
    this.#staging = staging;
    this.#learners = learners;
    this.#residents = learners.map((learner) => staging.memory.addressOf(learner));
    const each = Math.floor(cacheElements / (learners.length + 2) / granularity) * granularity;
    this.#blockElements = Math.max(granularity, each);
  }

  /** Stages [from, to) of every learner with its coefficient, and of `targets`; `run` changes the targets in place. */
  update(
    { from, to, coefficients }: MergeSegment,
    targets: readonly Float32Array[],
    run: (block: StagedBlock, targetAddresses: readonly number[]) => void,
  ): void {
    const { kernels, memory } = this.#staging;
    const { table, data, second, first } = this.#layOut(coefficients);
    const places = [first, second];
    const residents = targets.map((target) => memory.addressOf(target));
    for (let start = from; start < to; start += this.#blockElements) {
      const end = Math.min(to, start + this.#blockElements);
      this.#stage(table, data, start, end);
      const addresses = targets.map((target, i) => {
        if (residents[i] != null) return residents[i] + 4 * start;
        memory.f32(places[i]!).set(target.subarray(start, end));
        return places[i]!.byteOffset;
      });
      run({ table: table.byteOffset, length: end - start, kernels }, addresses);
      targets.forEach((target, i) => {
        if (residents[i] == null) target.set(memory.f32(places[i]!).subarray(0, end - start), start);
      });
    }
  }

  squares(learner: number, ranges: readonly Range[]): number {
    const one = new LearnerBlocks(this.#staging, [this.#learners[learner]!]);
    return one.combinedSquares([1], ranges);
  }

  combinedSquares(weights: readonly number[], ranges: readonly Range[]): number {
    const { table, data, lanes } = this.#layOut(weights);
    let sum = 0;
    for (const range of ranges)
      sum += sumPieces(this.#staging, lanes, range, this.#blockElements, (from, to) => {
        this.#stage(table, data, from, to);
        const { weightedSumSquares } = this.#staging.kernels;
        weightedSumSquares(table.byteOffset, weights.length, to - from, lanes.byteOffset);
      });
    return sum;
  }

  /** Adds the squares of Σ_m w_m·Δ_m over a range to the 16 lanes, its first element to lane 0. */
  addSquares(weights: readonly number[], { from, to }: Range, into: Float64Array): void {
    const { table, data, lanes } = this.#layOut(weights);
    const view = this.#staging.memory.f64(lanes);
    view.set(into);
    for (let start = from; start < to; start += this.#blockElements) {
      const end = Math.min(to, start + this.#blockElements);
      this.#stage(table, data, start, end);
      const { weightedSumSquares } = this.#staging.kernels;
      weightedSumSquares(table.byteOffset, weights.length, end - start, lanes.byteOffset);
    }
    into.set(view);
  }

  #layOut(coefficients: readonly number[]) {
    const blockBytes = 4 * this.#blockElements;
    const count = this.#learners.length;
    const regions = this.#staging.layOut({
      table: rowBytes * count,
      lanes: 128,
      first: blockBytes,
      second: blockBytes,
      data: blockBytes * count,
    });
    const view = new DataView(this.#staging.memory.buffer, regions.table.byteOffset, regions.table.byteLength);
    coefficients.forEach((coefficient, m) => {
      view.setFloat64(rowBytes * m + 8, coefficient, true);
    });
    return regions;
  }

  /** Copies a block of each learner into `data`, or points the table at it where it is resident. */
  #stage(table: Region, data: Region, from: number, to: number): void {
    const { memory } = this.#staging;
    const view = memory.f32(data);
    const rows = new DataView(memory.buffer, table.byteOffset, table.byteLength);
    this.#learners.forEach((learner, m) => {
      const resident = this.#residents[m];
      if (resident == null) view.set(learner.subarray(from, to), m * this.#blockElements);
      const address = resident == null ? data.byteOffset + 4 * m * this.#blockElements : resident + 4 * from;
      rows.setUint32(rowBytes * m, address, true);
    });
  }
}
