/** @file Asks llama.cpp what it computes of the files of src/export/gguf/test-support.ts; writes tests/vectors/gguf/expected.json. */
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findLlamaCpp } from '../../bench/llama/install.ts';
import { Side } from '../../bench/side.ts';
import { ggufCases, ggufExport, ggufPrompt } from '../../src/export/gguf/test-support.ts';
import { writeGguf } from '../../src/export/gguf/write.ts';

const llama = findLlamaCpp();
if ('missing' in llama) throw new Error(llama.missing);
const folder = mkdtempSync(join(tmpdir(), 'accrete-golden-'));
const cases: Record<string, unknown> = {};
for (const [i, [name, config]] of Object.entries(ggufCases).entries()) {
  const file = join(folder, `${i}.gguf`);
  await writeGguf(file, ggufExport(config));
  const script = join(import.meta.dirname, '..', '..', 'bench', 'llama', 'decode.mjs');
  const side = new Side<unknown, readonly { greedy: number; next: number }[]>(process.execPath, [
    ...[script, llama.module, file, '1', '64'],
  ]);
  await side.ready;
  const tokens = await side.ask({ prompt: ggufPrompt(config), logits: true });
  side.close();
  const sha256 = createHash('sha256').update(readFileSync(file)).digest('hex');
  cases[name] = { sha256, greedy: tokens.map(({ greedy }) => greedy), next: tokens.map(({ next }) => next) };
}
rmSync(folder, { recursive: true });
const target = join(import.meta.dirname, '..', '..', 'tests', 'vectors', 'gguf');
mkdirSync(target, { recursive: true });
writeFileSync(join(target, 'expected.json'), `${JSON.stringify({ madeBy: llama.version, cases }, null, 1)}\n`);
