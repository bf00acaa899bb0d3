/** @file Checks that every bus makes before it takes a message. */
import { BusError } from './errors.ts';
import { maxPayloadBytes } from './port.ts';

/** Dotted names; hashes, hotkeys and learner ids may be parts of them. */
export function checkTopic(topic: string): void {
  if (/^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$/.test(topic)) return;
  throw new BusError(
    'BAD_TOPIC',
    `expected a topic of 1-200 letters, digits and . _ / -, got ${topic.length} characters`,
  );
}

export function checkPayload(topic: string, payload: string, limitBytes = maxPayloadBytes): void {
  // A UTF-16 unit takes at most 3 bytes of UTF-8: the exact count is only needed near the limit.
  if (payload.length * 3 <= limitBytes) return;
  const sizeBytes = Buffer.byteLength(payload);
  if (sizeBytes <= limitBytes) return;
  throw new BusError(
    'TOO_LARGE',
    `${topic}: expected at most ${limitBytes} bytes, got ${sizeBytes}; put bulk into the store and send its root`,
    { context: { topic, sizeBytes, limitBytes } },
  );
}
