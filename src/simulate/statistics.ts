/** @file Means with their intervals. */
import { studentTQuantile } from '../evaluation/student-t.ts';

export interface Interval {
  readonly mean: number;
  /** Half of the 95 % interval; 0 for one value, of which nothing is known. */
  readonly halfWidth: number;
  readonly count: number;
}

/** 95 % interval of the mean by Student's t. */
export function meanInterval(values: readonly number[]): Interval {
  const count = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / count;
  if (count < 2) return { mean, halfWidth: 0, count };
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (count - 1);
  return { mean, halfWidth: studentTQuantile(0.975, count - 1) * Math.sqrt(variance / count), count };
}
