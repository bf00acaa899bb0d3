/**
 * @file GGUF files: what llama.cpp computes of them, byte for byte the same file (tests/vectors/gguf, made by
 * scripts/golden/gguf-logits.ts); what an independent reader finds in them; what is refused.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gguf } from '@huggingface/gguf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseConfig, type QuasarLongConfig } from '../../model/quasar-long/config.ts';
import { openDecoder } from '../../model/quasar-long/generate.ts';
import { f16ToF32 } from '../../tensor/half.ts';
import { ExportError } from '../errors.ts';
import { ggufCases, ggufExport, ggufParams, ggufPrompt, nanoGguf, smallTokenizer } from './test-support.ts';
import { type GgufExport, writeGguf } from './write.ts';

/** Float32 against float32, sums in another order; 4e-6 was the worst measured of a model of nano's size. */
const logProbabilityTolerance = 1e-4;

/** What the tests change of tokenizer.json. */
interface TokenizerJson {
  normalizer: unknown;
  pre_tokenizer: { type: string };
  model: { vocab: Record<string, number> };
}

interface Expected {
  readonly sha256: string;
  readonly greedy: readonly number[];
  /** Log-probability of each next token of the prompt. */
  readonly next: readonly number[];
}
const vectors = JSON.parse(
  readFileSync(new URL('../../../tests/vectors/gguf/expected.json', import.meta.url), 'utf8'),
) as { readonly cases: Readonly<Record<string, Expected>> };

let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'accrete-gguf-'))));
afterEach(() => rmSync(folder, { recursive: true }));

const config = ggufCases.groups!;
const changed = (fields: Partial<QuasarLongConfig>): QuasarLongConfig => parseConfig({ ...config, ...fields });

async function refusal(options: GgufExport): Promise<ExportError> {
  const error = await writeGguf(join(folder, 'refused.gguf'), options).catch((cause: unknown) => cause);
  expect(error).toBeInstanceOf(ExportError);
  expect(readdirSync(folder)).toEqual([]);
  return error as ExportError;
}

describe('beside llama.cpp', () => {
  it.each(Object.entries(ggufCases))('%s: the same file gives the same log-probabilities', async (name, config) => {
    const { sha256, greedy, next } = vectors.cases[name]!;
    const file = join(folder, 'model.gguf');
    await writeGguf(file, ggufExport(config));
    expect(createHash('sha256').update(readFileSync(file)).digest('hex')).toBe(sha256);
    const decoder = await openDecoder(config, ggufParams(config));
    const prompt = ggufPrompt(config);
    const { vocab_size: V } = config;
    const logits = await decoder.feed(prompt);
    await decoder.release();
    expect(next.length).toBe(prompt.length - 1);
    for (const [i, expected] of next.entries()) {
      const row = logits.subarray(i * V, (i + 1) * V);
      const top = row.reduce((a, b) => Math.max(a, b));
      const total = row.reduce((sum, value) => sum + Math.exp(value - top), 0);
      const own = row[prompt[i + 1]!]! - top - Math.log(total);
      expect(Math.abs(own - expected), `token ${i}`).toBeLessThanOrEqual(logProbabilityTolerance);
      expect(row.indexOf(top), `token ${i}`).toBe(greedy[i]);
    }
  });
});

describe('the file', () => {
  it('says to another reader what was written, matrices as float16', async () => {
    const file = join(folder, 'model.gguf');
    const summary = await writeGguf(file, ggufExport(config, { type: 'F16', name: 'a name', contextLength: 48 }));
    const { metadata, tensorInfos, tensorDataOffset } = await gguf(file, { allowLocalFile: true });
    expect(metadata).toMatchObject({
      version: 3,
      'general.architecture': 'bailingmoe2',
      'general.name': 'a name',
      'general.file_type': 1,
      'bailingmoe2.context_length': 48,
      'bailingmoe2.rope.dimension_count': 4,
      'bailingmoe2.expert_group_used_count': 2,
      'tokenizer.ggml.eos_token_id': 0,
      'tokenizer.ggml.bos_token_id': 1,
      'tokenizer.ggml.merges': ['Ġ a'],
      'tokenizer.chat_template': '{{ messages }}',
    });
    const lists = metadata as unknown as Readonly<Record<string, readonly (string | number)[]>>;
    const tokens = lists['tokenizer.ggml.tokens']!;
    expect(tokens.slice(0, 7)).toEqual(['<|endoftext|>', '<|startoftext|>', 'a', 'b', 'Ġ', 'Ġa', '<|unused_6|>']);
    expect(tokens.length).toBe(config.vocab_size);
    expect(lists['tokenizer.ggml.token_type']!.slice(0, 7)).toEqual([3, 3, 1, 1, 1, 1, 5]);

    expect(tensorInfos.length).toBe(summary.tensorCount);
    const bytes = readFileSync(file);
    expect(bytes.length).toBe(summary.sizeBytes);
    const data = (name: string, count: number, width: number): Uint8Array => {
      const info = tensorInfos.find((tensor) => tensor.name === name)!;
      const at = Number(tensorDataOffset) + Number(info.offset);
      expect(at % 32, name).toBe(0);
      return bytes.subarray(at, at + count * width);
    };
    const params = ggufParams(config);
    const norm = params.get('model.norm.weight') as Float32Array;
    const stored = data('output_norm.weight', norm.length, 4);
    expect(Buffer.compare(stored, new Uint8Array(norm.buffer))).toBe(0);
    // Up of expert 3, row 5: column 5 of the right half of w12.
    const { hidden_size: h, moe_intermediate_size: I, num_experts: E } = config;
    const up = f16ToF32(new Uint16Array(Uint8Array.from(data('blk.1.ffn_up_exps.weight', E * I * h, 2)).buffer));
    const w12 = params.get('model.layers.1.mlp.experts_w12') as Float32Array;
    for (let i = 0; i < h; i++) {
      const value = w12[3 * h * 2 * I + i * 2 * I + I + 5]!;
      expect(Math.abs(up[3 * I * h + 5 * h + i]! - value)).toBeLessThanOrEqual(Math.abs(value) * 2 ** -11 + 2 ** -25);
    }
  });

  it('asks for tensors one at a time, and for one that two share but once in a row', async () => {
    const asked: string[] = [];
    const whole = ggufExport(config);
    const read = async (name: string) => {
      asked.push(name);
      return await whole.read(name);
    };
    await writeGguf(join(folder, 'model.gguf'), { ...whole, read });
    const changes = asked.filter((name, i) => name !== asked[i - 1]);
    expect(new Set(changes).size).toBe(changes.length);
  });

  it('never overwrites, and leaves nothing when it fails', async () => {
    const file = join(folder, 'model.gguf');
    writeFileSync(file, 'mine');
    await expect(writeGguf(file, ggufExport(config))).rejects.toMatchObject({ code: 'TARGET_EXISTS' });
    expect(readFileSync(file, 'utf8')).toBe('mine');
    rmSync(file);
    const read = async (name: string): Promise<Float32Array> => {
      if (name === 'model.norm.weight') throw new Error('the disk is gone');
      return (await ggufExport(config).read(name)) as Float32Array;
    };
    expect((await refusal(ggufExport(config, { read }))).code).toBe('WRITE_FAILED');
    const huge = async (name: string) => (await ggufExport(config).read(name)).map(() => 70_000 as never);
    const error = await refusal(ggufExport(config, { type: 'F16', read: huge as GgufExport['read'] }));
    expect(error).toMatchObject({ code: 'UNREPRESENTABLE' });
    expect(error.message).toContain('token_embd.weight: 70000 is no float16');
  });
});

