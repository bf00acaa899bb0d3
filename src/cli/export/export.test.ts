/** @file `accrete export` as an operator meets it: checkpoints in, files out, refusals by name and exit code; and `accrete logits`. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gguf } from '@huggingface/gguf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { trainBpe } from '../../data/bpe-trainer.ts';
import { tokenizerConfigJson, tokenizerJson } from '../../data/tokenizer-files.ts';
import { ggufCases, ggufExport, ggufParams, smallTokenizer } from '../../export/gguf/test-support.ts';
import { writeGguf } from '../../export/gguf/write.ts';
import { writeHuggingFaceFolder } from '../../export/hugging-face.ts';
import { parseConfig, type QuasarLongConfig } from '../../model/quasar-long/config.ts';
import { initParams } from '../../model/quasar-long/init.ts';
import { utf8 } from '../../util/bytes.ts';
import type { Io } from '../io.ts';
import { main } from '../main.ts';

let cwd: string;
beforeEach(() => void (cwd = mkdtempSync(join(tmpdir(), 'accrete-export-'))));
afterEach(() => rmSync(cwd, { recursive: true }));

async function run(...argv: readonly string[]) {
  return await command('export', ...argv);
}

async function command(...argv: readonly string[]) {
  const lines: string[] = [];
  const add = (line: string) => void lines.push(line);
  const never = new AbortController().signal;
  const io: Io = { out: add, write: add, err: add, terminal: null, environment: {}, cwd, stop: never, force: never };
  return { exitCode: await main([...argv], io), text: lines.join('\n') };
}

async function writeFolder(
  config: QuasarLongConfig,
  params = ggufParams(config),
  tokenizer = smallTokenizer,
): Promise<void> {
  await writeHuggingFaceFolder(join(cwd, 'model'), {
    ...{ config, params },
    files: new Map([
      ['tokenizer.json', utf8(tokenizer.json)],
      ['tokenizer_config.json', utf8(tokenizer.config)],
    ]),
    card: { name: 'test', licence: 'apache-2.0', summary: '', numbers: [], sources: [], notes: [] },
  });
}

const config = ggufCases.groups!;
const toGguf = ['--checkpoint', 'model', '--to', 'gguf'];

it('reads a folder tensor by tensor and writes what the writer writes of the same values', async () => {
  await writeFolder(config);
  const { exitCode, text } = await run(...toGguf, '--out', 'a.gguf', '--name', 'test', '--json');
  expect(exitCode, text).toBe(0);
  const bytes = readFileSync(join(cwd, 'a.gguf'));
  expect(JSON.parse(text)).toMatchObject({ architecture: 'bailingmoe2', type: 'F32', sizeBytes: bytes.length });
  await writeGguf(join(cwd, 'b.gguf'), ggufExport(config, { licence: 'apache-2.0' }));
  expect(Buffer.compare(bytes, readFileSync(join(cwd, 'b.gguf')))).toBe(0);
  const modelfile = readFileSync(join(cwd, 'a.Modelfile'), 'utf8');
  expect(modelfile).toMatch(/^FROM .\/a\.gguf\nPARAMETER num_ctx 64\n/);
  expect(readdirSync(cwd).sort()).toEqual(['a.Modelfile', 'a.gguf', 'b.gguf', 'model']);
});

it('writes of a GGUF file that travels alone what it writes of the checkpoint', async () => {
  const trained = trainBpe([], [], { tokenCount: 256 });
  const [json, settings] = [tokenizerJson(trained), tokenizerConfigJson()];
  const wide = parseConfig({ ...config, vocab_size: 300 });
  await writeFolder(wide, ggufParams(wide), { json: JSON.stringify(json), config: JSON.stringify(settings) });
  expect((await run(...toGguf, '--out', 'a.gguf', '--name', 'test')).exitCode).toBe(0);
  rmSync(join(cwd, 'model'), { recursive: true });
  const again = await run('--checkpoint', 'a.gguf', '--to', 'gguf', '--out', 'b.gguf', '--name', 'test');
  expect(again.exitCode, again.text).toBe(0);
  const tensorsOf = async (file: string) => (await gguf(join(cwd, file), { allowLocalFile: true })).tensorInfos;
  expect(await tensorsOf('b.gguf')).toEqual(await tensorsOf('a.gguf'));
  expect((await run('--checkpoint', 'a.gguf', '--to', 'hf', '--out', 'c')).exitCode).toBe(0);
  const textOf = (name: string) => JSON.parse(readFileSync(join(cwd, 'c', name), 'utf8'));
  expect(textOf('tokenizer.json')).toEqual(json);
  expect(textOf('tokenizer_config.json')).toEqual(settings);
});

it('refuses by name, and leaves no file', async () => {
  await writeFolder(config);
  const cases: readonly (readonly [readonly string[], number, string])[] = [
    [
      [...toGguf, '--out', 'a.gguf', '--type', 'Q9'],
      2,
      "--type: expected F32, F16, BF16, Q8_0, Q4_0, Q4_K_M, Q6_K or MXFP4 for gguf, got 'Q9'",
    ],
    [[...toGguf, '--out', 'a.gguf', '--type', 'q4_k_m'], 1, 'rows of 32 numbers are no multiple of 256'],
    [[...toGguf, '--out', 'a'], 2, "a GGUF file's name ends in .gguf"],
    [[...toGguf, '--out', 'a.gguf', '--bits', '4'], 2, '--bits: for mlx'],
    [['--checkpoint', 'model', '--to', 'mlx', '--out', 'm', '--bits', '3'], 2, '--bits: expected one of 4, 8'],
    [['--checkpoint', 'model', '--to', 'hf', '--out', 'm', '--type', 'F16'], 2, '--type: expected F32 or BF16 for hf'],
    [['--checkpoint', 'model', '--to', 'onnx', '--out', 'm'], 2, 'onnx'],
    [[...toGguf, '--out', join('no', 'such', 'a.gguf')], 1, 'make that folder first'],
    [['--checkpoint', 'nothing', '--to', 'hf', '--out', 'm'], 2, 'there is nothing at'],
    [['--checkpoint', 'model', '--to', 'hf', '--out', 'model'], 1, 'is there already'],
  ];
  for (const [argv, exitCode, message] of cases) {
    const refused = await run(...argv);
    expect(refused.text, argv.join(' ')).toContain(message);
    expect(refused.exitCode, argv.join(' ')).toBe(exitCode);
    expect(readdirSync(cwd), argv.join(' ')).toEqual(['model']);
  }
});

it('names damage in the checkpoint, and leaves no file', async () => {
  const file = join(cwd, 'model', 'model.safetensors');
  await writeFolder(config);
  const bytes = readFileSync(file);
  const nan = Buffer.from(bytes);
  nan.writeFloatLE(Number.NaN, bytes.length - 400);
  const json = JSON.parse(readFileSync(join(cwd, 'model', 'config.json'), 'utf8'));
  const cases: readonly (readonly [string, () => void, string])[] = [
    ['cut short', () => writeFileSync(file, bytes.subarray(0, bytes.length - 4)), 'damaged safetensors file'],
    ['foreign', () => writeFileSync(file, 'GGUF and so on'), 'damaged safetensors file'],
    ['not finite', () => writeFileSync(file, nan), 'is NaN as float32'],
    [
      'of another config',
      () => {
        writeFileSync(file, bytes);
        writeFileSync(join(cwd, 'model', 'config.json'), JSON.stringify({ ...json, num_hidden_layers: 2 }));
      },
      'is not part of the model that config.json describes',
    ],
  ];
  for (const [what, damage, message] of cases) {
    damage();
    for (const argv of [
      [...toGguf, '--out', 'a.gguf'],
      ['--checkpoint', 'model', '--to', 'hf', '--out', 'b'],
    ]) {
      const refused = await run(...argv);
      expect(refused.text, what).toContain(message);
      expect(refused.exitCode, what).toBe(1);
      expect(readdirSync(cwd), what).toEqual(['model']);
    }
  }
});

describe('the backbone of a hybrid model', () => {
  const text = 'a b ab ba '.repeat(60);
  const backbone = (...more: readonly string[]) =>
    run(...toGguf, '--out', 'a-backbone.gguf', '--context', '32', '--held-out', 'text', '--name', 'test', ...more);

  async function write(alpha: number): Promise<void> {
    const hybrid = parseConfig({ ...config, hybrid_attention_layers: [2], hybrid_layerwise_cycle: ['gla'] });
    const params = initParams(hybrid, 0);
    for (const [name, values] of params) if (name.endsWith('replace_alpha_raw')) (values as Float32Array).fill(alpha);
    await writeFolder(hybrid, params);
    writeFileSync(join(cwd, 'text'), text);
  }

  it('is measured, named and written where its branches do next to nothing', async () => {
    await write(-15);
    const { exitCode, text } = await backbone('--json');
    expect(exitCode, text).toBe(0);
    const report = JSON.parse(text.split('\n').at(-1)!);
    expect(Math.abs(report.kl)).toBeLessThan(1e-5);
    const { metadata } = await gguf(join(cwd, 'a-backbone.gguf'), { allowLocalFile: true });
    expect(metadata).toMatchObject({ 'general.name': 'test-backbone', 'bailingmoe2.context_length': 32 });
    const fields = metadata as unknown as Readonly<Record<string, unknown>>;
    expect(fields['quasar.branches_dropped']).toBe(true);
    expect(fields['quasar.backbone_tokens']).toBe(report.measuredTokens);
    expect(fields['quasar.backbone_kl']).toBe(Math.fround(report.kl));
    const card = readFileSync(join(cwd, 'a-backbone.md'), 'utf8');
    expect(card).toContain('# test-backbone');
    expect(card).toContain('KL divergence from the whole model');
  });

  it('is refused by what it loses, unless the operator says otherwise', async () => {
    await write(4);
    const refused = await backbone();
    expect(refused.text).toMatch(/without its branches the model loses -?\d+\.\d+ nats a token/);
    expect(refused.exitCode).toBe(1);
    expect(readdirSync(cwd).sort()).toEqual(['model', 'text']);
    const unnamed = await run(...toGguf, '--out', 'a.gguf', '--held-out', 'text');
    expect([unnamed.exitCode, unnamed.text]).toEqual([2, expect.stringContaining('is named …-backbone.gguf')]);
    const unmeasured = await run(...toGguf, '--out', 'a-backbone.gguf');
    expect([unmeasured.exitCode, unmeasured.text]).toEqual([2, expect.stringContaining('add --held-out FILE')]);
    expect((await backbone('--max-gap', '50')).exitCode).toBe(0);
  });

  it('is not what --layout quasar_long writes', async () => {
    await write(4);
    const { exitCode, text } = await run(...toGguf, '--out', 'a.gguf', '--layout', 'quasar_long');
    expect([exitCode, text]).toEqual([0, expect.stringContaining('architecture quasar_long; for accrete only')]);
    expect(readdirSync(cwd)).not.toContain('a.Modelfile');
    const [folder, file] = [
      await command('logits', '--checkpoint', 'model', '--tokens', '1,2,3', '--json'),
      await command('logits', '--checkpoint', 'a.gguf', '--tokens', '1,2,3', '--json'),
    ];
    expect(folder.exitCode, folder.text).toBe(0);
    expect(file.text).toBe(folder.text);
  });
});

describe('accrete logits', () => {
  it('gives normalised log-probabilities of the whole vocabulary after each token', async () => {
    await writeFolder(config);
    const { exitCode, text } = await command('logits', '--checkpoint', 'model', '--tokens', '5,6,7', '--json');
    expect(exitCode, text).toBe(0);
    const lines = text
      .split('\n')
      .map((line) => JSON.parse(line) as { position: number; token: number; logprobs: number[] });
    expect(lines.map(({ position, token }) => [position, token])).toEqual([
      [0, 5],
      [1, 6],
      [2, 7],
    ]);
    for (const { logprobs } of lines) {
      expect(logprobs.length).toBe(config.vocab_size);
      expect(Math.abs(logprobs.reduce((sum, value) => sum + Math.exp(value), 0) - 1)).toBeLessThan(1e-6);
    }
    expect(lines[0]!.logprobs).not.toEqual(lines[1]!.logprobs);
    const plain = await command('logits', '--checkpoint', 'model', '--tokens', '5');
    expect(plain.text.split(' ').slice(2).map(Number)).toEqual(lines[0]!.logprobs);
  });

  it.each(['1,x', '', '1,,2', '300', '-1'])('refuses --tokens %s', async (tokens) => {
    await writeFolder(config);
    const refused = await command('logits', '--checkpoint', 'model', `--tokens=${tokens}`);
    expect(refused.exitCode).toBe(2);
    expect(refused.text).toContain('--tokens');
  });
});
