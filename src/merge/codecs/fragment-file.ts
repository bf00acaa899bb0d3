/**
 * @file One fragment as a safetensors file: a pseudo-gradient in the run's codec, or an absolute state in `f32`. Names
 * are `<tensor>[from:to]`; selection biases are always dense F32. Decoding accepts exactly the tensors that plan and
 * codec call for, finite and canonical, and allocates nothing from a number in the file.
 */
import {
  encodeSafetensorsHeader,
  parseSafetensorsHeader,
  SafetensorsError,
  type SafetensorsHeader,
} from '../../tensor/safetensors.ts';
import { CodecError } from '../errors.ts';
import type { Fragment, TensorSlice } from '../fragment-plan.ts';
import { checkFragmentValues, checkLength, emptyFragment, type FragmentValues } from '../fragment-values.ts';
import { type Staging, sharedStaging } from '../staging.ts';
import { bf16Codec } from './bf16.ts';
import { type Codec, type CodecName, encodeLimitBits, isBelow, type PartInfo } from './codec.ts';
import { f32BytesOf, f32Codec } from './f32.ts';
import { int4Codec, int8Codec } from './scaled.ts';
import { topkCodec } from './topk.ts';

export const codecs: { readonly [Name in CodecName]: Codec } = {
  f32: f32Codec,
  bf16: bf16Codec,
  int8: int8Codec,
  int4: int4Codec,
  topk: topkCodec,
};

/** Metadata `format`; readers of another version refuse the file. */
export const fragmentFormat = 'accrete-fragment/1';

export interface EncodedFragment {
  readonly bytes: Uint8Array;
  /** params − decode(bytes).params, for the learner's error feedback; selection biases lose nothing. */
  readonly residue: Float32Array;
}

interface Job {
  readonly codec: Codec;
  readonly slice: TensorSlice;
  readonly parts: readonly PartInfo[];
  readonly isBias: boolean;
}

function jobsOf(codec: Codec, fragment: Fragment): readonly Job[] {
  const job = (codec: Codec, slice: TensorSlice, isBias: boolean): Job => ({
    codec,
    slice,
    parts: codec.parts(slice),
    isBias,
  });
  return [
    ...fragment.slices.map((slice) => job(codec, slice, false)),
    ...fragment.selectionBiases.map((slice) => job(f32Codec, slice, true)),
  ];
}

function headerOf(codec: CodecName, jobs: readonly Job[]) {
  return encodeSafetensorsHeader(
    jobs.flatMap(({ parts }) => parts),
    { format: fragmentFormat, codec },
  );
}

/** Size of the file that `encodeFragment` writes. Another writer's header may differ: allow it some room in a grant. */
export function encodedSizeBytes(codec: CodecName, fragment: Fragment): number {
  const jobs = jobsOf(codecs[codec], fragment);
  const data = jobs.reduce((sum, { parts }) => sum + parts.reduce((bytes, { sizeBytes }) => bytes + sizeBytes, 0), 0);
  return headerOf(codec, jobs).header.byteLength + data;
}

/**
 * The same values give the same bytes on every machine. `residue` is written, and stays as it was after an error.
 * @throws MergeError WRONG_LENGTH; CodecError NOT_FINITE or OUT_OF_RANGE (a magnitude of 2^126 or more)
 */
export function encodeFragment(
  codec: CodecName,
  fragment: Fragment,
  values: FragmentValues,
  staging: Staging = sharedStaging(),
  residue: Float32Array = new Float32Array(fragment.elementCount),
): EncodedFragment {
  checkFragmentValues(fragment, values);
  checkLength('residue', residue, fragment.elementCount);
  for (const array of [values.params, values.selectionBias]) requireEncodable(staging, array, fragment);
  const jobs = jobsOf(codecs[codec], fragment);
  const { bytes, places } = layOutFile(codec, jobs, (length) => new Uint8Array(length));
  for (const { codec, slice, parts, isBias } of jobs) {
    const source = isBias ? values.selectionBias : values.params;
    const rest = isBias ? new Float32Array(slice.length) : residue.subarray(slice.offset, slice.offset + slice.length);
    const x = source.subarray(slice.offset, slice.offset + slice.length);
    codec.encode(
      staging,
      x,
      parts.map(({ name }) => places.get(name)!),
      rest,
    );
  }
  return { bytes, residue };
}