describe('what llama.cpp cannot compute', () => {
  const cases: readonly Partial<QuasarLongConfig>[] = [
    { hybrid_attention_layers: [2] },
    { engram_layers: [1], engram_slots: 64 },
    { num_loops: 2 },
    { use_looped_injection: true },
    { use_parcae_loop_stabilizer: true },
    { long_context_mode: 'nope' },
    { use_qk_norm: false },
    { use_qkv_bias: true },
    { use_bias: true },
    { head_dim: 16 },
    { first_k_dense_replace: 3 },
    { num_shared_experts: 0 },
    { n_group: 8 },
    { nope_after_position: 32 },
    { partial_rotary_factor: 0.1 },
  ];
  it.each(cases.map((fields) => [Object.keys(fields)[0]!, fields] as const))(
    '%s is refused by name',
    async (field, fields) => {
      const error = await refusal(ggufExport(changed(fields)));
      expect(error).toMatchObject({ code: 'UNREPRESENTABLE', context: { field } });
      expect(error.message).toMatch(new RegExp(`^${field}: `));
    },
  );

  it('takes a context that ends where positions are no longer rotated', async () => {
    const short = changed({ nope_after_position: 32 });
    await writeGguf(join(folder, 'short.gguf'), ggufExport(short, { contextLength: 32 }));
    await expect(writeGguf(join(folder, 'long.gguf'), ggufExport(short, { contextLength: 33 }))).rejects.toMatchObject({
      context: { field: 'nope_after_position' },
    });
  });

  it('takes the preset nano-gguf, whose rows suit blocks of 256', () => {
    const { hidden_size, intermediate_size, moe_intermediate_size, max_position_embeddings } = nanoGguf;
    for (const size of [hidden_size, intermediate_size, moe_intermediate_size]) expect(size % 256).toBe(0);
    expect(max_position_embeddings).toBeLessThanOrEqual(nanoGguf.nope_after_position);
    expect(nanoGguf.hybrid_attention_layers).toEqual([]);
  });

  const edit = (change: (file: TokenizerJson) => void) => {
    const file = JSON.parse(smallTokenizer.json) as TokenizerJson;
    change(file);
    return { ...smallTokenizer, json: JSON.stringify(file) };
  };
  const tokenizers: readonly (readonly [string, GgufExport['tokenizer'], RegExp])[] = [
    ['another way of cutting words', edit((f) => void (f.pre_tokenizer.type = 'Whitespace')), /pre_tokenizer\.type/],
    ['a normalizer', edit((f) => void (f.normalizer = { type: 'NFC' })), /normalizer/],
    ['more tokens than rows', edit((f) => void (f.model.vocab.c = 300)), /token 300 is beyond/],
    ['two tokens with one id', edit((f) => void (f.model.vocab.c = 3)), /two tokens have the id 3/],
    ['no JSON', { ...smallTokenizer, json: '{' }, /expected JSON/],
    ['an unknown end', { ...smallTokenizer, config: '{"eos_token":"</s>"}' }, /no token <\/s> \(eos_token\)/],
  ];
  it.each(tokenizers)('refuses a tokenizer with %s', async (_what, tokenizer, message) => {
    const error = await refusal(ggufExport(config, { tokenizer }));
    expect(error.code).toBe('BAD_TOKENIZER');
    expect(error.message).toMatch(message);
  });
});
