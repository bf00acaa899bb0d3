/** @file A checkpoint that lies elsewhere: its files, what their bytes must be, and a way to read a range of them. */

/** How bytes are checked. */
export type FileCheck =
  /** Leaf hashes of the pieces, which the record's root covers: each piece is checked as it comes. */
  | { readonly kind: 'pieces'; readonly pieceBytes: number; readonly hashes: readonly string[] }
  /** One hash over all, when all is there: in hexadecimal. */
  | { readonly kind: 'whole'; readonly algorithm: 'sha256' | 'git-sha1' | 'artifact-root'; readonly hash: string };

export interface PullFile {
  /** Path below the target, with forward slashes. */
  readonly name: string;
  readonly sizeBytes: number;
  readonly check: FileCheck;
}

export interface PullSource {
  /** For people: the URL and the release. */
  readonly name: string;
  /** Tells sources apart: what was fetched of another one does not count. */
  readonly identity: string;
  readonly files: readonly PullFile[];
  /** Bytes [from, to) of a file. Fails with PullError; UNREACHABLE is worth another try. */
  read(file: PullFile, range: { readonly from: number; readonly to: number }): AsyncIterable<Uint8Array>;
}
