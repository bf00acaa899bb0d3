/** @file A thread of the data bench: texts in, ids out. */
import { parentPort, workerData } from 'node:worker_threads';
import { FastTokenizer } from '../src/data/fast-tokenizer.ts';
import { IdBuffer } from '../src/data/pipeline/chunk.ts';

const tokenizer = new FastTokenizer(workerData as string);
parentPort!.on('message', (texts: readonly string[]) => {
  const ids = new IdBuffer(tokenizer.vocabSize);
  for (const text of texts) tokenizer.encodeInto(text, ids);
  const done = ids.finish();
  parentPort!.postMessage(done, [done.buffer as ArrayBuffer]);
});
