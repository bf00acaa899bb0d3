/**
 * @file The computation of a merge whose fragment does not fit into memory: as `merge-computation.ts`, to the bit, but bytes
 * come from the store and go back to it piece by piece. Of each artifact a few pieces are in memory, and a window of numbers.
 */

import { encodedSizeBytes } from '../merge/codecs/fragment-file.ts';
import { FragmentReader } from '../merge/codecs/fragment-reader.ts';
import type { Fragment } from '../merge/fragment-plan.ts';
import { sharedStaging } from '../merge/staging.ts';
import { mergeStreamed, type StreamedClaim } from '../merge/stream.ts';
import { pieceBytes } from '../protocol/artifact.ts';
import type { ArtifactRef, RunManifest } from '../protocol/manifest.ts';
import { appendLeaf, frontierRoot, leafHash, type Peak } from '../protocol/merkle.ts';
import type { EventBody } from '../protocol/messages.ts';
import type { Hash } from '../protocol/names.ts';
import type { ArtifactWriter } from '../store/port.ts';
import { toHex } from '../util/bytes.ts';
import { nodeSha256 } from '../util/node-sha256.ts';
import { ArtifactReader, type ReadPart } from './artifact-reader.ts';
import { decodeOrLose, type MergeInput, sharesOf, termsOf } from './merge-computation.ts';

/** A fragment of more numbers is merged in parts: its merge holds ten arrays of its size otherwise. */
const mostWholeElements = 2 ** 25;

export const isMergedInParts = ({ elementCount }: Fragment): boolean => elementCount > mostWholeElements;

export interface StreamedMergeOptions {
  readonly manifest: RunManifest;
  readonly fragment: Fragment;
  readonly read: ReadPart;
  /** Of a state of so many bytes. */
  readonly create: (sizeBytes: number) => Promise<ArtifactWriter>;
  readonly signal?: AbortSignal;
}

export interface StreamedMergeOutput {
  readonly theta: ArtifactRef;
  readonly momentum: ArtifactRef;
  readonly shares: EventBody<'fragment-published'>['shares'];
}

/** @throws as computeMerge; after an error no state is left */
export async function streamMerge(input: MergeInput, options: StreamedMergeOptions): Promise<StreamedMergeOutput> {
  const { manifest, fragment, create } = options;
  const { claims: named, ...terms } = termsOf(input, manifest);
  const read: ReadPart = (artifact, range) => {
    options.signal?.throwIfAborted();
    return options.read(artifact, range);
  };
  const files: ArtifactReader[] = [];
  const open = async (codec: RunManifest['codec'], artifact: ArtifactRef): Promise<FragmentReader> => {
    const file = new ArtifactReader(artifact, read, nodeSha256);
    files.push(file);
    return FragmentReader.open(codec, fragment, file, sharedStaging());
  };
  const claims: StreamedClaim[] = [];
  const settles: (() => Promise<void>)[] = [];
  for (const { id, artifact, ...rest } of named) {
    const reader = await decodeOrLose(id, () => open(manifest.codec, artifact));
    const file = files.at(-1)!;
    settles.push(() => decodeOrLose(id, () => file.settle()));
    claims.push({
      ...{ id, ...rest },
      reader: {
        read: (from, out) => decodeOrLose(id, () => reader.read(from, out)),
        selectionBias: (count) => decodeOrLose(id, () => reader.selectionBias(count)),
      },
    });
  }
  const theta = await open('f32', input.artifact);
  const states = [files.at(-1)!];
  const momentum = input.momentum === null ? null : await open('f32', input.momentum);
  if (momentum !== null) states.push(files.at(-1)!);
  const sizeBytes = encodedSizeBytes('f32', fragment);
  const writers: ArtifactWriter[] = [];
  try {
    for (let i = 0; i < 2; i++) writers.push(await create(sizeBytes));
    const [thetaOut, momentumOut] = writers as [ArtifactWriter, ArtifactWriter];
    const merged = await mergeStreamed({
      ...{ fragment, theta, momentum, claims, ...terms },
      onRead: async () => {
        for (const settle of settles) await settle();
      },
      sinks: { theta: thetaOut, momentum: momentumOut },
    });
    for (const state of states) await state.settle();
    return {
      theta: await thetaOut.finish(),
      momentum: await momentumOut.finish(),
      shares: sharesOf(merged.claims, input),
    };
  } catch (error) {
    for (const writer of writers) await writer.abort().catch(() => {});
    throw error;
  }
}

/** Only names what is written: for who holds the result against a name. */
export async function namingWriter(): Promise<ArtifactWriter> {
  let frontier: readonly Peak[] = [];
  let sizeBytes = 0;
  let filled = 0;
  const piece = new Uint8Array(pieceBytes);
  const endPiece = (): void => {
    frontier = appendLeaf(frontier, leafHash(piece.subarray(0, filled), nodeSha256));
    filled = 0;
  };
  return {
    async write(bytes) {
      sizeBytes += bytes.byteLength;
      for (let at = 0; at < bytes.byteLength; ) {
        const part = bytes.subarray(at, at + pieceBytes - filled);
        piece.set(part, filled);
        filled += part.byteLength;
        at += part.byteLength;
        if (filled === pieceBytes) endPiece();
      }
    },
    async finish() {
      if (filled > 0) endPiece();
      return { root: toHex(frontierRoot(frontier)) as Hash, sizeBytes };
    },
    async abort() {},
  };
}
