/** @file Every export read back: equal to the source, or to what its quantiser makes of the source. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gguf } from '@huggingface/gguf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadCheckpoint } from '../model/checkpoint.ts';
import { type QuasarLongConfig, toConfigJson } from '../model/quasar-long/config.ts';
import { buildContract } from '../model/quasar-long/contract.ts';
import type { TensorValues } from '../model/quasar-long/init.ts';
import { f32ToBf16 } from '../tensor/half.ts';
import { asFloat32, readSafetensors, type TensorBytes } from '../tensor/safetensors.ts';
import type { GgufArchitecture } from './gguf/architecture.ts';
import { bailingMoe2 } from './gguf/bailing-moe2.ts';
import { ggufFileTypeNames, typeOfTensor } from './gguf/mixture.ts';
import { openGgufModel } from './gguf/model.ts';
import { quasarLong } from './gguf/quasar-long.ts';
import { openGguf } from './gguf/read.ts';
import { readGgufTokenizer } from './gguf/read-tokenizer.ts';
import { ggufTypes } from './gguf/tensor-types.ts';
import { ggufCases, smallTokenizer } from './gguf/test-support.ts';
import { tokenizerMetadata } from './gguf/tokenizer.ts';
import { writeGguf } from './gguf/write.ts';
import { lingFolder, quasarLongFolder } from './hf-folder.ts';
import { type MlxOptions, mlxFolder, mlxTensors } from './mlx/folder.ts';
import type { ModelView } from './model-view.ts';
import { dequantiseAffine, quantiseAffine } from './quantise/affine.ts';
import { writeStaged } from './staged.ts';
import type { TensorPlan } from './tensor-plan.ts';
import { hybridConfig, paramsOf, viewOf, wideConfig } from './test-support.ts';

let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'accrete-round-trip-'))));
afterEach(() => rmSync(folder, { recursive: true }));

async function valuesOf(plan: TensorPlan, config: QuasarLongConfig): Promise<Float32Array> {
  const params = paramsOf(config);
  const values = new Float32Array(plan.shape.reduce((product, dim) => product * dim, 1));
  let at = 0;
  for await (const part of plan.parts(async (name) => params.get(name)!)) {
    values.set(part, at);
    at += part.length;
  }
  return values;
}

function edited(bytes: Buffer, edit: () => void): Buffer {
  edit();
  return bytes;
}

/** Bit for bit. */
function isSame(a: Float32Array | Uint32Array, b: Float32Array | Uint32Array): boolean {
  const bytes = (values: typeof a) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return a.length === b.length && Buffer.compare(bytes(a), bytes(b)) === 0;
}

/** Faster than comparing number for number. */
function expectSame(name: string, a: TensorValues | undefined, b: TensorValues | undefined): void {
  expect([a instanceof Float32Array, b instanceof Float32Array], name).toEqual([true, true]);
  expect(isSame(a as Float32Array, b as Float32Array), name).toBe(true);
}