/**
 * An absolute state: the bytes of `encodeFragment` in `f32`, in memory that the caller gives, and no residue.
 * @throws as encodeFragment
 */
export function encodeStateInto(
  fragment: Fragment,
  values: FragmentValues,
  allocate: (byteLength: number) => Uint8Array,
  staging: Staging = sharedStaging(),
): Uint8Array {
  checkFragmentValues(fragment, values);
  for (const array of [values.params, values.selectionBias]) requireEncodable(staging, array, fragment);
  const jobs = jobsOf(f32Codec, fragment);
  const { bytes, places } = layOutFile('f32', jobs, allocate);
  for (const { slice, parts, isBias } of jobs) {
    const x = (isBias ? values.selectionBias : values.params).subarray(slice.offset, slice.offset + slice.length);
    places.get(parts[0]!.name)!.set(f32BytesOf(x));
  }
  return bytes;
}

/** The file with its header, and the place of each tensor in it. */
function layOutFile(codec: CodecName, jobs: readonly Job[], allocate: (byteLength: number) => Uint8Array) {
  const { header, order } = headerOf(codec, jobs);
  const last = order.at(-1);
  const bytes = allocate(header.byteLength + (last ? last.offsetBytes + last.sizeBytes : 0));
  bytes.set(header);
  const data = bytes.subarray(header.byteLength);
  const places = new Map(
    order.map(({ name, offsetBytes, sizeBytes }) => [name, data.subarray(offsetBytes, offsetBytes + sizeBytes)]),
  );
  return { bytes, places };
}

function requireEncodable(staging: Staging, array: Float32Array, { id }: Fragment): void {
  if (isBelow(staging, array, encodeLimitBits)) return;
  if (!isBelow(staging, array)) throw new CodecError('NOT_FINITE', `fragment ${id}: NaN or infinity cannot be encoded`);
  throw new CodecError('OUT_OF_RANGE', `fragment ${id}: magnitudes of 2^126 and more cannot be encoded`);
}

/**
 * `into` (new arrays by default) is unspecified after an error.
 * @throws CodecError BAD_CONTAINER (safetensors rules, format or codec in the metadata), UNKNOWN_TENSOR,
 * MISSING_TENSOR, WRONG_DTYPE, WRONG_SHAPE, NOT_FINITE, BAD_SCALE, NOT_CANONICAL
 */
export function decodeFragment(
  codec: CodecName,
  fragment: Fragment,
  bytes: Uint8Array,
  staging: Staging = sharedStaging(),
  into: FragmentValues = emptyFragment(fragment),
): FragmentValues {
  checkFragmentValues(fragment, into);
  for (const { slice, parts, isBias, ...located } of locateSlices(codec, fragment, bytes, bytes.byteLength)) {
    const target = isBias ? into.selectionBias : into.params;
    const sources = parts.map(({ at, sizeBytes }) => bytes.subarray(at, at + sizeBytes));
    located.codec.decode(staging, sources, target.subarray(slice.offset, slice.offset + slice.length), parts[0]!.name);
  }
  return into;
}

/** Form only: size, header, names, shapes and dtypes equal to plan and codec. Reads no value. Throws as decodeFragment. */
export function checkFragmentHeader(codec: CodecName, fragment: Fragment, bytes: Uint8Array): void {
  locateSlices(codec, fragment, bytes, bytes.byteLength);
}

/** A slice and where its tensors lie in the file. */
export interface LocatedSlice {
  readonly codec: Codec;
  readonly slice: TensorSlice;
  readonly isBias: boolean;
  readonly parts: readonly { readonly name: string; readonly at: number; readonly sizeBytes: number }[];
}

/**
 * Of a file of `sizeBytes` that begins with `head`: at least `mostHeadBytes`, or all of it. In the order of the plan, selection
 * biases last. Throws as decodeFragment.
 */
