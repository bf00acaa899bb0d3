/** @file Server-sent events of one answer: written as fast as the client reads, given up when it does not read at all. */
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';

/** A client that takes nothing for so long is gone. */
const stalledMs = 60_000;

export class EventStream {
  readonly #response: ServerResponse;

  constructor(response: ServerResponse) {
    this.#response = response;
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      // A proxy in between must not collect tokens.
      'x-accel-buffering': 'no',
      'x-content-type-options': 'nosniff',
    });
    // Who waits for a place knows at once that he is in.
    response.flushHeaders();
  }

  /** Resolves when the client can take more. Never rejects: who is gone shows by the response's `close`. */
  async send(value: object | '[DONE]'): Promise<void> {
    const response = this.#response;
    if (response.destroyed || response.writableEnded) return;
    if (response.write(`data: ${typeof value === 'string' ? value : JSON.stringify(value)}\n\n`)) return;
    const waiting = new AbortController();
    const timer = setTimeout(() => response.destroy(), stalledMs);
    const options = { signal: waiting.signal };
    await Promise.race([once(response, 'drain', options), once(response, 'close', options)]).catch(() => undefined);
    clearTimeout(timer);
    waiting.abort();
  }

  end(): void {
    this.#response.end();
  }
}
