/**
 * @file A release's files: fetched whole, cut into pieces of 4 MiB, each hashed, their Merkle root beside the one that the journal
 * names. The store and the release's folder are two places of the same bytes; where one differs, so is told.
 */
import { pieceBytes, pieceCountOf } from '../../../src/protocol/artifact.ts';
import { sha256 } from '../../../src/protocol/hash.ts';
import { leafPrefix, treeHash } from '../../../src/protocol/merkle.ts';
import type { NamedFile } from '../../../src/protocol/record-check.ts';
import { concatBytes, toHex } from '../../../src/util/bytes.ts';
import { fetchBytes } from './fetching.ts';
import type { StepFault } from './progress.ts';

/** A page of a browser can hold no more; larger files are left to `accrete verify`, and said so. */
const maxFileBytes = 512 * 1024 * 1024;

export interface ReleaseResult {
  readonly files: number;
  readonly pieces: number;
  readonly bytes: number;
  /** Names of what was not there, or too large for a page. */
  readonly left: readonly string[];
  readonly fault: StepFault | null;
}

export async function checkRelease(
  base: URL,
  release: number,
  files: readonly NamedFile[],
  onProgress: (file: string, pieces: number) => void,
): Promise<ReleaseResult> {
  const sum = { files: 0, pieces: 0, bytes: 0 };
  const left: string[] = [];
  for (const { name, artifact } of files) {
    const { root, sizeBytes } = artifact;
    const places = [`releases/${release}/${encodeURIComponent(name)}`, `store/${root}`];
    let isThere = false;
    for (const path of sizeBytes > maxFileBytes ? [] : places) {
      const bytes = await fetchBytes(new URL(path, base), sizeBytes);
      if (bytes === null) continue;
      isThere = true;
      const fault = (expected: string, found: string): ReleaseResult => ({
        ...{ ...sum, left },
        fault: { seq: null, event: `release ${release}, ${name} at /${path}`, expected, found },
      });
      if (bytes.byteLength !== sizeBytes) return fault(`${sizeBytes} bytes`, `${bytes.byteLength} bytes`);
      const found = await rootOf(bytes);
      sum.pieces += pieceCountOf(sizeBytes);
      if (found !== root) return fault(`root ${root} over ${pieceCountOf(sizeBytes)} pieces`, found);
      onProgress(name, sum.pieces);
    }
    if (!isThere) left.push(name);
    else {
      sum.files++;
      sum.bytes += sizeBytes;
    }
  }
  return { ...sum, left, fault: null };
}

/** The browser hashes pieces where it may (a secure context); else the pure code does. */
async function rootOf(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const leaves: Uint8Array[] = [];
  for (let at = 0; at < bytes.byteLength; at += pieceBytes) {
    const piece = bytes.subarray(at, at + pieceBytes);
    leaves.push(
      globalThis.crypto?.subtle === undefined
        ? sha256(leafPrefix, piece)
        : new Uint8Array(
            await crypto.subtle.digest('SHA-256', concatBytes(leafPrefix, piece) as Uint8Array<ArrayBuffer>),
          ),
    );
  }
  return toHex(treeHash(leaves));
}
