/**
 * @file Beside llama.cpp, on a small model that is trained here: what it computes of our files, how it cuts text into
 * tokens, and what quantised files cost. Skipped where llama.cpp is not installed (`ACCRETE_LLAMA=1 node scripts/setup.mjs --test`).
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Tokenizer as Rust } from 'tokenizers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findLlamaCpp } from '../bench/llama/install.ts';
import { Side } from '../bench/side.ts';
import { CORPUS_DIR, loadCorpus } from '../src/data/prepared.ts';
import { packSequence } from '../src/data/shards.ts';
import { logProbabilities } from '../src/export/backbone.ts';
import type { GgufFileTypeName } from '../src/export/gguf/mixture.ts';
import { writeGguf } from '../src/export/gguf/write.ts';
import { parseConfig } from '../src/model/quasar-long/config.ts';
import { generate, openDecoder } from '../src/model/quasar-long/generate.ts';
import type { Params } from '../src/model/quasar-long/init.ts';
import { InnerLoop } from '../src/training/inner-loop.ts';
import { allocateModel, initialise, wholeParams } from '../src/training/model-state.ts';
import { AdamW, traitsFromContract } from '../src/training/optimizer.ts';

const llama = findLlamaCpp({ install: false });
const seqLen = 64;
const batch = 8;
const steps = 60;

/** As nano-gguf, with fewer layers and the smallest corpus's vocabulary. */
const config = parseConfig({
  ...{ vocab_size: 512, hidden_size: 256, intermediate_size: 256, num_hidden_layers: 2, num_attention_heads: 4 },
  ...{ num_key_value_heads: 2, head_dim: 64, partial_rotary_factor: 0.5, first_k_dense_replace: 1, num_experts: 4 },
  ...{ num_experts_per_tok: 2, n_group: 2, topk_group: 1, moe_intermediate_size: 256, rope_theta: 10000 },
  ...{ use_nope: true, nope_after_position: 128, max_position_embeddings: 128, routed_scaling_factor: 2.5 },
  ...{ eos_token_id: 0, pad_token_id: 0, initializer_range: 0.06 },
});

interface Scored {
  readonly greedy: number;
  readonly next: number;
  readonly all?: readonly number[];
}

