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
  /** For artifacts that do not fit into memory; left out where there are none. */
  readonly parts?: StoreParts;
  /** Removes an artifact (retention); false if it was not there. Remote stores refuse with `FORBIDDEN`. */
  remove(root: Hash): Promise<boolean>;
}

/**
 * Small objects under names that are taken once and never change: what syncers share (`journal/shared-log.ts`). A name is
 * lower-case letters, digits, `-` and `/`.
 */
export interface WriteOnce {
  /**
   * Takes the name: true if this call took it, durably, false if it was taken before, also with these bytes. Of two calls at once one
   * gives true. A reader sees all bytes or none. After a retryable failure (`UNAVAILABLE`, `BUSY`) the name may be taken or not: ask for it.
   */
  putNew(name: string, bytes: Uint8Array): Promise<boolean>;
  /** Null while nobody took the name; `TOO_LARGE` for more than `maxObjectBytes`. */
  get(name: string): Promise<Uint8Array | null>;
}

export const maxObjectBytes = 64 * 1024 * 1024;

export const isObjectName = (name: string): boolean => name.length <= 200 && /^[a-z0-9-]+(\/[a-z0-9-]+)*$/.test(name);
/** Artifacts in parts: read by range, written as they come. */
export interface StoreParts {
  /**
   * Bytes [from, to) as they are stored, unchecked: whoever reads checks pieces against the root (`roles/artifact-reader.ts`).
   * `NOT_FOUND`, `SIZE_MISMATCH`, `UNAVAILABLE`.
   */
  read(
    artifact: ArtifactRef,
    range: { readonly from: number; readonly to: number },
    options?: { readonly signal?: AbortSignal },
  ): Promise<Uint8Array>;
  /**
   * An artifact of `sizeBytes` whose root is known only when its last byte has come. `DISK_FULL` before anything is written.
   * A remote store takes none: a grant names a root.
   */
  create?(sizeBytes: number): Promise<ArtifactWriter>;
}

/** One of `finish` and `abort` ends it. */
export interface ArtifactWriter {
  /** The bytes may be changed afterwards. */
  write(bytes: Uint8Array): Promise<void>;
  /** Keeps the artifact under its root, atomically. `SIZE_MISMATCH` if it has not the stated size. */
  finish(): Promise<ArtifactRef>;
  /** Nothing stays. */
  abort(): Promise<void>;
}
