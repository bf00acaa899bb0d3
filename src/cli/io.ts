/**
 * @file What a command may touch of the terminal and the process: output, its width, the environment, the stop signal.
 * Handed to handlers, so that tests run whole commands in their own process.
 */

import type { Socket } from 'node:net';

export interface Io {
  /** Results: one line to standard output. */
  out(line: string): void;
  /** A piece of a result, without a line's end. */
  write(text: string): void;
  /** Progress and faults: one line to standard error. */
  err(line: string): void;
  /** A live terminal; null where output is a pipe or a file. */
  readonly terminal: { readonly stream: NodeJS.WriteStream } | null;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Aborts at the first SIGINT or SIGTERM. */
  readonly stop: AbortSignal;
  /** Aborts at the second one: leave now. */
  readonly force: AbortSignal;
}

/** The real process. Its signal handlers are installed once, when a command runs. */
export function processIo(): Io {
  const stop = new AbortController();
  const force = new AbortController();
  const onSignal = (): void => {
    if (stop.signal.aborted) force.abort(new Error('stopped twice'));
    else stop.abort(new Error('stopped by a signal'));
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  process.on('SIGHUP', onSignal);
  if (process.env.ACCRETE_SUPERVISED === '1') stopWithSupervisor(onSignal);
  // A closed pipe (`accrete status | head`) ends the program quietly.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    throw error;
  });
  return {
    out: (line) => void process.stdout.write(`${line}\n`),
    write: (text) => void process.stdout.write(text),
    err: (line) => void process.stderr.write(`${line}\n`),
    terminal: process.stdout.isTTY ? { stream: process.stdout } : null,
    environment: process.env,
    cwd: process.cwd(),
    stop: stop.signal,
    force: force.signal,
  };
}

/** A child of `accrete up` holds the other end of a pipe as standard input: it closes when the supervisor is gone. */
function stopWithSupervisor(onEnd: () => void): void {
  process.stdin.once('end', onEnd).once('error', onEnd).resume();
  (process.stdin as Partial<Socket>).unref?.();
}
