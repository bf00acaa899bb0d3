/** @file The store: immutable bytes under their artifact root. Write-once; whoever reads checks. */
import type { ArtifactRef } from '../protocol/manifest.ts';
import type { Hash } from '../protocol/names.ts';

/** Permission to write exactly one artifact, issued by who owns the store. */
export interface WriteGrant {
  readonly artifact: ArtifactRef;
  readonly token: string;
  readonly expiresAtMs: number;
}

export interface Store {
  /**
   * Keeps the bytes under their root, atomically (temporary name, fsync, rename). Refuses bytes that do not hash to
   * `expected` (`HASH_MISMATCH`) or are of another size (`SIZE_MISMATCH`); the same bytes twice is no error.
   * `DISK_FULL` before half an object is visible. A remote store needs a grant (`FORBIDDEN` without).
   */
  put(
    expected: ArtifactRef,
    bytes: Uint8Array,
    options?: { readonly grant?: WriteGrant; readonly signal?: AbortSignal },
  ): Promise<void>;
  /** The whole artifact, checked piece by piece against its root; `NOT_FOUND`, `HASH_MISMATCH`, `UNAVAILABLE`. */
  get(artifact: ArtifactRef, options?: { readonly signal?: AbortSignal }): Promise<Uint8Array>;
  /** Size in bytes, or null if it is not there. */
  stat(root: Hash): Promise<number | null>;
  /** Removes an artifact (retention); false if it was not there. Remote stores refuse with `FORBIDDEN`. */
  remove(root: Hash): Promise<boolean>;
}
