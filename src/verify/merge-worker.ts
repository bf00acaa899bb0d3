/** @file The thread of `merge-thread.ts`: opens the record for itself, and judges merges in the order in which they come. */
import { parentPort, workerData } from 'node:worker_threads';
import { hashWith } from '../protocol/hash.ts';
import { hashArtifact } from '../store/node-hash.ts';
import { assert } from '../util/errors.ts';
import { nodePlatformSha256 } from '../util/node-sha256.ts';
import { ArtifactCache } from './artifact-cache.ts';
import { createMergeJudge, type MergeJudge } from './merge-judge.ts';
import type { MergeReply, MergeRequest, MergeThreadSetup } from './merge-thread.ts';
import { openRecord } from './open-record.ts';

hashWith(nodePlatformSha256);
const { source, cacheBytes } = workerData as MergeThreadSetup;
const record = openRecord(source, new AbortController().signal);
let judge: MergeJudge | null = null;
let last: Promise<unknown> = Promise.resolve();

async function answer({ id, job, manifest }: MergeRequest): Promise<MergeReply> {
  try {
    if (manifest !== null)
      judge = createMergeJudge({
        manifest,
        cache: new ArtifactCache(await record, cacheBytes),
        artifactOf: hashArtifact,
      });
    assert(judge !== null, 'the first job brings the manifest');
    return { id, ok: true, judgement: await judge(job) };
  } catch (error) {
    return { id, ok: false, message: error instanceof Error ? error.message : String(error) };
  }
}

parentPort!.on('message', (request: MergeRequest) => {
  last = last.then(async () => parentPort!.postMessage(await answer(request)));
});
