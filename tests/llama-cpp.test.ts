/**
 * @file Beside llama.cpp, on a model of preset nano-gguf that is trained here, through the commands that people type: what it
 * computes of our files, how it cuts text and turns of a chat into tokens, what it says, and what quantised files cost.
 * Skipped by name where llama.cpp is not installed (`node scripts/setup.mjs --test` does that).
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gguf } from '@huggingface/gguf';
import { Tokenizer as Rust } from 'tokenizers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findLlamaCpp } from '../bench/llama/install.ts';
import { Side } from '../bench/side.ts';
import { corpusPresetOf } from '../src/cli/corpus.ts';
import type { Io } from '../src/cli/io.ts';
import { main } from '../src/cli/main.ts';
import { CORPUS_DIR, type Corpus, loadCorpus } from '../src/data/prepared.ts';
import { type GgufFileTypeName, ggufFileTypeNames } from '../src/export/gguf/mixture.ts';
import { openGgufModel } from '../src/export/gguf/model.ts';
import { loadCheckpoint } from '../src/model/checkpoint.ts';

const llama = findLlamaCpp({ install: false });
const steps = 100;
const seqLen = 64;

interface Scored {
  readonly next: number;
  readonly all?: readonly number[];
}

describe.skipIf('missing' in llama)('missing' in llama ? llama.missing : `beside ${llama.version}`, () => {
  let folder: string;
  let checkpoint: string;
  let corpus: Corpus;
  let heldOut: readonly (readonly number[])[];

  async function accrete(...argv: readonly string[]): Promise<string> {
    const [out, err]: [string[], string[]] = [[], []];
    const say = (line: string) => void err.push(line);
    const never = new AbortController().signal;
    const io: Io = {
      ...{ out: (line) => void out.push(line), write: (text) => void out.push(text), err: say, terminal: null },
      ...{ environment: {}, cwd: folder, stop: never, force: never },
    };
    const exitCode = await main([...argv], io);
    expect(exitCode, err.join('\n')).toBe(0);
    return out.join('\n');
  }

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'accrete-llama-'));
    corpus = loadCorpus(CORPUS_DIR, corpusPresetOf('nano-gguf'));
    const training = ['--preset', 'nano-gguf', '--steps', String(steps), '--dir', folder, '--json'];
    const summary = (await accrete('train', ...training)).split('\n').at(-1)!;
    checkpoint = JSON.parse(summary).checkpoint;
    // From several places, as held-out text has several sources.
    heldOut = corpus.catalog.shards
      .filter(({ stage }) => stage === 'held-out')
      .flatMap((shard) => {
        const ids = corpus.loaded.get(shard.artifact.root)!;
        return Array.from({ length: 6 }, (_, i) => [...ids.subarray(i * 500, i * 500 + seqLen)]);
      });
    for (const type of ggufFileTypeNames)
      await accrete('export', '--checkpoint', checkpoint, '--to', 'gguf', '--type', type, '--out', fileOf(type));
  }, 600_000);
  afterAll(() => rmSync(folder, { recursive: true }));

  const fileOf = (type: GgufFileTypeName): string => join(folder, `${type}.gguf`);
  const sides = new Map<GgufFileTypeName, Side<unknown, unknown>>();
  afterAll(() => {
    for (const side of sides.values()) side.close();
  });
  async function ask<Answer>(type: GgufFileTypeName, question: object): Promise<Answer> {
    const script = join(import.meta.dirname, '..', 'bench', 'llama', 'decode.mjs');
    const module = 'missing' in llama ? '' : llama.module;
    const side =
      sides.get(type) ?? new Side<unknown, unknown>(process.execPath, [script, module, fileOf(type), '1', '256']);
    if (!sides.has(type)) {
      sides.set(type, side);
      await side.ready;
    }
    return (await side.ask(question)) as Answer;
  }

  it('gives the log-probabilities of `accrete logits` within 1e-4, at each position and of the whole vocabulary', async () => {
    let worst = 0;
    for (const prompt of heldOut.slice(0, 6)) {
      const lines = await accrete('logits', '--checkpoint', checkpoint, '--tokens', prompt.join(), '--json');
      const own = lines.split('\n').map((line) => JSON.parse(line).logprobs as number[]);
      const scored = await ask<readonly Scored[]>('F32', { prompt: [...prompt, 0], logits: 'full' });
      expect([own.length, scored.length]).toEqual([seqLen, seqLen]);
      for (const [t, { all }] of scored.entries()) {
        expect(all!.length).toBe(own[t]!.length);
        own[t]!.forEach((value, id) => void (worst = Math.max(worst, Math.abs(value - all![id]!))));
      }
    }
    expect(worst).toBeLessThanOrEqual(1e-4);
    expect(worst).toBeGreaterThan(0);
  }, 300_000);

  it('continues text greedily as `accrete generate` does', async () => {
    for (const ids of heldOut.slice(0, 24).filter((_, i) => i % 4 === 0)) {
      const prompt = corpus.tokenizer.decode(ids.slice(0, 12));
      const options = ['--prompt', prompt, '--temperature', '0', '--max-tokens', '40', '--json'];
      const own = JSON.parse(await accrete('generate', '--checkpoint', checkpoint, ...options));
      const answer = await ask<{ ids: number[] }>('F32', { prompt: corpus.tokenizer.encode(prompt), count: 40 });
      const end = answer.ids.indexOf(corpus.tokenizer.endOfText);
      expect(corpus.tokenizer.decode(end < 0 ? answer.ids : answer.ids.slice(0, end)), prompt).toBe(own.text);
      expect(own.tokens, prompt).toBeGreaterThan(2);
    }
  }, 300_000);

  it('loses at most 2 % on held-out text as Q8_0, and 8 % as Q4_0 and Q4_K_M', async () => {
    const lossOf = async (type: GgufFileTypeName): Promise<number> => {
      const losses: number[] = [];
      for (const prompt of heldOut)
        losses.push(...(await ask<readonly Scored[]>(type, { prompt, logits: true })).map(({ next }) => -next));
      return losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
    };
    const exact = await lossOf('F32');
    // Far from uniform: what is compared has learned something.
    expect(exact).toBeLessThan(Math.log(corpus.tokenizer.vocabSize) - 0.8);
    for (const [type, bound] of [
      ['Q8_0', 0.02],
      ['Q4_0', 0.08],
      ['Q4_K_M', 0.08],
    ] as const) {
      const loss = await lossOf(type);
      expect(loss / exact - 1, `${type}: ${loss} beside ${exact}`).toBeLessThanOrEqual(bound);
      expect(Math.abs(loss / exact - 1), `${type} is not the F32 file again`).toBeGreaterThan(1e-7);
    }
  }, 300_000);

  it('cuts 1,000 held-out lines into the same tokens, as does the Rust library', async () => {
    const { tokenizer, catalog, loaded } = corpus;
    const lines = catalog.shards
      .filter(({ stage }) => stage.startsWith('held-out'))
      .flatMap(({ artifact }) =>
        tokenizer.decode(loaded.get(artifact.root)!.subarray(0, 20_000)).split('\n').flatMap(pieces).slice(0, 200),
      );
    expect(lines.length).toBe(1000);
    const theirs = await ask<readonly (readonly number[])[]>('F32', { lines });
    const rust = Rust.fromString(readFileSync(join(checkpoint, 'tokenizer.json'), 'utf8'));
    for (const [i, line] of lines.entries()) {
      const own = tokenizer.encode(line);
      expect(theirs[i], `llama.cpp: ${line}`).toEqual(own);
      expect([...(await rust.encode(line)).getIds()], `tokenizers: ${line}`).toEqual(own);
    }
  }, 300_000);

  it("writes a chat's turns as the chat template does", async () => {
    const chat = ['Who wrote it?', 'The people.', 'Of which country?'];
    const theirs = await ask<readonly number[]>('Q4_K_M', { chat });
    const turns = chat.map((text, i) => `<role>${i % 2 === 0 ? 'HUMAN' : 'ASSISTANT'}</role>${text}`);
    expect(corpus.tokenizer.decode(theirs)).toBe(`${turns.join('')}<role>ASSISTANT</role>`);
    expect(theirs).toEqual(corpus.tokenizer.encode(`${turns.join('')}<role>ASSISTANT</role>`));
  }, 60_000);

  it('reads every type, and so does an independent reader of metadata', async () => {
    for (const type of ggufFileTypeNames) {
      const scored = await ask<readonly Scored[]>(type, { prompt: heldOut[0], logits: true });
      expect(
        scored.every(({ next }) => next < 0 && next > -30),
        type,
      ).toBe(true);
      const { metadata, tensorInfos } = await gguf(fileOf(type), { allowLocalFile: true });
      expect(metadata).toMatchObject({ 'general.architecture': 'bailingmoe2', 'bailingmoe2.block_count': 6 });
      expect(tensorInfos.length, type).toBeGreaterThan(60);
    }
  }, 300_000);

  // All types on small models: src/export/round-trip.test.ts.
  it.each([
    ['F32', 0],
    ['Q8_0', 0.01],
    ['Q4_K_M', 0.1],
  ] as const)(
    '%s comes back with an error of at most %f of the values of any tensor',
    async (type, bound) => {
      const { params } = await loadCheckpoint(checkpoint);
      const model = await openGgufModel(fileOf(type));
      let worst = 0;
      for (const [name, values] of params)
        worst = Math.max(worst, relativeError(values as Float32Array, (await model.read(name)) as Float32Array));
      await model.close();
      expect(worst).toBeLessThanOrEqual(bound);
    },
    120_000,
  );
});

/** Root of the mean square of the differences, beside that of the values. */
function relativeError(values: Float32Array, back: Float32Array): number {
  let [error, power] = [0, 0];
  for (let i = 0; i < values.length; i++) {
    error += (values[i]! - back[i]!) ** 2;
    power += values[i]! ** 2;
  }
  return power === 0 ? error : Math.sqrt(error / power);
}

/** Long paragraphs as lines of about eighty characters, spaces and all. */
const pieces = (line: string): readonly string[] => line.match(/.{1,80}/gu) ?? [];
