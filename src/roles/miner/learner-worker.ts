/** @file The other side of `learner-thread.ts`: reads the shards, opens the learner, does its calls one by one. */
import { parentPort, workerData } from 'node:worker_threads';
import { hashWith } from '../../protocol/hash.ts';
import { assert, assertNever, BaseError } from '../../util/errors.ts';
import { nodeSha256 as hash, nodePlatformSha256 } from '../../util/node-sha256.ts';
import { Learner } from '../learner/learner.ts';
import { StateFolder } from '../learner/state-folder.ts';
import type { PhaseTerms } from '../run-data.ts';
import { ShardFiles } from '../shard-files.ts';
import type { ThreadCall, ThreadReply, ThreadRequest, ThreadSetup } from './learner-thread.ts';

hashWith(nodePlatformSha256);

interface Kept {
  readonly learner: Learner;
  readonly states: StateFolder;
  readonly follow: (terms: PhaseTerms) => void;
}

async function openLearner(setup: ThreadSetup): Promise<Kept> {
  const { manifest, threads, device = 'cpu', start, frozen, shardDir, states } = setup;
  const loaded = new ShardFiles(shardDir, manifest.tokenizer.vocabSize);
  const folder = await StateFolder.open(states, states.committedSteps);
  const onState = folder.add.bind(folder);
  let followed: PhaseTerms = { phases: manifest.phases, cursors: [] };
  const terms = (): PhaseTerms => followed;
  return {
    learner: new Learner({ manifest, threads, device, start, frozen, loaded, hash, onState, terms }),
    states: folder,
    follow: (next) => {
      followed = next;
    },
  };
}

async function answer({ learner, states, follow }: Kept, call: ThreadCall): Promise<unknown> {
  switch (call.kind) {
    case 'prepare':
      follow(call.terms);
      return await learner.prepare(call.phase);
    case 'step':
      return { ...(await learner.step(call.plan)), stateFault: states.takeFault() };
    case 'claim':
      return learner.claim(call.fragment);
    case 'take-in':
      return learner.takeIn(call.fragment, call.published);
    case 'close':
      await states.close();
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
      const kept = await (call.kind === 'close' ? opening.catch(() => null) : opening);
      reply = { id, ok: true, value: kept === null ? undefined : await answer(kept, call) };
    } catch (error) {
      const code = error instanceof BaseError ? error.code : 'INTERNAL';
      reply = { id, ok: false, code, message: error instanceof Error ? error.message : String(error) };
    }
    port.postMessage(reply);
  });
});