export function locateSlices(
  codec: CodecName,
  fragment: Fragment,
  head: Uint8Array,
  sizeBytes: number,
): readonly LocatedSlice[] {
  const jobs = jobsOf(codecs[codec], fragment);
  const header = readHeader(codec, jobs, head, sizeBytes);
  const places = checkTensors(header, jobs);
  return jobs.map(({ codec, slice, isBias, parts }) => ({
    ...{ codec, slice, isBias },
    parts: parts.map(({ name, sizeBytes }) => ({ name, at: header.dataOffsetBytes + places.get(name)!, sizeBytes })),
  }));
}

/** A header that is read is no longer than this, with its length in front. */
export const mostHeadBytes = (codec: CodecName, fragment: Fragment): number =>
  8 + mostHeaderBytes(codec, jobsOf(codecs[codec], fragment));

/** Room for other writers' spacing and for metadata of theirs. */
const mostHeaderBytes = (codec: CodecName, jobs: readonly Job[]): number =>
  2 * headerOf(codec, jobs).header.byteLength + 65_536;

/** The header of an absolute state as `encodeStateInto` writes it, and the slices in the order of their bytes behind it. */
export function stateLayout(fragment: Fragment): {
  readonly header: Uint8Array;
  readonly order: readonly { readonly slice: TensorSlice; readonly isBias: boolean }[];
} {
  const jobs = jobsOf(f32Codec, fragment);
  const byName = new Map(jobs.map((job) => [job.parts[0]!.name, job]));
  const { header, order } = headerOf('f32', jobs);
  return { header, order: order.map(({ name }) => byName.get(name)!) };
}

function readHeader(codec: CodecName, jobs: readonly Job[], bytes: Uint8Array, sizeBytes: number): SafetensorsHeader {
  const tensorCount = jobs.reduce((sum, { parts }) => sum + parts.length, 0);
  const nameLength = Math.max(...jobs.flatMap(({ parts }) => parts.map(({ name }) => name.length)));
  const header = parseHeader(bytes, sizeBytes, {
    headerBytes: mostHeaderBytes(codec, jobs),
    tensorCount: tensorCount + 16,
    nameLength: nameLength + 64,
    rank: 8,
  });
  const { format, codec: named } = header.metadata;
  if (format !== fragmentFormat || named !== codec)
    throw new CodecError(
      'BAD_CONTAINER',
      `metadata: expected format ${fragmentFormat} and codec ${codec}, got ${short(format)} and ${short(named)}`,
    );
  return header;
}

const short = (text: string | undefined): string => (text === undefined ? 'nothing' : text.slice(0, 40));

function parseHeader(...args: Parameters<typeof parseSafetensorsHeader>): SafetensorsHeader {
  try {
    return parseSafetensorsHeader(...args);
  } catch (error) {
    if (!(error instanceof SafetensorsError)) throw error;
    throw new CodecError('BAD_CONTAINER', error.message, { context: { code: error.code }, cause: error });
  }
}

/** Offsets by name, after every tensor was found with its dtype and shape, and no other. */
function checkTensors(header: SafetensorsHeader, jobs: readonly Job[]): ReadonlyMap<string, number> {
  const found = new Map(header.tensors.map((info) => [info.name, info]));
  const offsets = new Map<string, number>();
  for (const { name, dtype, shape } of jobs.flatMap(({ parts }) => parts)) {
    const info = found.get(name);
    if (info === undefined) throw new CodecError('MISSING_TENSOR', `${name} is not in the file`);
    if (info.dtype !== dtype) throw new CodecError('WRONG_DTYPE', `${name}: expected ${dtype}, got ${info.dtype}`);
    if (info.shape.length !== shape.length || info.shape.some((size, i) => size !== shape[i]))
      throw new CodecError('WRONG_SHAPE', `${name}: expected [${shape}], got [${info.shape}]`);
    offsets.set(name, info.offsetBytes);
    found.delete(name);
  }
  for (const name of found.keys())
    throw new CodecError('UNKNOWN_TENSOR', `${name.slice(0, 80)} is not in the fragment's plan`);
  return offsets;
}
