/** @file Merges judged in a thread of its own, which reads the record itself: the walk and the merges share two cores. */
import { Worker } from 'node:worker_threads';
import type { RunManifest } from '../protocol/manifest.ts';
import { VerifyError } from './errors.ts';
import type { MergeJob, MergeJudge, MergeJudgement } from './merge-judge.ts';

/** Where the record lies. */
export type RecordSource = (
  | { readonly kind: 'url'; readonly url: string }
  | { readonly kind: 'dir'; readonly dir: string }
) & {
  /** Where artifacts are read, as `URL/store/ROOT`; null: where all else is. */
  readonly store: string | null;
};

export interface MergeThreadSetup {
  readonly source: RecordSource;
  /** Bytes of artifacts that are held for the next merges. */
  readonly cacheBytes: number;
}

/** The first job brings the manifest. */
export interface MergeRequest {
  readonly id: number;
  readonly job: MergeJob;
  readonly manifest: RunManifest | null;
}

export type MergeReply =
  | { readonly id: number; readonly ok: true; readonly judgement: MergeJudgement }
  | { readonly id: number; readonly ok: false; readonly message: string };

interface Waiting {
  readonly resolve: (judgement: MergeJudgement) => void;
  readonly reject: (error: Error) => void;
}

export interface MergeThread {
  readonly judge: (manifest: RunManifest) => MergeJudge;
  close(): Promise<void>;
}

/** Starts with the first merge. Judgements fail with VerifyError UNREADABLE. */
export function openMergeThread(setup: MergeThreadSetup): MergeThread {
  const waiting = new Map<number, Waiting>();
  let worker: Worker | null = null;
  let nextId = 0;
  const failAll = (message: string): void => {
    for (const { reject } of waiting.values()) reject(new VerifyError('UNREADABLE', message));
    waiting.clear();
  };
  const start = (): Worker => {
    const started = new Worker(new URL('./merge-entry.mjs', import.meta.url), { workerData: setup });
    started.on('message', (reply: MergeReply) => {
      const asked = waiting.get(reply.id);
      waiting.delete(reply.id);
      if (reply.ok) asked?.resolve(reply.judgement);
      else asked?.reject(new VerifyError('UNREADABLE', reply.message));
    });
    started.on('error', (cause) => failAll(`the thread that makes merges again failed: ${String(cause)}`));
    started.on('exit', (code) => failAll(`the thread that makes merges again ended with code ${code}`));
    return started;
  };
  return {
    judge: (manifest) => (job) => {
      const isFirst = worker === null;
      worker ??= start();
      const id = nextId++;
      return new Promise((resolve, reject) => {
        waiting.set(id, { resolve, reject });
        const request: MergeRequest = { id, job, manifest: isFirst ? manifest : null };
        worker!.postMessage(request);
      });
    },
    async close() {
      await worker?.terminate();
    },
  };
}
