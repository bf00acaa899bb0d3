/**
 * @file A learner's whole state as bytes: what a trace names every S steps, and what an audit is answered with. All that
 * later steps depend on is in it, beside the manifest, the trace and the published fragments. In float32, as the learner has it;
 * `rounded-state.ts` is the other form.
 *
 * Version 1, little endian: 16 bytes `accrete-state/1` and a zero; u64 inner steps done, u64 optimiser steps, u64 steps
 * skipped in a row, 24 bytes of zeros; then float32: parameters in contract order, first moments, second moments (0 where
 * the optimiser has none), selection biases in contract order, then of each fragment the anchor (parameters, selection
 * bias), then of each fragment the codec's residue. The size follows from the manifest. Readers refuse other versions.
 */
import type { FragmentPlan } from '../../merge/fragment-plan.ts';
import type { FragmentValues } from '../../merge/fragment-values.ts';
import { RoleError } from '../errors.ts';

export interface LearnerCounters {
  /** Of the learner's life. */
  readonly innerSteps: number;
  /** Since the moments were zero. */
  readonly optimizerSteps: number;
  readonly skippedInARow: number;
}

/** Live buffers of a learner, or views of a file. */
export interface LearnerBuffers {
  readonly params: Float32Array;
  readonly firstMoments: Float32Array;
  readonly secondMoments: Float32Array;
  readonly selectionBiases: Float32Array;
  /** By fragment. */
  readonly anchors: readonly FragmentValues[];
  /** By fragment. */
  readonly residues: readonly Float32Array[];
}

/** A published version of a fragment that a learner has taken in, or began from. */
export interface TakenIn {
  readonly version: number;
  readonly values: FragmentValues;
}

export interface LearnerState extends LearnerBuffers {
  readonly counters: LearnerCounters;
  /** By fragment, where states are rounded (`rounded-state.ts`); else null. */
  readonly taken: readonly TakenIn[] | null;
}

const magic = 'accrete-state/1\0';
export const headerBytes = 64;
/** Counters are checked against the trace before anything counts up to them. */
const maxCounter = Number.MAX_SAFE_INTEGER;

/** What the trace's roots of this run are roots of, to the byte. */
export function exactSizeBytes(plan: FragmentPlan): number {
  const biases = plan.fragments.reduce((sum, { selectionBiasCount }) => sum + selectionBiasCount, 0);
  return headerBytes + 4 * (5 * plan.elementCount + 2 * biases);
}

/** The file in parts, none of them copied: good until the learner's next move. */
export function statePartsOf(counters: LearnerCounters, buffers: LearnerBuffers): readonly Uint8Array[] {
  return [encodeHeader(magic, counters), ...inOrder(buffers).map(bytesOf)];
}

/**
 * Views of a state from a stranger; copied where the bytes lie at an odd address.
 * @throws RoleError BAD_STATE: another size or version, counters out of range, numbers that are not finite, second
 * moments below 0
 */
export function readState(plan: FragmentPlan, bytes: Uint8Array): LearnerState {
  const sizeBytes = exactSizeBytes(plan);
  if (bytes.byteLength !== sizeBytes) throw bad(`expected ${sizeBytes} bytes, got ${bytes.byteLength}`);
  const counters = decodeHeader(magic, bytes.subarray(0, headerBytes));
  const body = bytes.subarray(headerBytes);
  const floats = body.byteOffset % 4 === 0 ? viewOf(body) : viewOf(body.slice());
  let at = 0;
  const take = (length: number): Float32Array => {
    at += length;
    return floats.subarray(at - length, at);
  };
  const { elementCount: n, fragments } = plan;
  const biases = fragments.reduce((sum, { selectionBiasCount }) => sum + selectionBiasCount, 0);
  const state: LearnerState = {
    counters,
    taken: null,
    params: take(n),
    firstMoments: take(n),
    secondMoments: take(n),
    selectionBiases: take(biases),
    anchors: fragments.map((fragment) => ({
      params: take(fragment.elementCount),
      selectionBias: take(fragment.selectionBiasCount),
    })),
    residues: fragments.map((fragment) => take(fragment.elementCount)),
  };
  for (let i = 0; i < floats.length; i++) if (!Number.isFinite(floats[i])) throw bad(`number ${i} is not finite`);
  if (state.secondMoments.some((value) => value < 0)) throw bad('a second moment is negative');
  return state;
}

/** Copies numbers only; the counters are the caller's. */
export function copyBuffers(from: LearnerBuffers, into: LearnerBuffers): void {
  const targets = inOrder(into);
  inOrder(from).forEach((source, i) => {
    targets[i]!.set(source);
  });
}

function inOrder(buffers: LearnerBuffers): readonly Float32Array[] {
  return [
    buffers.params,
    buffers.firstMoments,
    buffers.secondMoments,
    buffers.selectionBiases,
    ...buffers.anchors.flatMap(({ params, selectionBias }) => [params, selectionBias]),
    ...buffers.residues,
  ];
}

/** Of `magic`'s layout: 16 characters, then the counters. */
export function encodeHeader(
  magic: string,
  { innerSteps, optimizerSteps, skippedInARow }: LearnerCounters,
): Uint8Array {
  const header = new Uint8Array(headerBytes);
  for (let i = 0; i < magic.length; i++) header[i] = magic.charCodeAt(i);
  const view = new DataView(header.buffer);
  [innerSteps, optimizerSteps, skippedInARow].forEach((count, i) => {
    view.setBigUint64(16 + 8 * i, BigInt(count), true);
  });
  return header;
}

/** @throws RoleError BAD_STATE */
export function decodeHeader(magic: string, header: Uint8Array): LearnerCounters {
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  const [innerSteps, optimizerSteps, skippedInARow] = [0, 1, 2].map((i) => Number(view.getBigUint64(16 + 8 * i, true)));
  const counters = { innerSteps: innerSteps!, optimizerSteps: optimizerSteps!, skippedInARow: skippedInARow! };
  if (Object.values(counters).some((count) => count > maxCounter)) throw bad('a counter is out of range');
  // One header for one state: every other byte is fixed.
  if (encodeHeader(magic, counters).some((byte, i) => byte !== header[i]))
    throw bad(`its header is not of version ${magic.at(-2)}`);
  return counters;
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

const viewOf = (bytes: Uint8Array): Float32Array =>
  new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);

const bad = (why: string): RoleError => new RoleError('BAD_STATE', `a learner's state: ${why}`);
