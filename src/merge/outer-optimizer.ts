/**
 * @file The outer optimiser: Nesterov SGD on merged pseudo-gradients (DiLoCo, arXiv:2311.08105). Selection biases take
 * their merged pseudo-gradient at rate 1 without momentum.
 */
import type { Kernels } from '../tensor/kernels/memory.ts';

export interface OuterOptions {
  /** η */
  readonly learningRate: number;
  /** μ */
  readonly momentum: number;
}

/** Addresses in kernel memory of one block; the table holds learners and coefficients in merge order. */
export interface OuterBlock {
  readonly table: number;
  readonly learnerCount: number;
  readonly theta: number;
  readonly momentum: number;
  readonly length: number;
}

/**
 * Δ = f32(Σ coefficient·Δ_m); v ← f32(μv + Δ); Θ ← f32(Θ − η(Δ + μv)): each rounded once from float64, v rounded
 * before it is used. In place.
 */
export function applyOuterStep(kernels: Kernels, block: OuterBlock, options: OuterOptions): void {
  const { table, learnerCount, theta, momentum, length } = block;
  kernels.weightedNesterov(table, learnerCount, length, theta, momentum, options.learningRate, options.momentum);
}