describe('GGUF', () => {
  const cases = [
    ['bailingmoe2', bailingMoe2, wideConfig],
    ['quasar_long', quasarLong, hybridConfig],
  ] as const;
  const all = cases.flatMap(([name, architecture, config]) =>
    ggufFileTypeNames.map((type) => [name, type, architecture, config] as const),
  );
  it.each(all)('%s as %s is what its quantiser makes of each tensor', async (_name, type, architecture, config) => {
    const path = join(folder, 'model.gguf');
    const own: GgufArchitecture = architecture;
    await writeGguf(path, { ...viewOf(config), type, architecture: own });
    const file = await openGguf(path);
    const { tensorInfos } = await gguf(path, { allowLocalFile: true });
    try {
      const plans = own.tensors(config);
      expect(file.tensors.size).toBe(plans.length);
      for (const plan of plans) {
        const stored = typeOfTensor(plan, type, config, own.takesWiderTypes);
        const info = tensorInfos.find(({ name }) => name === plan.name)!;
        expect([info.dtype, info.shape.map(Number).reverse()], plan.name).toEqual([ggufTypes[stored].id, plan.shape]);
        const wanted = ggufTypes[stored].decode(ggufTypes[stored].encode(await valuesOf(plan, config)));
        expect(isSame(await file.read(plan.name), wanted), `${plan.name} ${stored}`).toBe(true);
      }
    } finally {
      await file.close();
    }
  });

  it.each([
    ...Object.entries(ggufCases).map(([name, config]) => [name, config, bailingMoe2] as const),
    ['hybrid', hybridConfig, quasarLong] as const,
  ])('%s: the model comes back exactly', async (_name, config, architecture) => {
    const path = join(folder, 'model.gguf');
    await writeGguf(path, { ...viewOf(config), type: 'F32', architecture });
    const model = await openGgufModel(path);
    const params = paramsOf(config);
    const { use_nope: _u, nope_after_position: _n, ...same } = config;
    const isWhole = architecture === quasarLong;
    if (isWhole) expect(model.config).toEqual(config);
    else
      for (const field of [
        'hidden_size',
        'num_experts',
        'rms_norm_eps',
        'rope_theta',
        'routed_scaling_factor',
      ] as const)
        expect(model.config[field], field).toEqual(same[field]);
    for (const { name } of buildContract(config)) expectSame(name, await model.read(name), params.get(name));
    await model.close();
  });

  it.each([
    ['bailingmoe2', bailingMoe2, wideConfig],
    ['quasar_long', quasarLong, hybridConfig],
  ] as const)('%s: the tokenizer comes back exactly', async (_name, architecture, config) => {
    const path = join(folder, 'model.gguf');
    await writeGguf(path, { ...viewOf(config), type: 'F32', architecture });
    const [own, back] = [smallTokenizer, await readGgufTokenizer(path)];
    const { vocab_size } = config;
    expect(tokenizerMetadata(back, vocab_size)).toEqual(tokenizerMetadata(own, vocab_size));
  });

  const damages: readonly (readonly [string, (bytes: Buffer) => Buffer, RegExp])[] = [
    ['a foreign file', () => Buffer.from('PK\u0003\u0004 and so on, for a while'), /is no GGUF file/],
    ['an empty file', () => Buffer.alloc(0), /cut short/],
    ['a file cut within its header', (b) => b.subarray(0, 200), /cut short/],
    ['a file cut within its tensors', (b) => b.subarray(0, b.length - 64), /cut short/],
    ['another version', (b) => edited(b, () => b.writeUInt32LE(2, 4)), /version 2/],
    ['a count of tensors without end', (b) => edited(b, () => b.writeBigUInt64LE(2n ** 50n, 8)), /tensors; at most/],
    [
      'a length of text without end',
      (b) => edited(b, () => b.writeBigUInt64LE(2n ** 40n, 24)),
      /bytes in a text; at most/,
    ],
    ['a number that is none', (b) => edited(b, () => b.writeFloatLE(Number.NaN, b.length - 4)), /number \d+ is NaN/],
  ];
  it.each(damages)('refuses %s', async (_what, damage, message) => {
    const path = join(folder, 'model.gguf');
    await writeGguf(path, { ...viewOf(ggufCases.groups!), type: 'F32' });
    writeFileSync(path, damage(readFileSync(path)));
    const reading = (async () => {
      const model = await openGgufModel(path);
      try {
        for (const { name } of buildContract(model.config)) await model.read(name);
      } finally {
        await model.close();
      }
    })();
    await expect(reading).rejects.toMatchObject({ code: 'UNREADABLE', message: expect.stringMatching(message) });
  });
});

const mlxQuantised: MlxOptions = {
  ...{ dtype: 'BF16', quantisation: { bits: 4, group: 64 }, maxShardBytes: 1e9, contextLength: 64, modelFile: '' },
};

