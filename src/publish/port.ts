/** @file A place where releases are published: a repository of a hub, or a folder. */

/** A file by its path below the root (forward slashes); its bytes, or where they lie. */
export interface PublishFile {
  readonly path: string;
  readonly from: { readonly file: string } | { readonly bytes: Uint8Array };
}

export interface Publication {
  /** `release-7`: one a release, never moved. */
  readonly tag: string;
  /** One line. */
  readonly title: string;
  /** All files, in order of path. */
  readonly files: readonly PublishFile[];
}

/** What this run published last, and where. */
export interface LastPublished {
  readonly revision: string;
  readonly tag: string;
  /** Paths; those that the next publication lacks are removed from the branch. */
  readonly files: readonly string[];
}

export interface PublishOptions {
  readonly last: LastPublished | null;
  /** The revision that the branch must be at; takes the place of the last publication's. */
  readonly parent?: string;
  readonly signal: AbortSignal;
  /** Progress, a sentence at a time. */
  say(sentence: string): void;
}

export interface Published {
  readonly revision: string;
  readonly url: string;
  /** It was there already, whole. */
  readonly isKnown: boolean;
  /** The branch is at it: the next publication goes on from here. */
  readonly isHead: boolean;
}

export interface PublishTarget {
  /** As the operator gave it: `hf://owner/name`, or an absolute path. */
  readonly name: string;
  /**
   * All or nothing: what fails leaves the branch, the tags and the folder as they were, and may be asked for again, which
   * goes on with what has arrived. What is there already, whole, is not written again.
   * @throws PublishError
   */
  publish(publication: Publication, options: PublishOptions): Promise<Published>;
}
