/** @file Checkpoint folders: written whole or not at all, read back bit for bit, damage named. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadCheckpoint } from '../model/checkpoint.ts';
import { buildContract } from '../model/quasar-long/contract.ts';
import { floatsOf, initParams } from '../model/quasar-long/init.ts';
import { presetConfig } from '../model/quasar-long/presets.ts';
import { publishedParams } from '../model/quasar-long/published.ts';
import { encodeSafetensors, readSafetensors, type TensorBytes, tensorBytes } from '../tensor/safetensors.ts';
import { ExportError } from './errors.ts';
import { type HuggingFaceExport, writeHuggingFaceFolder } from './hugging-face.ts';

const config = presetConfig('tiny');
const params = initParams(config, 3);
const options: HuggingFaceExport = {
  config,
  params,
  files: new Map([['tokenizer.json', new TextEncoder().encode('{}')]]),
  card: {
    name: 'tiny | test',
    licence: 'apache-2.0',
    summary: 'A model of\nno use.',
    numbers: [['Held-out loss', '6.2 | nats']],
    sources: [{ name: 'sotu', tokens: 1234567, licence: 'CC0' }],
    notes: [],
  },
};

let parent: string;
beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'accrete-export-'));
});
afterEach(async () => await rm(parent, { recursive: true, force: true }));

describe('writeHuggingFaceFolder', () => {
  it('round-trips every tensor bit for bit, whole or in shards', async () => {
    for (const maxShardBytes of [5e9, 100_000]) {
      const folder = join(parent, `model-${maxShardBytes}`);
      await writeHuggingFaceFolder(folder, { ...options, maxShardBytes });
      const loaded = await loadCheckpoint(folder);
      expect(loaded.config).toEqual(config);
      for (const [name, values] of params) expect(loaded.params.get(name), name).toEqual(values);
    }
    expect((await readdir(parent)).sort()).toEqual(['model-100000', 'model-5000000000']);
    expect((await readdir(join(parent, 'model-5000000000'))).sort()).toEqual([
      'README.md',
      'config.json',
      'generation_config.json',
      'model.safetensors',
      'tokenizer.json',
    ]);
    const card = await readFile(join(parent, 'model-100000', 'README.md'), 'utf8');
    expect(card).toContain('| Held-out loss | 6.2 \\| nats |');
    expect(card).toContain('| sotu | 1,234,567 | CC0 |');
  });

  it('rounds to bfloat16 when asked', async () => {
    const folder = join(parent, 'model');
    await writeHuggingFaceFolder(folder, { ...options, dtype: 'BF16' });
    const { params: read } = await loadCheckpoint(folder);
    for (const name of params.keys()) {
      const [values, back] = [floatsOf(params, name), floatsOf(read, name)];
      const worst = values.reduce(
        (max, value, i) => Math.max(max, Math.abs(value - back[i]!) / (Math.abs(value) || 1)),
        0,
      );
      expect(worst, name).toBeLessThanOrEqual(2 ** -8);
    }
  });

  it('keeps buffers exact in bfloat16, and takes named parameters as bfloat16 in float32', async () => {
    const dtypesIn = async (name: string): Promise<ReadonlyMap<string, string>> => {
      const bytes = new Uint8Array(await readFile(join(parent, name, 'model.safetensors')));
      return new Map([...readSafetensors(bytes).tensors].map(([tensor, { dtype }]) => [tensor, dtype]));
    };
    await writeHuggingFaceFolder(join(parent, 'half'), { ...options, dtype: 'BF16' });
    await writeHuggingFaceFolder(join(parent, 'mixed'), { ...options, narrow: new Set(['lm_head.weight']) });
    const [half, mixed] = [await dtypesIn('half'), await dtypesIn('mixed')];
    const { params: read } = await loadCheckpoint(join(parent, 'half'));
    for (const { name, isBuffer } of buildContract(config)) {
      expect(half.get(name), name).toBe(isBuffer ? 'F32' : 'BF16');
      expect(mixed.get(name), name).toBe(name === 'lm_head.weight' ? 'BF16' : 'F32');
      if (isBuffer) expect(read.get(name), name).toEqual(params.get(name));
    }
    const configOf = (name: string) => readFile(join(parent, name, 'config.json'), 'utf8');
    expect([await configOf('half'), await configOf('mixed')].map((text) => JSON.parse(text).torch_dtype)).toEqual([
      'bfloat16',
      'float32',
    ]);
    const published = publishedParams(buildContract(config), params, 'bf16');
    for (const name of params.keys()) expect(read.get(name), name).toEqual(published.get(name));
    expect(publishedParams(buildContract(config), params)).toBe(params);
  });

  it('never overwrites, and leaves nothing behind when it fails', async () => {
    const folder = join(parent, 'model');
    await writeHuggingFaceFolder(folder, options);
    await expect(writeHuggingFaceFolder(folder, options)).rejects.toMatchObject({ code: 'TARGET_EXISTS' });
    const short = new Map(params).set('model.norm.weight', new Float32Array(3));
    await expect(writeHuggingFaceFolder(join(parent, 'b'), { ...options, params: short })).rejects.toBeInstanceOf(
      ExportError,
    );
    const clash = new Map([['config.json', new Uint8Array()]]);
    await expect(writeHuggingFaceFolder(join(parent, 'c'), { ...options, files: clash })).rejects.toMatchObject({
      code: 'BAD_FILE',
    });
    const outside = new Map([['../tokenizer.json', new Uint8Array()]]);
    await expect(writeHuggingFaceFolder(join(parent, 'c'), { ...options, files: outside })).rejects.toMatchObject({
      code: 'BAD_FILE',
    });
    await expect(writeHuggingFaceFolder(join(parent, 'd', 'e'), options)).rejects.toMatchObject({
      code: 'WRITE_FAILED',
    });
    expect((await readdir(parent)).sort()).toEqual(['model']);
  });
});

describe('loadCheckpoint', () => {
  const rewrite = async (folder: string, change: (tensors: Map<string, TensorBytes>) => void) => {
    const file = join(folder, 'model.safetensors');
    const tensors = new Map(readSafetensors(new Uint8Array(await readFile(file))).tensors);
    change(tensors);
    await writeFile(file, encodeSafetensors(tensors));
  };

  it('takes one tensor per expert, as Ling stores them', async () => {
    const folder = join(parent, 'model');
    await writeHuggingFaceFolder(folder, options);
    const { hidden_size: h, moe_intermediate_size: I, num_experts: E } = config;
    const transposed = (fused: Float32Array, base: number, columns: number, rows: number, width: number) =>
      Float32Array.from({ length: rows * width }, (_, i) => fused[base + (i % rows) * columns + Math.floor(i / rows)]!);
    await rewrite(folder, (tensors) => {
      for (const { name, isRouted } of buildContract(config)) {
        if (!isRouted) continue;
        const fused = floatsOf(params, name);
        tensors.delete(name);
        const put = (e: number, part: string, values: Float32Array, shape: number[]) =>
          tensors.set(`${name.replace(/experts_w.*/, 'experts')}.${e}.${part}_proj.weight`, tensorBytes(values, shape));
        for (let e = 0; e < E; e++) {
          if (name.endsWith('w3')) put(e, 'down', transposed(fused, e * I * h, h, I, h), [h, I]);
          else {
            put(e, 'gate', transposed(fused, e * h * 2 * I, 2 * I, h, I), [I, h]);
            put(e, 'up', transposed(fused, e * h * 2 * I + I, 2 * I, h, I), [I, h]);
          }
        }
      }
    });
    const { params: read } = await loadCheckpoint(folder);
    for (const [name, values] of params) expect(read.get(name), name).toEqual(values);
  });

  const damages: [string, (folder: string) => Promise<unknown>, string][] = [
    ['no config', async (f) => await rm(join(f, 'config.json')), 'CHECKPOINT_UNREADABLE'],
    ['a config that is no JSON', async (f) => await writeFile(join(f, 'config.json'), '{'), 'CHECKPOINT_UNREADABLE'],
    ['no tensors', async (f) => await rm(join(f, 'model.safetensors')), 'CHECKPOINT_UNREADABLE'],
    [
      'a file cut short',
      async (f) => {
        const bytes = await readFile(join(f, 'model.safetensors'));
        await writeFile(join(f, 'model.safetensors'), bytes.subarray(0, bytes.length - 4));
      },
      'CHECKPOINT_UNREADABLE',
    ],
    ['a missing tensor', async (f) => await rewrite(f, (t) => void t.delete('lm_head.weight')), 'CHECKPOINT_MISMATCH'],
    [
      'missing experts',
      async (f) => await rewrite(f, (t) => void t.delete('model.layers.1.mlp.experts_w3')),
      'CHECKPOINT_MISMATCH',
    ],
    [
      'an unknown tensor',
      async (f) =>
        await rewrite(f, (t) => void t.set('model.layers.0.attention.extra', tensorBytes(new Float32Array(1), [1]))),
      'CHECKPOINT_MISMATCH',
    ],
    [
      'a wrong shape',
      async (f) => await rewrite(f, (t) => void t.set('model.norm.weight', tensorBytes(new Float32Array(33), [33]))),
      'CHECKPOINT_MISMATCH',
    ],
    [
      'an index that points elsewhere',
      async (f) => {
        await rm(join(f, 'model.safetensors'));
        await writeFile(
          join(f, 'model.safetensors.index.json'),
          JSON.stringify({ weight_map: { a: '../x.safetensors' } }),
        );
      },
      'CHECKPOINT_UNREADABLE',
    ],
  ];
  it.each(damages)('names %s', async (_what, damage, code) => {
    const folder = join(parent, 'model');
    await writeHuggingFaceFolder(folder, options);
    await damage(folder);
    await expect(loadCheckpoint(folder)).rejects.toMatchObject({ code });
  });
});
