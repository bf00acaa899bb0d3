/**
 * @file A learner's whole state in a quarter of the bytes, for models whose float32 state no uplink carries in time. The
 * learner goes on from what the file holds, not from what was rounded: the trace names the state to the bit, as without rounding.
 *
 * Version 2, little endian: 16 bytes `accrete-state/2` and a zero; the counters of version 1; of each fragment the version last
 * taken in, u64; float32 selection biases in contract order, then of each fragment the anchor's; then rows: first moments and
 * second moments in contract order, then of each fragment anchor − taken, θ − anchor and the codec's residue (`int4` and `topk`
 * only; it is 0 after a root else). A row of n numbers is ceil(n / 256) float32 scales, the codes, zeros up to a multiple of 4.
 *
 * θ − anchor: int16, scale max/32767: of machines whose numbers differ a little some are rounded apart, by a whole code, which must
 * be small beside a segment's update. Residues: int8, max/127. Anchor − taken: int4, the first in the low half of a byte, max/7,
 * since what it loses goes with the next take-in. First moments: sign, 4 bits of exponent, 3 of fraction, (1 + f/8)·2^(e − 15),
 * code 0 is 0; scale max/1.875. Second moments: their roots in 4 bits and 4, scale max/1.9375, and no code 0 but for 0. All are
 * rounded up or down by a draw from (number, inner steps): what moves by less than half a code would else never move
 * (arXiv:1502.02551). That moments of 8 bits train as float32 does is arXiv:2110.02861.
 */
import type { CodecName } from '../../merge/codecs/codec.ts';
import type { FragmentPlan } from '../../merge/fragment-plan.ts';
import type { FragmentValues } from '../../merge/fragment-values.ts';
import { gatherRanges, type Range, scatterRanges } from '../../util/ranges.ts';
import { RoleError } from '../errors.ts';
import {
  decodeHeader,
  encodeHeader,
  headerBytes,
  type LearnerBuffers,
  type LearnerCounters,
  type LearnerState,
  type TakenIn,
} from './learner-state.ts';
import {
  type Row,
  type RowBits,
  readDifference,
  readMoments,
  readSecondMoments,
  roundDifference,
  roundMoments,
  roundSecondMoments,
  rowAt,
  rowBytes,
  rowSeed,
} from './rounded-rows.ts';

export interface RoundedLayout {
  readonly plan: FragmentPlan;
  /** By fragment: its parameters in the flat buffer, in its own order (`fragmentRanges`). */
  readonly ranges: readonly { readonly params: readonly Range[] }[];
  readonly codec: CodecName;
}

const magic = 'accrete-state/2\0';

/** What a dense codec of 8 bits or more loses is less than what a row rounds. */
const keepsResidue = (codec: CodecName): boolean => codec === 'int4' || codec === 'topk';

export function roundedSizeBytes(plan: FragmentPlan, codec: CodecName): number {
  const rows = plan.fragments.map(
    ({ elementCount, selectionBiasCount }) =>
      8 +
      8 * selectionBiasCount +
      (keepsResidue(codec) ? rowBytes(elementCount, 8) : 0) +
      rowBytes(elementCount, 16) +
      rowBytes(elementCount, 4),
  );
  return headerBytes + rows.reduce((sum, bytes) => sum + bytes, 2 * rowBytes(plan.elementCount, 8));
}

/** Hands out the parts of a file in their order. */
class Cursor {
  readonly #bytes: Uint8Array;
  #at = headerBytes;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  versions(count: number): BigUint64Array {
    this.#at += 8 * count;
    return new BigUint64Array(this.#bytes.buffer, this.#bytes.byteOffset + this.#at - 8 * count, count);
  }

