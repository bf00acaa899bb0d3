/** @file Faults of one endpoint, which the layer above answers by asking another one, and refusals of a node, which it does not. */
import { BaseError, type ErrorDetails } from '../../util/errors.ts';

export type EndpointFaultCode = 'UNREACHABLE' | 'CLOSED' | 'TIMEOUT' | 'BAD_ANSWER' | 'WRONG_CHAIN' | 'BEHIND';

/** This endpoint failed; another may not. */
export class EndpointFault extends BaseError<EndpointFaultCode> {}

/** The node answered with a JSON-RPC error. */
export class RpcRefusal extends BaseError<'RPC_REFUSED'> {
  readonly rpcCode: number;
  /** Of the node: untrusted, bounded. */
  readonly data: unknown;

  constructor(rpcCode: number, message: string, data: unknown, details: ErrorDetails = {}) {
    super('RPC_REFUSED', message, details);
    this.rpcCode = rpcCode;
    this.data = data;
  }
}

export const badAnswer = (what: string, cause?: unknown): EndpointFault =>
  new EndpointFault('BAD_ANSWER', what, cause === undefined ? {} : { cause });
