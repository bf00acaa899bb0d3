/** @file `accrete export` as an operator meets it: a checkpoint folder in, one file out, refusals by name and exit code. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
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
  const lines: string[] = [];
  const add = (line: string) => void lines.push(line);
  const never = new AbortController().signal;
  const io: Io = { out: add, write: add, err: add, terminal: null, environment: {}, cwd, stop: never, force: never };
  return { exitCode: await main(['export', ...argv], io), text: lines.join('\n') };
}

async function writeFolder(config: QuasarLongConfig, params = ggufParams(config)): Promise<void> {
  await writeHuggingFaceFolder(join(cwd, 'model'), {
    ...{ config, params },
    files: new Map([
      ['tokenizer.json', utf8(smallTokenizer.json)],
      ['tokenizer_config.json', utf8(smallTokenizer.config)],
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
  await writeGguf(join(cwd, 'b.gguf'), ggufExport(config));
  expect(Buffer.compare(bytes, readFileSync(join(cwd, 'b.gguf')))).toBe(0);
});

it('refuses by name, and leaves no file', async () => {
  const hybrid = parseConfig({ ...config, hybrid_attention_layers: [2] });
  await writeFolder(hybrid, initParams(hybrid, 0));
  const refused = await run(...toGguf, '--out', 'a.gguf');
  expect(refused.exitCode).toBe(1);
  expect(refused.text).toContain('hybrid_attention_layers: [2] cannot be said');
  const mistyped = await run(...toGguf, '--out', 'a.gguf', '--type', 'Q9');
  expect(mistyped.exitCode).toBe(2);
  expect(mistyped.text).toContain("--type: expected F32 or F16 for gguf, got 'Q9'");
  expect(readdirSync(cwd)).toEqual(['model']);
});