  floats(count: number): Float32Array {
    this.#at += 4 * count;
    return new Float32Array(this.#bytes.buffer, this.#bytes.byteOffset + this.#at - 4 * count, count);
  }

  row(numbers: number, bits: RowBits = 8): Row {
    const row = rowAt(this.#bytes, this.#at, numbers, bits);
    this.#at += rowBytes(numbers, bits);
    return row;
  }
}

/** Rounds the live buffers in place; the file that says so. `taken`: by fragment, of the version last taken in. */
export function roundState(
  layout: RoundedLayout,
  counters: LearnerCounters,
  buffers: LearnerBuffers,
  taken: readonly TakenIn[],
): Uint8Array {
  const { plan, ranges, codec } = layout;
  const bytes = new Uint8Array(roundedSizeBytes(plan, codec));
  bytes.set(encodeHeader(magic, counters));
  const cursor = new Cursor(bytes);
  cursor.versions(plan.fragments.length).set(taken.map(({ version }) => BigInt(version)));
  cursor.floats(buffers.selectionBiases.length).set(buffers.selectionBiases);
  for (const { selectionBias } of buffers.anchors) cursor.floats(selectionBias.length).set(selectionBias);
  let rows = 0;
  const next = (numbers: number, bits?: RowBits) => ({
    row: cursor.row(numbers, bits),
    seed: rowSeed(counters.innerSteps, rows++),
  });
  const first = next(plan.elementCount);
  roundMoments(first.row, buffers.firstMoments, first.seed);
  readMoments(first.row, buffers.firstMoments);
  const second = next(plan.elementCount);
  roundSecondMoments(second.row, buffers.secondMoments, second.seed);
  readSecondMoments(second.row, buffers.secondMoments);
  for (const { id, elementCount } of plan.fragments) {
    const [anchor, residue, base] = [buffers.anchors[id]!.params, buffers.residues[id]!, taken[id]!.values.params];
    const moved = next(elementCount, 4);
    // The same array until the next claim: then all codes are 0, as they are already.
    if (anchor !== base) roundDifference(moved.row, anchor, base, moved.seed);
    const theta = gatherRanges(buffers.params, ranges[id]!.params, elementCount);
    const away = next(elementCount, 16);
    // Of the anchor as it was: what the learner has not claimed yet stays what it is.
    roundDifference(away.row, theta, anchor, away.seed);
    if (anchor !== base) readDifference(moved.row, base, anchor);
    readDifference(away.row, anchor, theta);
    scatterRanges(theta, ranges[id]!.params, buffers.params);
    if (!keepsResidue(codec)) residue.fill(0);
    else {
      const rest = next(elementCount);
      roundDifference(rest.row, residue, null, rest.seed);
      readDifference(rest.row, null, residue);
    }
  }
  return bytes;
}

/** Versions that a state from a stranger says to stand on; to be fetched before it is read. @throws RoleError BAD_STATE */
export function versionsTaken({ plan, codec }: RoundedLayout, bytes: Uint8Array): readonly number[] {
  const sizeBytes = roundedSizeBytes(plan, codec);
  if (bytes.byteLength !== sizeBytes) throw bad(`expected ${sizeBytes} bytes, got ${bytes.byteLength}`);
  const versions = Array.from(new Cursor(aligned(bytes)).versions(plan.fragments.length), Number);
  if (versions.every((version) => version <= Number.MAX_SAFE_INTEGER)) return versions;
  throw bad('a version is out of range');
}

/**
 * `taken`: the fragments at the versions of `versionsTaken`.
 * @throws RoleError BAD_STATE: another size or version, counters out of range, numbers that are not finite, padding that is not 0
 */
export function readRounded(layout: RoundedLayout, bytes: Uint8Array, taken: readonly FragmentValues[]): LearnerState {
  const { plan, ranges, codec } = layout;
  const versions = versionsTaken(layout, bytes);
  const counters = decodeHeader(magic, bytes.subarray(0, headerBytes));
  const file = aligned(bytes);
  const cursor = new Cursor(file);
  cursor.versions(plan.fragments.length);
  const biasCount = plan.fragments.reduce((sum, { selectionBiasCount }) => sum + selectionBiasCount, 0);
  const selectionBiases = cursor.floats(biasCount).slice();
  const anchorBiases = plan.fragments.map(({ selectionBiasCount }) => cursor.floats(selectionBiasCount).slice());
  const next = (numbers: number, bits?: RowBits): Row => {
    const row = cursor.row(numbers, bits);
    if (!row.scales.every((scale) => scale >= 0 && Number.isFinite(scale))) throw bad('a scale is no finite number');
    const { byteOffset, length } = row.codes;
    const padding = file.subarray(byteOffset - file.byteOffset + length).subarray(0, -length & 3);
    if (padding.some((byte) => byte !== 0)) throw bad('its padding is not 0');
    return row;
  };
  const [params, firstMoments, secondMoments] = [0, 1, 2].map(() => new Float32Array(plan.elementCount));
  readMoments(next(plan.elementCount), firstMoments!);
  readSecondMoments(next(plan.elementCount), secondMoments!);
  const anchors: FragmentValues[] = [];
  const residues: Float32Array[] = [];
  for (const { id, elementCount } of plan.fragments) {
    const anchor = new Float32Array(elementCount);
    readDifference(next(elementCount, 4), taken[id]!.params, anchor);
    const theta = new Float32Array(elementCount);
    readDifference(next(elementCount, 16), anchor, theta);
    scatterRanges(theta, ranges[id]!.params, params!);
    const residue = new Float32Array(elementCount);
    if (keepsResidue(codec)) readDifference(next(elementCount), null, residue);
    anchors.push({ params: anchor, selectionBias: anchorBiases[id]! });
    residues.push(residue);
  }
  const state: LearnerState = {
    ...{ counters, params: params!, firstMoments: firstMoments!, secondMoments: secondMoments!, selectionBiases },
    ...{ anchors, residues, taken: taken.map((values, id) => ({ version: versions[id]!, values })) },
  };
  const all = [params!, firstMoments!, secondMoments!, selectionBiases, ...anchorBiases, ...residues];
  for (const numbers of [...all, ...anchors.map((anchor) => anchor.params)])
    if (!numbers.every(Number.isFinite)) throw bad('a number is not finite');
  return state;
}

const aligned = (bytes: Uint8Array): Uint8Array => (bytes.byteOffset % 8 === 0 ? bytes : bytes.slice());

const bad = (why: string): RoleError => new RoleError('BAD_STATE', `a learner's state: ${why}`);
