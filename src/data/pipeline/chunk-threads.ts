/** @file Threads that make chunks. A job waits for a free thread, so that no more text is in memory than threads and one. */
import { Worker } from 'node:worker_threads';
import { assert } from '../../util/errors.ts';
import { DataError, type DataErrorCode } from '../errors.ts';
import type { Document } from './documents.ts';
import type { FilterSpec } from './filters.ts';

export interface ChunkSetup {
  readonly tokenizerJson: string;
  readonly endOfText: number;
  readonly filters: readonly FilterSpec[];
  /** Path of a module with more filters; null: none. */
  readonly filterModule: string | null;
  /** Of `gramsOf`; its memory is shared. */
  readonly gramTable: Uint32Array | null;
}

export interface ChunkJob {
  readonly documents: readonly (Document | null)[];
  readonly path: string;
}

export type ChunkReply =
  | { readonly ok: true; readonly bytes: number }
  | { readonly ok: false; readonly code: string; readonly message: string };

export class ChunkThreads {
  readonly #free: Worker[] = [];
  readonly #all: Worker[] = [];
  #waiting: (() => void)[] = [];
  #running = 0;
  #failure: Error | null = null;

  constructor(count: number, setup: ChunkSetup) {
    for (let i = 0; i < count; i++) {
      const worker = new Worker(new URL('./chunk-entry.mjs', import.meta.url), { workerData: setup });
      worker.on('error', (cause) =>
        this.#fail(new DataError('LIMIT', `a tokenising thread failed: ${String(cause)}`, { cause })),
      );
      this.#all.push(worker);
      this.#free.push(worker);
    }
  }

  /** Resolves once the job is with a thread; `done` is told when its chunk is written. Throws what an earlier job met. */
  async give(job: ChunkJob, done: (bytes: number) => void): Promise<void> {
    const worker = await this.#take();
    this.#running++;
    worker.once('message', (reply: ChunkReply) => {
      this.#running--;
      if (reply.ok) done(reply.bytes);
      else this.#fail(new DataError(reply.code as DataErrorCode, reply.message));
      this.#free.push(worker);
      this.#wake();
    });
    worker.postMessage(job);
  }

  /** Until no job runs. Throws what one met. */
  async drain(): Promise<void> {
    while (this.#running > 0 && this.#failure === null)
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    if (this.#failure !== null) throw this.#failure;
  }

  async close(): Promise<void> {
    await Promise.all(this.#all.map((worker) => worker.terminate()));
  }

  async #take(): Promise<Worker> {
    for (;;) {
      if (this.#failure !== null) throw this.#failure;
      const worker = this.#free.pop();
      if (worker !== undefined) return worker;
      assert(this.#all.length > 0, 'there are threads');
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#wake();
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
