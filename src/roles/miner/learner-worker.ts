/** @file The other side of `learner-thread.ts`: reads the shards, opens the learner, does its calls one by one. */
import { readFile } from 'node:fs/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { decodeShard, type TokenIds } from '../../data/shards.ts';
import { assert, assertNever, BaseError } from '../../util/errors.ts';
import { nodeSha256 as hash } from '../../util/node-sha256.ts';
import { Learner } from './learner.ts';
import type { ThreadCall, ThreadReply, ThreadRequest, ThreadSetup } from './learner-thread.ts';

async function openLearner(setup: ThreadSetup): Promise<Learner> {
  const { manifest, threads, device = 'cpu', start, frozen, shardFiles } = setup;
  const loaded = new Map<string, TokenIds>();
  for (const shard of manifest.data.shards) {
    const file = shardFiles.get(shard.artifact.root);
    if (file === undefined) continue;
    loaded.set(shard.artifact.root, decodeShard(await readFile(file), shard, manifest.tokenizer.vocabSize));
  }
  return new Learner({ manifest, threads, device, start, frozen, loaded, hash });
}

async function answer(learner: Learner, call: ThreadCall): Promise<unknown> {
  switch (call.kind) {
    case 'prepare':
      return await learner.prepare(call.phase);
    case 'step':
      return await learner.step(call.plan);
    case 'claim':
      return learner.claim(call.fragment);
    case 'take-in':
      return learner.takeIn(call.fragment, call.bytes);
    case 'close':
      return await learner.close();
    default:
      return assertNever(call);
  }
}

const port = parentPort;
assert(port !== null, 'learner-worker.ts runs in a worker thread only');
const opening = openLearner(workerData as ThreadSetup);
let last: Promise<unknown> = opening.catch(() => {}); // each call reports the failure
port.on('message', ({ id, call }: ThreadRequest) => {
  last = last.then(async () => {
    let reply: ThreadReply;
    try {
      // What never opened needs no closing.
      const learner = await (call.kind === 'close' ? opening.catch(() => null) : opening);
      reply = { id, ok: true, value: learner === null ? undefined : await answer(learner, call) };
    } catch (error) {
      const code = error instanceof BaseError ? error.code : 'INTERNAL';
      reply = { id, ok: false, code, message: error instanceof Error ? error.message : String(error) };
    }
    port.postMessage(reply);
  });
});
