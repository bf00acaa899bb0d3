/** @file NATS's failures as the bus names them. */
import { JetStreamApiError } from '@nats-io/jetstream';
import {
  AuthorizationError,
  ClosedConnectionError,
  DrainingConnectionError,
  InvalidArgumentError,
  NoRespondersError,
  PermissionViolationError,
  TimeoutError,
  UserAuthenticationExpiredError,
} from '@nats-io/transport-node';
import { BusError, type BusErrorCode } from '../errors.ts';

/** `err_code` of JetStream's API. */
const wrongLastSequence = 10_071;
const tooManyMessages = 10_077;
const streamNotFound = 10_059;

/** The failure, or the cause of it that NATS wrapped. */
export function asBusError(topic: string, error: unknown): BusError {
  if (error instanceof BusError) return error;
  for (let cause: unknown = error, depth = 0; cause instanceof Error && depth < 4; cause = cause.cause, depth++) {
    const known = codeOf(cause);
    if (known === null) continue;
    const [code, sentence, retryable = false] = known;
    return new BusError(code, `${topic}: ${sentence}`, { retryable, cause: error });
  }
  const words = error instanceof Error ? error.message : String(error);
  return new BusError('INTERNAL', `${topic}: NATS failed: ${words.slice(0, 300)}`, { cause: error });
}

function codeOf(error: Error): readonly [BusErrorCode, string, boolean?] | null {
  if (error instanceof PermissionViolationError)
    return ['FORBIDDEN', `the server allows no ${error.operation} of ${error.subject}`];
  if (error instanceof NoRespondersError) return ['NO_RESPONDER', 'nobody answers this topic now; try again', true];
  if (error instanceof TimeoutError) return ['TIMEOUT', 'no answer in time; try again', true];
  if (error instanceof ClosedConnectionError || error instanceof DrainingConnectionError)
    return ['CLOSED', 'the bus is closed; try again once it is connected', true];
  if (error instanceof AuthorizationError || error instanceof UserAuthenticationExpiredError)
    return ['FORBIDDEN', `the server does not know these credentials (${error.message})`];
  if (error instanceof InvalidArgumentError && /max_payload/.test(error.message)) return ['TOO_LARGE', error.message];
  if (!(error instanceof JetStreamApiError)) return null;
  switch (error.code) {
    case wrongLastSequence:
      return ['OUT_OF_PLACE', error.message];
    case tooManyMessages:
      return ['BUSY', 'as many messages wait as may; wait for some to be taken', true];
    case streamNotFound:
      return ['NO_RESPONDER', 'its stream is not there yet; try again', true];
    default:
      return null;
  }
}
