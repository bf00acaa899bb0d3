/**
 * @file Turns what a command threw into a sentence and an exit code: 2 for the operator's mistake, 1 for a failure.
 * No stack is shown for either; an unexpected fault of the program itself shows its stack.
 */
import { BaseError, UsageError } from '../util/errors.ts';

export interface Failure {
  readonly exitCode: 1 | 2;
  readonly code: string;
  readonly sentence: string;
  /** Only for our own bugs. */
  readonly stack: string | null;
}

/** What the system's error codes mean to an operator, and what to do. */
const systemSentences: Readonly<
  Record<string, (error: NodeJS.ErrnoException & { port?: number; address?: string }) => string>
> = {
  EADDRINUSE: (e) =>
    `port ${e.port ?? '?'} is taken by another program; choose another with --port, or stop that program`,
  EACCES: (e) => `no permission for ${e.path ?? 'a file or port'}; choose a place that this user may write to`,
  EPERM: (e) => `no permission for ${e.path ?? 'a file'}; choose a place that this user may write to`,
  ENOSPC: (e) =>
    `the disk is full${e.path ? ` (writing ${e.path})` : ''}; free some space and start again, nothing half-written was kept`,
  EDQUOT: (e) => `the disk quota is used up${e.path ? ` (writing ${e.path})` : ''}; free some space and start again`,
  EROFS: (e) => `${e.path ?? 'the folder'} is on a read-only disk; choose another folder`,
  ENOENT: (e) => `there is no file or folder at ${e.path ?? '?'}; check the path`,
  ENOTDIR: (e) => `expected a folder at ${e.path ?? '?'}, found a file; check the path`,
  EISDIR: (e) => `expected a file at ${e.path ?? '?'}, found a folder; check the path`,
  EMFILE: () => 'too many open files; raise the limit (ulimit -n) and start again',
  ECONNREFUSED: (e) =>
    `nothing answers at ${e.address ?? 'the address'}:${e.port ?? '?'}; is the network running there? check the URL`,
  ENOTFOUND: () => 'the host name of the URL is not known; check the URL',
  ERR_DLOPEN_FAILED: (e) => `a native package does not load (${e.message}); type: accrete doctor`,
  ERR_MODULE_NOT_FOUND: (e) =>
    e.message.startsWith('Cannot find package')
      ? `a package is missing (${e.message.split(' imported')[0]}); type: npm run setup`
      : `a file of this clone is missing (${e.message.split(' imported')[0]}); type: git status`,
};

const operatorMistakes = new Set(['EADDRINUSE']);

export function explainFailure(error: unknown): Failure {
  if (error instanceof UsageError) return { exitCode: 2, code: 'USAGE', sentence: error.message, stack: null };
  if (error instanceof BaseError) {
    const stack = error.code === 'ASSERTION' ? (error.stack ?? null) : null;
    const reason = systemError(error.cause);
    const exitCode = reason !== null && operatorMistakes.has(reason.code) ? 2 : 1;
    return { exitCode, code: error.code, sentence: error.message, stack };
  }
  const system = systemError(error);
  if (system !== null) return { exitCode: operatorMistakes.has(system.code) ? 2 : 1, ...system, stack: null };
  const message = error instanceof Error ? error.message : String(error);
  const stack = error instanceof Error ? (error.stack ?? null) : null;
  return { exitCode: 1, code: 'INTERNAL', sentence: `a fault of accrete itself: ${message}; please report it`, stack };
}

function systemError(error: unknown): { readonly code: string; readonly sentence: string } | null {
  for (let e = error, depth = 0; e instanceof Error && depth < 4; e = e.cause, depth++) {
    const code = (e as NodeJS.ErrnoException).code;
    const sentence = typeof code === 'string' ? systemSentences[code] : undefined;
    if (sentence !== undefined) return { code: code as string, sentence: sentence(e as NodeJS.ErrnoException) };
  }
  return null;
}
