/** @file What can go wrong between a release and the place where it is published. Nothing is half-published after any of them. */
import { BaseError } from '../util/errors.ts';

export type PublishErrorCode =
  /** 401: the hub does not know the token. */
  | 'UNAUTHORISED'
  /** 403: the token may not write there. */
  | 'FORBIDDEN'
  /** The branch is not where it was when this run last published, or when this publishing began. */
  | 'MOVED'
  /** The release's tag or folder is there with other files; releases are not rewritten. */
  | 'TAKEN'
  /** 429, for longer than is waited here. */
  | 'RATE_LIMITED'
  /** 5xx, or another status that the protocol does not have here. */
  | 'HUB_FAILED'
  /** The connection cannot be made, or breaks again and again. */
  | 'UNREACHABLE'
  /** An answer that is none of the hub's protocol. */
  | 'BAD_ANSWER'
  /** A file to publish changed or vanished meanwhile. */
  | 'FILE_CHANGED'
  /** Stopped by a signal. */
  | 'INTERRUPTED';

export class PublishError extends BaseError<PublishErrorCode> {}
