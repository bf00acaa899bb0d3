/**
 * @file What an outsider can read of a run: journal, store, ledger and release folders. A port: `folder-record.ts` reads what a
 * run left on a disk, `http-record.ts` asks a running orchestrator. Nothing that it gives is trusted.
 */
import type { PublicGenesis } from '../ledger/genesis.ts';
import type { CallPage } from '../ledger/port.ts';
import type { ArtifactRef } from '../protocol/manifest.ts';
import type { Hash } from '../protocol/names.ts';

/** Bytes that hash to what was asked for, or why there are none. */
export type ArtifactAnswer =
  | { readonly kind: 'found'; readonly bytes: Uint8Array }
  | { readonly kind: 'missing' }
  /** `found`: what is there instead, e.g. its root or size. */
  | { readonly kind: 'damaged'; readonly found: string };

export interface LedgerRecord {
  readonly genesis: PublicGenesis;
  /** Of the made ones among [from, from + limit). `hash` is null where the record does not say it. */
  blocks(
    from: number,
    limit: number,
  ): Promise<readonly { readonly number: number; readonly salt: Hash; readonly hash: Hash | null }[]>;
  /** As the ledger port's `calls`. */
  calls(cursor: number, limit: number): Promise<CallPage>;
}

export interface ReleaseFile {
  readonly name: string;
  readonly sizeBytes: number;
}

/** Methods fail with VerifyError (`UNREADABLE`, `UNREACHABLE`) where the record cannot be read at all. */
export interface PublicRecord {
  /** Folder or URL, for people. */
  readonly name: string;
  /**
   * Entries from `from` on as text, in pages, up to the newest; also while more are appended. `from` is 0, or as many as were
   * read before: then what has been appended since.
   */
  journal(from: number): AsyncIterable<readonly string[]>;
  /** Bytes after the last whole entry, after `journal` ended; 0 after a clean end. */
  tornBytes(): Promise<number>;
  artifact(artifact: ArtifactRef): Promise<ArtifactAnswer>;
  /**
   * Bytes [from, to) of an artifact that does not fit into memory, unchecked: the reader checks pieces. Throws StoreError
   * `NOT_FOUND`, `SIZE_MISMATCH`. A record without it has no such artifacts.
   */
  part?(artifact: ArtifactRef, range: { readonly from: number; readonly to: number }): Promise<Uint8Array>;
  /** Null if the record has none. */
  ledger(): Promise<LedgerRecord | null>;
  /** Numbers of the releases whose folders are there, ascending. */
  releases(): Promise<readonly number[]>;
  /** Files of a release's folder by name; null if it is not there. */
  releaseFiles(release: number): Promise<readonly ReleaseFile[] | null>;
  releaseBytes(release: number, name: string): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}
