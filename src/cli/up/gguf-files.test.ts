/** @file What a run of preset nano-gguf ends with: its newest release as GGUF files, and what to type with them. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gguf } from '@huggingface/gguf';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { smallTokenizer } from '../../export/gguf/test-support.ts';
import { writeHuggingFaceFolder } from '../../export/hugging-face.ts';
import { paramsOf, wideConfig } from '../../export/test-support.ts';
import { utf8 } from '../../util/bytes.ts';
import { writeGgufFiles } from './gguf-files.ts';
import { nextCommands } from './next-commands.ts';

let dir: string;
beforeEach(() => void (dir = mkdtempSync(join(tmpdir(), 'accrete-up-'))));
afterEach(() => rmSync(dir, { recursive: true }));

async function writeRelease(): Promise<string> {
  const release = join(dir, 'releases', 'release-3');
  mkdirSync(join(dir, 'releases'));
  await writeHuggingFaceFolder(release, {
    ...{ config: wideConfig, params: paramsOf(wideConfig) },
    files: new Map([
      ['tokenizer.json', utf8(smallTokenizer.json)],
      ['tokenizer_config.json', utf8(smallTokenizer.config)],
    ]),
    card: { name: 'test', licence: 'apache-2.0', summary: '', numbers: [], sources: [], notes: [] },
  });
  return release;
}

it('are in three types, each with its Modelfile, and are not written twice', async () => {
  const release = await writeRelease();
  const files = await writeGgufFiles(dir, release, new AbortController().signal);
  const stems = ['F32', 'Q4_K_M', 'Q8_0'].map((type) => `release-3-${type}`);
  expect(readdirSync(join(dir, 'gguf')).sort()).toEqual(stems.flatMap((stem) => [`${stem}.Modelfile`, `${stem}.gguf`]));
  const times = files.map((file) => statSync(file).mtimeMs);
  expect(await writeGgufFiles(dir, release, new AbortController().signal)).toEqual(files);
  expect(files.map((file) => statSync(file).mtimeMs)).toEqual(times);
  for (const file of files) {
    const { metadata } = await gguf(file, { allowLocalFile: true });
    expect(metadata['general.architecture']).toBe('bailingmoe2');
    expect(readFileSync(file.replace(/gguf$/, 'Modelfile'), 'utf8')).toContain(`FROM ./${file.split('/').at(-1)}\n`);
  }
});

it('leave nothing under their names when they are broken off', async () => {
  const release = await writeRelease();
  const writing = writeGgufFiles(dir, release, AbortSignal.abort());
  await expect(writing).rejects.toMatchObject({ code: 'INTERRUPTED' });
  expect(readdirSync(join(dir, 'gguf')).filter((name) => !name.startsWith('.'))).toEqual([]);
});

it('are told with what to type in llama.cpp and in Ollama', () => {
  const options = { chosen: null, preset: 'nano-gguf', seed: 0, dir: '/a/run' } as const;
  const ggufFiles = ['F32', 'Q8_0'].map((type) => `/a/run/gguf/release-3-${type}.gguf`);
  const lines = nextCommands({ checkpoint: '/a/run/releases/release-3', ggufFiles }, options, '/a');
  expect(lines).toEqual([
    './bin/accrete generate --checkpoint run/releases/release-3 --prompt "The people of"',
    'llama-completion -m run/gguf/release-3-Q8_0.gguf -no-cnv -n 64 -p "The people of"     # llama.cpp; llama-cli -m FILE chats',
    'ollama create release-3-q8_0 -f run/gguf/release-3-Q8_0.Modelfile && ollama run release-3-q8_0 "The people of"',
    './bin/accrete up --preset nano-gguf --seed 0 --dir run     # trains on',
  ]);
  expect(nextCommands({ checkpoint: null, ggufFiles: [] }, options, '/a')).toEqual([lines.at(-1)]);
});
