/** @file The three ways in which `accrete up` shows itself: a live screen, one line per event, or JSON lines. */
import { createLogUpdate } from 'log-update';
import pc from 'picocolors';
import type { Io } from '../io.ts';
import { formatEvent, type NetworkEvent } from './events.ts';
import { renderScreen } from './screen.ts';
import type { ViewFrame } from './view.ts';

export interface Display {
  event(event: NetworkEvent): void;
  frame(frame: ViewFrame): void;
  /** Leaves the last frame standing; lines may follow. */
  close(): void;
  /** What `frame` should show as the last thing that happened. */
  readonly lastEvent: string;
}

export function createDisplay(io: Io, options: { readonly json: boolean; readonly nowMs: () => number }): Display {
  if (options.json) return new JsonDisplay(io, options.nowMs);
  return io.terminal === null ? new LineDisplay(io, options.nowMs) : new LiveDisplay(io.terminal.stream);
}

class JsonDisplay implements Display {
  readonly lastEvent = '';
  readonly #io: Io;
  readonly #nowMs: () => number;

  constructor(io: Io, nowMs: () => number) {
    this.#io = io;
    this.#nowMs = nowMs;
  }

  event(event: NetworkEvent): void {
    this.#io.out(JSON.stringify({ timeMs: this.#nowMs(), ...event }));
  }

  frame(): void {}
  close(): void {}
}

class LineDisplay implements Display {
  readonly lastEvent = '';
  readonly #io: Io;
  readonly #nowMs: () => number;

  constructor(io: Io, nowMs: () => number) {
    this.#io = io;
    this.#nowMs = nowMs;
  }

  event(event: NetworkEvent): void {
    this.#io.out(`${new Date(this.#nowMs()).toISOString().slice(11, 19)} ${formatEvent(event)}`);
  }

  frame(): void {}
  close(): void {}
}

class LiveDisplay implements Display {
  lastEvent = '';
  readonly #stream: NodeJS.WriteStream;
  readonly #update: ReturnType<typeof createLogUpdate>;

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
    this.#update = createLogUpdate(stream);
  }

  event(event: NetworkEvent): void {
    if (event.event !== 'progress') this.lastEvent = formatEvent(event);
  }

  frame(frame: ViewFrame): void {
    const { columns = 80, rows = 24 } = this.#stream;
    this.#update(renderScreen(frame, { columns, rows, color: pc.isColorSupported }).join('\n'));
  }

  close(): void {
    this.#update.done();
  }
}