describe('files of safetensors', () => {
  const write = async (files: Parameters<typeof writeStaged>[0]['files']) => {
    const target = join(folder, 'model');
    await writeStaged({ target, kind: 'folder', files, source: 'test' });
    return target;
  };

  it.each([1e9, 60_000])('quasar_long in files of at most %d bytes comes back exactly', async (maxShardBytes) => {
    const target = await write(quasarLongFolder(viewOf(hybridConfig), { dtype: 'F32', maxShardBytes }));
    const { config, params } = await loadCheckpoint(target);
    expect(config).toEqual(hybridConfig);
    for (const [name, values] of paramsOf(hybridConfig)) expectSame(name, params.get(name), values);
    const names = readdirSync(target);
    for (const name of ['README.md', 'chat_template.jinja', 'generation_config.json', 'special_tokens_map.json'])
      expect(names).toContain(name);
    expect(names.includes('model.safetensors.index.json')).toBe(maxShardBytes < 1e6);
    expect(readFileSync(join(target, 'README.md'), 'utf8')).toMatch(/^---\nlicense: "apache-2.0"[\s\S]*### A run/);
  });

  it('BailingMoeV2 holds the same numbers, one tensor an expert', async () => {
    const config = ggufCases.groups!;
    const options = { dtype: 'F32', maxShardBytes: 1e9, contextLength: 64 } as const;
    const target = await write(lingFolder(viewOf(config), options));
    const json = JSON.parse(readFileSync(join(target, 'config.json'), 'utf8'));
    expect(json).toMatchObject({
      ...{ architectures: ['BailingMoeV2ForCausalLM'], model_type: 'bailing_moe', partial_rotary_factor: 0.5 },
      ...{ score_function: 'sigmoid', moe_router_enable_expert_bias: true, norm_topk_prob: true, num_experts: 8 },
    });
    // Ours reads that layout of tensors too, under its own config.
    writeFileSync(join(target, 'config.json'), JSON.stringify(toConfigJson(config)));
    const { params } = await loadCheckpoint(target);
    for (const [name, values] of paramsOf(config)) expectSame(name, params.get(name), values);
    const { tensors } = readSafetensors(new Uint8Array(readFileSync(join(target, 'model.safetensors'))));
    expect(tensors.get('model.layers.1.mlp.experts.7.up_proj.weight')!.shape).toEqual([32, 32]);
    expect(tensors.has('model.rotary_emb.inv_freq')).toBe(false);
  });

  it.each([
    [
      'hf, one tensor an expert',
      (view: ModelView) => lingFolder(view, { dtype: 'F32', maxShardBytes: 1e9, contextLength: 64 }),
      1,
    ],
    ['hf', (view: ModelView) => quasarLongFolder(view, { dtype: 'BF16', maxShardBytes: 1e9 }), 1],
    // Codes, which have four bytes, then scales and biases, which have two.
    ['mlx', (view: ModelView) => mlxFolder(view, mlxQuantised), 2],
  ] as const)('%s reads each tensor of the source as often as its layout needs', async (_what, files, most) => {
    const view = viewOf(wideConfig);
    const asked: string[] = [];
    const read = async (name: string) => {
      if (asked.at(-1) !== name) asked.push(name);
      return await view.read(name);
    };
    await write(files({ ...view, read }));
    const counts = new Map<string, number>();
    for (const name of asked) counts.set(name, (counts.get(name) ?? 0) + 1);
    expect(counts.size).toBeGreaterThan(20);
    expect([...counts].filter(([, count]) => count > most)).toEqual([]);
  });

  it('BailingMoeV2 is refused for a hybrid model', () => {
    const options = { dtype: 'F32', maxShardBytes: 1e9, contextLength: 64 } as const;
    expect(() => lingFolder(viewOf(hybridConfig), options)).toThrow(/^hybrid_attention_layers: /);
  });
});

/** mlx-lm's tensors under the names and in the order of checkpoints; written from its layout, not from our plans. */
function mlxModel(config: QuasarLongConfig, tensors: ReadonlyMap<string, Float32Array>): Map<string, Float32Array> {
  const { num_experts: E, hidden_size: h, moe_intermediate_size: I } = config;
  const model = new Map<string, Float32Array>();
  for (const [name, values] of tensors) {
    const [, path, part] = /^(.*\.mlp)\.switch_mlp\.(gate|up|down)_proj\.weight$/.exec(name) ?? [];
    if (path === undefined) {
      if (!/\.(scales|biases)$/.test(name)) model.set(name.replace('.gate.gate_proj.', '.gate.'), values);
      continue;
    }
    const stacked = `${path}.experts_${part === 'down' ? 'w3' : 'w12'}`;
    const [inputs, columns, outputs] = part === 'down' ? [I, h, h] : [h, 2 * I, I];
    const whole = model.get(stacked) ?? new Float32Array(E * inputs * columns);
    model.set(stacked, whole);
    const first = part === 'up' ? I : 0;
    for (let e = 0; e < E; e++)
      for (let i = 0; i < inputs; i++)
        for (let o = 0; o < outputs; o++)
          whole[(e * inputs + i) * columns + first + o] = values[(e * outputs + o) * inputs + i]!;
  }
  return model;
}

describe('MLX', () => {
  const options: MlxOptions = {
    ...{ dtype: 'F32', quantisation: null, maxShardBytes: 1e9, contextLength: 64, modelFile: '# python\n' },
  };
  async function write(config: QuasarLongConfig, changes: Partial<MlxOptions>) {
    const target = join(folder, 'model');
    const files = mlxFolder(viewOf(config), { ...options, ...changes });
    await writeStaged({ target, kind: 'folder', files, source: 'test' });
    const { tensors, metadata } = readSafetensors(new Uint8Array(readFileSync(join(target, 'model.safetensors'))));
    expect(metadata).toEqual({ format: 'mlx' });
    return { target, tensors, config: JSON.parse(readFileSync(join(target, 'config.json'), 'utf8')) };
  }
  const words = ({ bytes }: TensorBytes) => new Uint32Array(bytes.slice().buffer);

  it.each([
    ['bailing_moe', wideConfig],
    ['quasar_long', hybridConfig],
  ])('%s without quantisation holds the same numbers', async (type, own) => {
    const { tensors, config, target } = await write(own, {});
    expect(config.model_type).toBe(type);
    expect(config.model_file).toBe(type === 'quasar_long' ? 'quasar_long.py' : undefined);
    expect(readdirSync(target).includes('quasar_long.py')).toBe(type === 'quasar_long');
    const plans = mlxTensors(own);
    expect(tensors.size).toBe(plans.length);
    for (const plan of plans) {
      const stored = tensors.get(plan.name)!;
      expect(stored.shape, plan.name).toEqual(plan.shape);
      expect(isSame(asFloat32(stored), await valuesOf(plan, own)), plan.name).toBe(true);
    }
    const [first] = [...tensors.keys()].filter((name) => name.includes('switch_mlp'));
    expect(first).toMatch(/^model\.layers\.1\.mlp\.switch_mlp\.\w+_proj\.weight$/);
  });

  it.each([
    ['bailing_moe', wideConfig],
    ['quasar_long', hybridConfig],
  ])('%s: the model comes back exactly from what the layout says of each tensor', async (_type, own) => {
    const { tensors } = await write(own, {});
    const params = paramsOf(own);
    const back = mlxModel(own, new Map([...tensors].map(([name, stored]) => [name, asFloat32(stored)])));
    for (const [name, values] of back) expect(isSame(values, params.get(name) as Float32Array), name).toBe(true);
    const left = [...params.keys()].filter((name) => !back.has(name));
    expect(left, 'what follows from the config').toEqual(['model.rotary_emb.inv_freq']);
  });

  it.each([
    [4, 0.11],
    [8, 0.007],
  ] as const)('%d bits: the model comes back with an error of at most %f of its values', async (bits, bound) => {
    const { tensors } = await write(wideConfig, { quantisation: { bits, group: 64 } });
    const values = new Map<string, Float32Array>();
    for (const [name, stored] of tensors) {
      const path = name.replace(/\.weight$/, '');
      const [scales, biases] = ['scales', 'biases'].map((part) => tensors.get(`${path}.${part}`));
      if (scales === undefined || biases === undefined) values.set(name, asFloat32(stored));
      else if (path !== name)
        values.set(
          name,
          dequantiseAffine(
            { words: words(stored), scales: asFloat32(scales), biases: asFloat32(biases) },
            { bits, group: 64 },
          ),
        );
    }
    for (const [name, back] of mlxModel(wideConfig, values)) {
      const wanted = paramsOf(wideConfig).get(name) as Float32Array;
      const squares = (pick: (i: number) => number) => wanted.reduce((sum, _, i) => sum + pick(i) ** 2, 0);
      const error = Math.sqrt(squares((i) => back[i]! - wanted[i]!) / (squares((i) => wanted[i]!) || 1));
      expect(error, name).toBeLessThan(bound);
    }
  });

  it.each([4, 8] as const)('affine codes of %d bits are those of the quantiser', async (bits) => {
    const { tensors, config } = await write(wideConfig, { quantisation: { bits, group: 64 }, dtype: 'BF16' });
    expect(config.quantization).toEqual({ group_size: 64, bits, mode: 'affine' });
    let quantised = 0;
    for (const plan of mlxTensors(wideConfig)) {
      const path = /^(.*)\.weight$/.exec(plan.name)?.[1];
      const scales = tensors.get(`${path}.scales`);
      if (scales === undefined) {
        expect(plan.isExact, plan.name).toBe(true);
        continue;
      }
      quantised++;
      const wanted = quantiseAffine(await valuesOf(plan, wideConfig), { bits, group: 64 });
      expect(isSame(words(tensors.get(plan.name)!), wanted.words), plan.name).toBe(true);
      expect(scales.dtype).toBe('BF16');
      const stored = new Uint16Array(scales.bytes.slice().buffer);
      expect(Buffer.compare(Buffer.from(stored.buffer), Buffer.from(f32ToBf16(wanted.scales).buffer)), plan.name).toBe(
        0,
      );
      const back = dequantiseAffine(wanted, { bits, group: 64 });
      expect(back.length).toBe(plan.shape.reduce((a, b) => a * b));
    }
    expect(quantised).toBe(23);
    expect([...tensors.keys()].filter((name) => /gate\.gate_proj\.(scales|biases)/.test(name))).toEqual([]);
  });

  it('refuses what the Python file does not implement, by name', () => {
    const config = { ...hybridConfig, hybrid_quasar_mode: 'fused_recurrent' } as const;
    expect(() => mlxFolder(viewOf(config, paramsOf(hybridConfig)), options)).toThrow(/^hybrid_quasar_mode: /);
  });
});
