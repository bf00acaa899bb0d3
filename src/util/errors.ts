/** @file The error classes that every layer shares: what was expected, what came, what to do; callers match on code. */

export interface ErrorDetails {
  readonly context?: Readonly<Record<string, unknown>>;
  readonly retryable?: boolean;
  readonly cause?: unknown;
}

/** An environment's failure. Each layer derives its own class with a union of codes in its `errors.ts`. */
export class BaseError<Code extends string = string> extends Error {
  readonly code: Code;
  readonly context: Readonly<Record<string, unknown>>;
  readonly retryable: boolean;

  constructor(code: Code, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.code = code;
    this.context = details.context ?? {};
    this.retryable = details.retryable ?? false;
  }
}

/** The operator's mistake: the CLI prints the sentence without a stack and exits with code 2. */
export class UsageError extends BaseError<'USAGE'> {
  constructor(message: string, details: ErrorDetails = {}) {
    super('USAGE', message, details);
  }
}

/** Our own bug: the process may die. */
export class AssertionError extends BaseError<'ASSERTION'> {
  constructor(message: string) {
    super('ASSERTION', message);
  }
}

export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

export function assertNever(value: never): never {
  throw new AssertionError(`unexpected variant: ${JSON.stringify(value)}`);
}
