/** @file Text of a sequence as it comes: tokens become whole characters, stop strings end it, and the reason is told. */
import { TextStream } from '../data/text-stream.ts';
import type { TokenLogprobs } from './logprobs.ts';
import type { Scheduler, SequenceRequest } from './scheduler.ts';

export interface DrawnToken {
  readonly id: number;
  readonly logprobs: TokenLogprobs | null;
}

export interface CompletionPart {
  /** May be empty: a character, or what may be a stop string, is not whole yet. */
  readonly text: string;
  /** Drawn since the part before. */
  readonly tokens: readonly DrawnToken[];
  /** Of the last part. `stop`: the model's end of text, or a stop string. */
  readonly finish: 'stop' | 'length' | null;
}

export interface CompletionRequest extends SequenceRequest {
  /** The text ends before the first of these. */
  readonly stops: readonly string[];
}

/** Ends the sequence when the reader stops reading. */
export async function* complete(
  scheduler: Scheduler,
  decode: (ids: readonly number[]) => string,
  request: CompletionRequest,
): AsyncGenerator<CompletionPart, void> {
  const ending = new AbortController();
  const signal = request.signal === undefined ? ending.signal : AbortSignal.any([request.signal, ending.signal]);
  const stream = new TextStream({ decode, stops: request.stops });
  try {
    for await (const event of scheduler.submit({ ...request, signal })) {
      if (event.kind === 'end') return yield { text: stream.end(), tokens: [], finish: event.reason };
      const tokens = [{ id: event.id, logprobs: event.logprobs }];
      const text = stream.push(event.id);
      if (stream.isStopped) return yield { text: text + stream.end(), tokens, finish: 'stop' };
      yield { text, tokens, finish: null };
    }
  } finally {
    ending.abort(new Error('nobody reads on'));
  }
}
