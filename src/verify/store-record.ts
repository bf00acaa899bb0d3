/** @file Artifacts from a store over HTTP: an orchestrator's, a public bucket's or a mirror's, in the words of a record. */
import type { ArtifactRef } from '../protocol/manifest.ts';
import { notFound, StoreError } from '../store/errors.ts';
import type { HttpStore } from '../store/http-client.ts';
import { VerifyError } from './errors.ts';
import type { ArtifactAnswer, PublicRecord } from './record.ts';

/** @throws VerifyError UNREACHABLE */
export async function artifactFrom(
  store: HttpStore,
  artifact: ArtifactRef,
  options: { readonly signal?: AbortSignal },
): Promise<ArtifactAnswer> {
  try {
    return { kind: 'found', bytes: await store.get(artifact, options) };
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    // A bucket that nobody may list says of what it does not have that it is forbidden.
    if (error.code === 'NOT_FOUND' || error.code === 'FORBIDDEN') return { kind: 'missing' };
    if (error.code === 'HASH_MISMATCH' || error.code === 'SIZE_MISMATCH')
      return { kind: 'damaged', found: error.message };
    throw new VerifyError('UNREACHABLE', error.message, { cause: error, retryable: error.retryable });
  }
}

/** A part of one, unchecked. @throws StoreError, VerifyError UNREACHABLE */
export async function partFrom(
  store: HttpStore,
  artifact: ArtifactRef,
  range: { readonly from: number; readonly to: number },
  options: { readonly signal?: AbortSignal },
): Promise<Uint8Array> {
  try {
    return await store.parts.read(artifact, range, options);
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    if (error.code === 'FORBIDDEN') throw notFound(artifact.root); // see above
    if (!['UNAVAILABLE', 'BUSY'].includes(error.code)) throw error;
    throw new VerifyError('UNREACHABLE', error.message, { cause: error, retryable: error.retryable });
  }
}

/** A record whose artifacts are read elsewhere; all else is its own. */
export function withStore(record: PublicRecord, store: HttpStore, signal: AbortSignal): PublicRecord {
  return {
    name: record.name,
    journal: (from) => record.journal(from),
    tornBytes: () => record.tornBytes(),
    artifact: (artifact) => artifactFrom(store, artifact, { signal }),
    part: (artifact, range) => partFrom(store, artifact, range, { signal }),
    ledger: () => record.ledger(),
    releases: () => record.releases(),
    releaseFiles: (release) => record.releaseFiles(release),
    releaseBytes: (release, name) => record.releaseBytes(release, name),
    close: () => record.close(),
  };
}
