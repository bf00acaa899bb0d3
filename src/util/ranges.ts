/**
 * @file Sets of whole numbers as lists of half-open ranges `[from, to)`: sorted, disjoint, never touching, never empty.
 * Every function gives a list in that form; all but `normalizeRanges` and `takeFromRanges`'s count expect it.
 * Sequences of a run, leases and counted cells are such sets.
 */
import { assert } from './errors.ts';

/** The numbers n with from ≤ n < to. */
export type Range = readonly [from: number, to: number];

/** Whether the list is in normal form: safe whole numbers ≥ 0, sorted, disjoint, not touching, none empty. */
export function isNormalRanges(ranges: readonly Range[]): boolean {
  let end = -1;
  for (const [from, to] of ranges) {
    if (!Number.isSafeInteger(from) || !Number.isSafeInteger(to) || from <= end || from < 0 || to <= from) return false;
    end = to;
  }
  return true;
}

/** Sorts, drops empty ranges and joins those that overlap or touch. */
export function normalizeRanges(ranges: readonly Range[]): Range[] {
  const sorted = ranges.filter(([from, to]) => to > from).sort((a, b) => a[0] - b[0]);
  const out: Range[] = [];
  for (const range of sorted) {
    const last = out.at(-1);
    if (last !== undefined && range[0] <= last[1]) out[out.length - 1] = [last[0], Math.max(last[1], range[1])];
    else out.push([range[0], range[1]]);
  }
  return out;
}

/** a ∪ b. Few ranges are put into many at their places, without a look at the others. */
export function unionRanges(a: readonly Range[], b: readonly Range[]): Range[] {
  if (b.length * manyFold > a.length) return normalizeRanges([...a, ...b]);
  const out = a.slice() as Range[];
  for (const [from, to] of b) {
    if (to <= from) continue;
    // The ranges [first, last) touch or overlap the new one.
    const first = firstEndingAt(out, from);
    let last = first;
    while (last < out.length && out[last]![0] <= to) last++;
    const joined: Range =
      last === first ? [from, to] : [Math.min(from, out[first]![0]), Math.max(to, out[last - 1]![1])];
    out.splice(first, last - first, joined);
  }
  return out;
}

/** Of how many times more ranges a list is searched by halves and not looked through. */
const manyFold = 16;

/** Index of the first range that ends at or after `n`. */
function firstEndingAt(ranges: readonly Range[], n: number): number {
  let [low, high] = [0, ranges.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ranges[middle]![1] < n) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** a \ b, in time linear in both. */
export function subtractRanges(a: readonly Range[], b: readonly Range[]): Range[] {
  const out: Range[] = [];
  let next = 0;
  for (const [from, to] of a) {
    let start = from;
    while (next < b.length && b[next]![1] <= start) next++;
    for (let i = next; i < b.length && b[i]![0] < to; i++) {
      if (b[i]![0] > start) out.push([start, b[i]![0]]);
      start = Math.max(start, b[i]![1]);
    }
    if (start < to) out.push([start, to]);
  }
  return out;
}

/** a ∩ b, in time linear in both; where `b` has many times more, in that of finding the few of `a` in it. */
export function intersectRanges(a: readonly Range[], b: readonly Range[]): Range[] {
  const out: Range[] = [];
  if (a.length * manyFold <= b.length) {
    for (const [from, to] of a)
      for (let i = firstEndingAt(b, from + 1); i < b.length && b[i]![0] < to; i++)
        out.push([Math.max(from, b[i]![0]), Math.min(to, b[i]![1])]);
    return out;
  }
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    const from = Math.max(a[i]![0], b[j]![0]);
    const to = Math.min(a[i]![1], b[j]![1]);
    if (from < to) out.push([from, to]);
    if (a[i]![1] < b[j]![1]) i++;
    else j++;
  }
  return out;
}

/** How many numbers the list holds. */
export function countRanges(ranges: readonly Range[]): number {
  return ranges.reduce((sum, [from, to]) => sum + (to - from), 0);
}

/** Splits off the `count` smallest numbers: `[taken, rest]`; takes everything where there are fewer. */
export function takeFromRanges(ranges: readonly Range[], count: number): [taken: Range[], rest: Range[]] {
  assert(Number.isSafeInteger(count) && count >= 0, `takeFromRanges: count must be a whole number ≥ 0, got ${count}`);
  const taken: Range[] = [];
  const rest: Range[] = [];
  let left = count;
  for (const [from, to] of ranges) {
    const cut = Math.min(to, from + left);
    if (cut > from) taken.push([from, cut]);
    if (cut < to) rest.push([cut, to]);
    left -= cut - from;
  }
  return [taken, rest];
}

/** Whether every number of `inner` is in `outer`. */
export function containsRanges(outer: readonly Range[], inner: readonly Range[]): boolean {
  return subtractRanges(inner, outer).length === 0;
}

/** Every number of the list, in ascending order. */
export function* eachInRanges(ranges: readonly Range[]): Generator<number> {
  for (const [from, to] of ranges) for (let n = from; n < to; n++) yield n;
}

/** The ranges' elements, one range after another; `count` of them in all. */
export function gatherRanges(flat: Float32Array, ranges: readonly Range[], count: number): Float32Array {
  const packed = new Float32Array(count);
  let at = 0;
  for (const [from, to] of ranges) {
    packed.set(flat.subarray(from, to), at);
    at += to - from;
  }
  return packed;
}

/** The inverse of `gatherRanges`: what lies outside of the ranges stays. */
export function scatterRanges(packed: Float32Array, ranges: readonly Range[], flat: Float32Array): void {
  let at = 0;
  for (const [from, to] of ranges) {
    flat.set(packed.subarray(at, at + to - from), from);
    at += to - from;
  }
}
