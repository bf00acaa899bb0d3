/**
 * @file Draws from a beacon: which validators check a claim, whether its gain is tested, and on which sequences. Whole
 * numbers only, so that everybody draws the same; a claim's id is fixed before its beacon is known.
 */
import { toHex, utf8 } from '../util/bytes.ts';
import { assert } from '../util/errors.ts';
import type { Range } from '../util/ranges.ts';
import { sha256 } from './hash.ts';
import type { Hash, Hotkey } from './names.ts';

export interface Candidate {
  readonly hotkey: Hotkey;
  readonly stakeRao: number;
}

/** 256 uniform bits for one purpose; `parts` are text without `|`. */
function drawBits(purpose: string, ...parts: readonly (string | number)[]): bigint {
  return BigInt(`0x${toHex(sha256(utf8(['accrete draw', purpose, ...parts].join('|'))))}`);
}

/**
 * Up to `size` different validators, each draw weighted by stake (at least 1 rao). The order of candidates does not
 * matter; the result is in the order of drawing. A remainder of 256 bits by at most 2^65 is even to 2^-190.
 */
export function drawCommittee(options: {
  readonly blockHash: Hash;
  readonly claim: Hash;
  readonly candidates: readonly Candidate[];
  readonly size: number;
}): Hotkey[] {
  const left = [...options.candidates].sort((a, b) => (a.hotkey < b.hotkey ? -1 : 1));
  const committee: Hotkey[] = [];
  while (committee.length < options.size && left.length > 0) {
    const weights = left.map(({ stakeRao }) => BigInt(Math.max(1, stakeRao)));
    const total = weights.reduce((sum, weight) => sum + weight, 0n);
    let at = drawBits('committee', options.blockHash, options.claim, committee.length) % total;
    const index = weights.findIndex((weight) => {
      at -= weight;
      return at < 0n;
    });
    committee.push(left.splice(index, 1)[0]!.hotkey);
  }
  return committee;
}

/** Whether the claim's gain is tested: `isAlways`, else with probability `share`. */
export function drawGainTested(options: {
  readonly blockHash: Hash;
  readonly claim: Hash;
  readonly isAlways: boolean;
  readonly share: number;
}): boolean {
  if (options.isAlways) return true;
  const uniform = Number(drawBits('gain', options.blockHash, options.claim) >> 203n) / 2 ** 53;
  return uniform < options.share;
}

/** Whether one more validator checks the claim again once it is accepted, with probability `share`. */
export function drawRechecked(options: {
  readonly blockHash: Hash;
  readonly claim: Hash;
  readonly share: number;
}): boolean {
  const uniform = Number(drawBits('recheck', options.blockHash, options.claim) >> 203n) / 2 ** 53;
  return uniform < options.share;
}

/** One learner's part in the draw of an audit. */
export interface AuditShare {
  /** Cell-tokens that it asks to be paid for (at least 1 counts). */
  readonly weight: number;
  /** Segments that may be drawn; at least 1. */
  readonly count: number;
}

/**
 * Which learner's which segment an audit is about: learners by what they ask to be paid for, so that nobody hides the work of
 * one behind many small segments of others; a learner's segments evenly. `draw` names the audit.
 */
export function drawSegment(options: {
  readonly blockHash: Hash;
  readonly draw: Hash;
  readonly shares: readonly AuditShare[];
}): [learner: number, segment: number] {
  const { blockHash, draw, shares } = options;
  assert(shares.length > 0, 'a segment is drawn from at least one');
  const weights = shares.map(({ weight }) => BigInt(Math.max(1, weight)));
  let at = drawBits('learner', blockHash, draw) % weights.reduce((sum, weight) => sum + weight, 0n);
  const learner = weights.findIndex((weight) => {
    at -= weight;
    return at < 0n;
  });
  return [learner, Number(drawBits('segment', blockHash, draw) % BigInt(shares[learner]!.count))];
}

/**
 * `count` different positions of `range` (a part of the order that is not leased yet), ascending, for one validator's
 * test of one claim. The whole range if it is not longer.
 */
export function drawTestSequences(options: {
  readonly blockHash: Hash;
  readonly claim: Hash;
  readonly validator: Hotkey;
  readonly count: number;
  readonly range: Range;
}): number[] {
  const [from, to] = options.range;
  assert(to - from <= Number.MAX_SAFE_INTEGER && to > from, `no sequences in [${from}, ${to})`);
  const drawn = new Set<number>();
  const wanted = Math.min(options.count, to - from);
  // Floyd's sampling: each number is drawn once, whatever the range's length.
  for (let i = to - from - wanted; i < to - from; i++) {
    const bits = drawBits('sequences', options.blockHash, options.claim, options.validator, i);
    const offset = Number(bits % BigInt(i + 1));
    drawn.add(drawn.has(from + offset) ? from + i : from + offset);
  }
  return [...drawn].sort((a, b) => a - b);
}
