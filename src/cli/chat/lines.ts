/**
 * @file Lines that a person types, or that a pipe holds. At a terminal Ctrl-C is told to whoever answers just now, and ends
 * the lines when nobody does. The terminal is as it was before once `close` has run.
 */
import { createInterface } from 'node:readline';

export interface Lines {
  /** The next line; null at the end (Ctrl-D, end of the pipe), and after Ctrl-C while nobody answered. */
  next(): Promise<string | null>;
  /** Whether Ctrl-C ended the lines. */
  readonly isInterrupted: boolean;
  /** Aborts at the next Ctrl-C, which then ends no lines. */
  answering<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T>;
  close(): void;
}

const maxLineLength = 1 << 20;

export function openLines(input: NodeJS.ReadStream, output: NodeJS.WriteStream, stop: AbortSignal): Lines {
  const isTerminal = input.isTTY === true && output.isTTY === true;
  const reader = createInterface({ input, ...(isTerminal ? { output, prompt: '> ' } : {}), terminal: isTerminal });
  const waiting: string[] = [];
  let wake: (() => void) | null = null;
  let isEnded = false;
  let isInterrupted = false;
  let answer: AbortController | null = null;
  const end = (): void => {
    isEnded = true;
    wake?.();
  };
  const interrupt = (): void => {
    if (answer !== null && !answer.signal.aborted) answer.abort(new Error('interrupted'));
    else {
      isInterrupted = true;
      reader.close();
    }
  };
  reader.on('line', (line) => {
    waiting.push(line.slice(0, maxLineLength));
    wake?.();
  });
  reader.on('close', end);
  reader.on('SIGINT', interrupt);
  // A signal from elsewhere (kill) ends both the answer and the lines.
  const onStop = (): void => {
    answer?.abort(new Error('interrupted'));
    isInterrupted = true;
    reader.close();
  };
  if (stop.aborted) onStop();
  stop.addEventListener('abort', onStop, { once: true });
  return {
    get isInterrupted() {
      return isInterrupted;
    },
    async next() {
      if (isTerminal && !isEnded && waiting.length === 0) reader.prompt();
      while (waiting.length === 0 && !isEnded) await new Promise<void>((resolve) => void (wake = resolve));
      wake = null;
      return isInterrupted ? null : (waiting.shift() ?? null);
    },
    async answering(work) {
      answer = new AbortController();
      if (stop.aborted) answer.abort(new Error('interrupted'));
      try {
        return await work(answer.signal);
      } finally {
        answer = null;
      }
    },
    close() {
      stop.removeEventListener('abort', onStop);
      reader.close();
    },
  };
}
