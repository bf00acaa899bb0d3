/** @file Refusals in OpenAI's form: status, type, code, the parameter that is at fault, and a sentence. */
import type { z } from 'zod';
import { InferenceError } from '../inference/errors.ts';

export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string | null;
  };
}

export interface FaultDetails {
  readonly status?: number;
  readonly type?: string;
  readonly param?: string | null;
  readonly code?: string | null;
  readonly retryAfterSeconds?: number;
}

/** The client's mistake, unless its status says otherwise. */
export class ApiFault extends Error {
  readonly status: number;
  readonly body: ErrorBody;
  readonly retryAfterSeconds: number | null;

  constructor(message: string, details: FaultDetails = {}) {
    super(message);
    const { status = 400, type = 'invalid_request_error', param = null, code = null } = details;
    this.status = status;
    this.body = { error: { message, type, param, code } };
    this.retryAfterSeconds = details.retryAfterSeconds ?? null;
  }
}

/** The first fault that the schema found; an unknown field is told as one. */
export function faultOf({ issues }: z.ZodError): ApiFault {
  const issue = issues[0]!;
  if (issue.code === 'unrecognized_keys') {
    const param = issue.keys[0]!.slice(0, 64);
    const sentence = `'${param}' is not supported by this server; leave it out`;
    return new ApiFault(sentence, { param: [...issue.path, param].join('.'), code: 'unsupported_parameter' });
  }
  const param = issue.path.join('.').slice(0, 64);
  return new ApiFault(`${param || 'the request'}: ${issue.message.slice(0, 300)}`, { param: param || null });
}

/** Of whatever was thrown; null for what only the log may see. */
export function knownFault(error: unknown): ApiFault | null {
  if (error instanceof ApiFault) return error;
  if (error instanceof InferenceError) return inferenceFault(error);
  const { statusCode, code, message } = error as {
    readonly statusCode?: number;
    readonly code?: string;
    readonly message: string;
  };
  if (statusCode === undefined || statusCode >= 500) return null;
  return new ApiFault(message.slice(0, 200), { status: statusCode, code: code?.toLowerCase() ?? null });
}

function inferenceFault({ code, message, retryable }: InferenceError): ApiFault | null {
  if (code === 'CONTEXT_LENGTH_EXCEEDED')
    return new ApiFault(message, { param: 'max_tokens', code: 'context_length_exceeded' });
  if (code === 'NO_CHAT_TEMPLATE' || code === 'BAD_CHAT_TEMPLATE')
    return new ApiFault(message, { param: 'messages', code: code.toLowerCase() });
  if (code === 'QUEUE_FULL') return queueFull(message);
  return new ApiFault(message, { status: 503, type: 'server_error', code: code.toLowerCase(), ...retry(retryable) });
}

const retry = (isRetryable: boolean): FaultDetails => (isRetryable ? { retryAfterSeconds: 1 } : {});

export const queueFull = (message: string, retryAfterSeconds = 1): ApiFault =>
  new ApiFault(message, { status: 429, type: 'rate_limit_error', code: 'queue_full', retryAfterSeconds });

export const internalFault = (): ApiFault =>
  new ApiFault('the server failed; its log says how', { status: 500, type: 'server_error', code: 'internal' });
