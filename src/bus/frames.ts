/**
 * @file Frames of the bus over a network, version 1: one text message each, a JSON header of one line, then "\n", then
 * the payload as it is (so that a payload of JSON is not escaped a second time). Both ends speak the same frames.
 */
import { z } from 'zod';
import { countSchema } from '../protocol/names.ts';
import { BusError } from './errors.ts';
import { maxPayloadBytes } from './port.ts';

/** Name of the WebSocket subprotocol: an end of another version is refused in the handshake. */
export const busSubprotocol = 'accrete-bus-1';
export const maxHeaderBytes = 8_192;
export const maxFrameBytes = maxPayloadBytes + maxHeaderBytes;
/** The longest that a request may wait at the far end. */
export const maxRequestMs = 600_000;

const id = countSchema;
const topic = z.string().max(200);

const headerSchema = z.discriminatedUnion('kind', [
  /** Asks the other end to do something; answered by `result` or `failure` with the same id. */
  z.strictObject({
    kind: z.literal('call'),
    id,
    operation: z.enum(['publish', 'subscribe', 'unsubscribe', 'request', 'respond', 'unrespond']),
    topic,
    timeoutMs: countSchema.max(maxRequestMs),
  }),
  z.strictObject({ kind: z.literal('result'), id }),
  z.strictObject({
    kind: z.literal('failure'),
    id,
    code: z.string().min(1).max(64),
    message: z.string().max(2_000),
    retryable: z.boolean(),
  }),
  /** The caller has given up; no answer is wanted. */
  z.strictObject({ kind: z.literal('cancel'), id }),
  /** A published message for a subscriber; not answered. */
  z.strictObject({ kind: z.literal('deliver'), topic }),
]);
export type FrameHeader = z.infer<typeof headerSchema>;
export type CallOperation = Extract<FrameHeader, { kind: 'call' }>['operation'];

export function encodeFrame(header: FrameHeader, payload = ''): string {
  return `${JSON.stringify(header)}\n${payload}`;
}

/** Throws BusError `INTERNAL` for what no correct end sends; the connection is then of no use. */
export function decodeFrame(text: string): { readonly header: FrameHeader; readonly payload: string } {
  const end = text.indexOf('\n');
  if (end < 0 || end > maxHeaderBytes) throw new BusError('INTERNAL', 'a bus frame without a header line');
  let json: unknown;
  try {
    json = JSON.parse(text.slice(0, end));
  } catch (cause) {
    throw new BusError('INTERNAL', 'a bus frame whose header is no JSON', { cause });
  }
  const parsed = headerSchema.safeParse(json);
  if (!parsed.success) {
    throw new BusError('INTERNAL', `a bus frame with a bad header: ${z.prettifyError(parsed.error).slice(0, 300)}`);
  }
  return { header: parsed.data, payload: text.slice(end + 1) };
}
