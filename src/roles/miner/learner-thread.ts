/**
 * @file A learner in a thread of its own. A run of the tensor engine holds the thread that asks for it, so that without
 * this, heartbeats, uploads and the journal would wait for every inner step.
 */

import { Worker } from 'node:worker_threads';
import type { Device } from '../../engine/device.ts';
import type { RunManifest } from '../../protocol/manifest.ts';
import type { Hash } from '../../protocol/names.ts';
import { RoleError } from '../errors.ts';
import type { PublishedFragment, StepReport } from '../learner/learner.ts';
import { readKeptState, type StateFolderOptions } from '../learner/state-folder.ts';
import type { PhaseTerms } from '../run-data.ts';
import type { TrainPlan } from './events.ts';

/** What the thread is started with; it crosses by structured clone. */
export interface ThreadSetup {
  readonly manifest: RunManifest;
  readonly threads: number;
  /** Default cpu. */
  readonly device?: Device;
  readonly start: readonly PublishedFragment[];
  readonly frozen: Uint8Array | null;
  /** Of a shard cache; the shards of a step are held there while it is done. */
  readonly shardDir: string;
  /** Where states are kept for audits; `committedSteps`: the learner's, those that the journal knows. */
  readonly states: StateFolderOptions & { readonly committedSteps: number };
}

export interface ThreadStepReport extends StepReport {
  /** Why a state was not kept; it may have been handed over some steps ago. */
  readonly stateFault: string | null;
}

export type ThreadCall =
  | { readonly kind: 'prepare'; readonly phase: number; readonly terms: PhaseTerms }
  | { readonly kind: 'step'; readonly plan: TrainPlan }
  | { readonly kind: 'claim'; readonly fragment: number }
  | { readonly kind: 'take-in'; readonly fragment: number; readonly published: PublishedFragment }
  | { readonly kind: 'close' };

export interface ThreadRequest {
  readonly id: number;
  readonly call: ThreadCall;
}

export type ThreadReply =
  | { readonly id: number; readonly ok: true; readonly value: unknown }
  | { readonly id: number; readonly ok: false; readonly code: string; readonly message: string };

/** Calls are done one after another, in the order in which they were made. Failures: RoleError LEARNER_FAILED. */
export interface LearnerThread {
  /** `terms`: of now, as far as the phase needs them. */
  prepare(phase: number, terms: PhaseTerms): Promise<void>;
  step(plan: TrainPlan): Promise<ThreadStepReport>;
  claim(fragment: number): Promise<Uint8Array>;
  takeIn(fragment: number, published: PublishedFragment): Promise<void>;
  /** A state of the past by the name that the trace has for it; null where it is not kept any more. */
  keptState(root: Hash): Promise<Uint8Array | null>;
  /** Waits for the calls made before it. */
  close(): Promise<void>;
}

export function startLearnerThread(setup: ThreadSetup): LearnerThread {
  const thread = new Thread(setup);
  return {
    prepare: (phase, terms) => thread.call({ kind: 'prepare', phase, terms }) as Promise<void>,
    step: (plan) => thread.call({ kind: 'step', plan }) as Promise<ThreadStepReport>,
    claim: (fragment) => thread.call({ kind: 'claim', fragment }) as Promise<Uint8Array>,
    takeIn: (fragment, published) => thread.call({ kind: 'take-in', fragment, published }) as Promise<void>,
    // Not by the thread: a step would have to end first.
    keptState: (root) => readKeptState(setup.states.dir, root),
    close: () => thread.close(),
  };
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

class Thread {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #failure: Error | null = null;
  #nextId = 0;

  constructor(setup: ThreadSetup) {
    this.#worker = new Worker(new URL('./learner-entry.mjs', import.meta.url), { workerData: setup });
    this.#worker.on('message', (reply: ThreadReply) => this.#settle(reply));
    this.#worker.on('error', (cause) => this.#fail(`the learner's thread failed: ${String(cause)}`, cause));
    this.#worker.on('exit', (code) => this.#fail(`the learner's thread ended with code ${code}`));
  }

  call(call: ThreadCall): Promise<unknown> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      const request: ThreadRequest = { id, call };
      this.#worker.postMessage(request);
    });
  }

  async close(): Promise<void> {
    if (this.#failure !== null) return;
    await this.call({ kind: 'close' });
    this.#failure = new RoleError('LEARNER_FAILED', 'the learner was closed');
    await this.#worker.terminate();
  }

  #settle(reply: ThreadReply): void {
    const waiting = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if (reply.ok) waiting?.resolve(reply.value);
    else waiting?.reject(new RoleError('LEARNER_FAILED', `${reply.code}: ${reply.message}`));
  }

  #fail(message: string, cause?: unknown): void {
    this.#failure ??= new RoleError('LEARNER_FAILED', message, { cause });
    for (const { reject } of this.#waiting.values()) reject(this.#failure);
    this.#waiting.clear();
  }
}