describe.skipIf('missing' in llama)('missing' in llama ? llama.missing : `beside ${llama.version}`, () => {
  let folder: string;
  let params: Params;
  const corpus = loadCorpus(CORPUS_DIR, 'tiny');
  const texts = (name: string) => readFileSync(join(CORPUS_DIR, 'tiny', name), 'utf8');
  const tokenizer = { json: texts('tokenizer.json'), config: texts('tokenizer_config.json') };
  const idsOf = (stage: string): number[] =>
    corpus.catalog.shards
      .filter((shard) => shard.stage === stage)
      .flatMap((shard) => [...corpus.loaded.get(shard.artifact.root)!.subarray(0, 100_000)]);
  const heldOut = idsOf('held-out');
  const rowsOf = (ids: readonly number[], count: number): number[][] =>
    Array.from({ length: count }, (_, i) => ids.slice(i * seqLen, (i + 1) * seqLen));

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'accrete-llama-'));
    const model = allocateModel(config, 'llama', { extraParamBuffers: 2 });
    initialise(model, 'llama');
    const optimizer = new AdamW(model.params, model.gradients, {
      ...{ beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, clipNorm: 1 },
      traitsOf: traitsFromContract(model.contract),
    });
    const loop = await InnerLoop.open(model, optimizer, { batch, seqLen, threads: 1, selectionBiasRate: 0.01 });
    const rows = rowsOf(idsOf('train'), steps * batch);
    for (let step = 0; step < steps; step++)
      await loop.step(
        rows.slice(step * batch, (step + 1) * batch).map((ids) => packSequence(ids, 0)),
        0.003,
      );
    params = new Map([...wholeParams(model)].map(([name, values]) => [name, values.slice()]));
    await loop.close();
    await optimizer.close();
  }, 600_000);
  afterAll(() => rmSync(folder, { recursive: true }));

  const opened: Side<unknown, unknown>[] = [];
  afterAll(() => {
    for (const side of opened) side.close();
  });
  async function open<Answer>(type: GgufFileTypeName): Promise<Side<unknown, Answer>> {
    const file = join(folder, `${type}-${opened.length}.gguf`);
    const read = async (name: string) => params.get(name)!;
    await writeGguf(file, { config, read, tokenizer, type, name: 'test' });
    const script = join(import.meta.dirname, '..', 'bench', 'llama', 'decode.mjs');
    const module = 'missing' in llama ? '' : llama.module;
    const side = new Side<unknown, Answer>(process.execPath, [script, module, file, '1', '128']);
    opened.push(side);
    await side.ready;
    return side;
  }

  it('gives the same log-probabilities within 1e-4, and the same greedy text', async () => {
    const side = await open<readonly Scored[]>('F32');
    const decoder = await openDecoder(config, params);
    const prompt = heldOut.slice(0, seqLen);
    const scored = await side.ask({ prompt, logits: 'full' });
    const logits = await decoder.feed(prompt);
    let worst = 0;
    for (const [t, { all }] of scored.entries()) {
      const own = logProbabilities(logits.subarray(t * config.vocab_size, (t + 1) * config.vocab_size));
      expect(all!.length).toBe(own.length);
      own.forEach((value, id) => void (worst = Math.max(worst, Math.abs(value - all![id]!))));
    }
    expect(worst).toBeLessThanOrEqual(1e-4);
    // Far from uniform: the comparison is of a model that has learned something.
    expect(-mean(scored.map(({ next }) => next))).toBeLessThan(Math.log(config.vocab_size) - 0.5);

    const answer = (await side.ask({ prompt: prompt.slice(0, 16), count: 40 })) as unknown as { ids: number[] };
    decoder.reset();
    const options = { maxTokens: 40, temperature: 0, topK: 0, topP: 1, repetitionPenalty: 1, seed: 0 };
    const own: number[] = [];
    for await (const id of generate(decoder, prompt.slice(0, 16), options)) own.push(id);
    expect(answer.ids.slice(0, own.length)).toEqual(own);
    expect(own.length).toBeGreaterThan(10);
    await decoder.release();
  }, 300_000);

  it('loses at most 2 % on held-out text as Q8_0, and 8 % as Q4_0 and Q4_K_M', async () => {
    const rows = rowsOf(heldOut, 16);
    const lossOf = async (type: GgufFileTypeName): Promise<number> => {
      const side = await open<readonly Scored[]>(type);
      const losses: number[] = [];
      for (const prompt of rows) losses.push(...(await side.ask({ prompt, logits: true })).map(({ next }) => -next));
      return mean(losses);
    };
    const exact = await lossOf('F32');
    const bounds = { Q8_0: 0.02, Q4_0: 0.08, Q4_K_M: 0.08 } as const;
    for (const [type, bound] of Object.entries(bounds)) {
      const loss = await lossOf(type as GgufFileTypeName);
      expect(loss / exact - 1, `${type}: ${loss} beside ${exact}`).toBeLessThanOrEqual(bound);
      expect(Math.abs(loss / exact - 1), type).toBeGreaterThan(1e-7);
    }
  }, 300_000);

  it('cuts 1,000 held-out lines into the same tokens, as does the Rust library', async () => {
    const lines = corpus.tokenizer.decode(heldOut).split('\n').flatMap(pieces).slice(0, 1000);
    expect(lines.length).toBe(1000);
    const side = await open<readonly (readonly number[])[]>('F32');
    const theirs = await side.ask({ lines });
    const rust = Rust.fromString(tokenizer.json);
    for (const [i, line] of lines.entries()) {
      const own = corpus.tokenizer.encode(line);
      expect(theirs[i], `llama.cpp: ${line}`).toEqual(own);
      expect([...(await rust.encode(line)).getIds()], `tokenizers: ${line}`).toEqual(own);
    }
  }, 300_000);
});

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Long paragraphs as lines of about eighty characters, spaces and all. */
const pieces = (line: string): readonly string[] => line.match(/.{1,80}/gu) ?? [];
