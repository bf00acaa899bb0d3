/**
 * @file Exporting needs memory for a tensor, not for the checkpoint: a process that may not hold the checkpoint exports it.
 * The checkpoint is a sparse file of zeros with a true header, so that it costs no disk.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { parseConfig, toConfigJson } from '../model/quasar-long/config.ts';
import { buildContract } from '../model/quasar-long/contract.ts';
import { bufferValues } from '../model/quasar-long/init.ts';
import { encodeSafetensorsHeader } from '../tensor/safetensors.ts';
import { smallTokenizer } from './gguf/test-support.ts';

let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'accrete-memory-'))));
afterEach(() => rmSync(folder, { recursive: true }));

/** 30 layers of some 4 million numbers each; the largest tensor has 8 MiB in float32. */
const config = parseConfig({
  ...{ vocab_size: 512, hidden_size: 512, intermediate_size: 512, num_hidden_layers: 30, num_attention_heads: 8 },
  ...{ num_key_value_heads: 2, head_dim: 64, partial_rotary_factor: 0.5, first_k_dense_replace: 1, num_experts: 4 },
  ...{ num_experts_per_tok: 1, n_group: 1, topk_group: 1, moe_intermediate_size: 512, max_position_embeddings: 64 },
  ...{ eos_token_id: 0, pad_token_id: 0 },
});

function writeSparseCheckpoint(): number {
  const tensors = buildContract(config)
    .filter((spec) => bufferValues(config, spec) === null)
    .map(({ name, shape }) => ({ name, shape, dtype: 'F32' as const }));
  const { header, order } = encodeSafetensorsHeader(tensors, { format: 'pt' });
  const last = order.at(-1)!;
  const file = openSync(join(folder, 'model.safetensors'), 'w');
  writeSync(file, header);
  ftruncateSync(file, header.length + last.offsetBytes + last.sizeBytes);
  closeSync(file);
  writeFileSync(join(folder, 'config.json'), JSON.stringify(toConfigJson(config)));
  writeFileSync(join(folder, 'tokenizer.json'), smallTokenizer.json);
  writeFileSync(join(folder, 'tokenizer_config.json'), smallTokenizer.config);
  return statSync(join(folder, 'model.safetensors')).size;
}

it('exports a checkpoint several times as large as the memory that it takes', { timeout: 300_000 }, () => {
  const sizeBytes = writeSparseCheckpoint();
  const bin = join(import.meta.dirname, '..', 'cli', 'main.ts');
  const script = `
    import { main } from ${JSON.stringify(bin)};
    const never = new AbortController().signal;
    const line = (text) => console.error(text);
    const io = { out: line, write: line, err: line, terminal: null, environment: {}, cwd: ${JSON.stringify(folder)}, stop: never, force: never };
    const before = process.memoryUsage().rss;
    const exitCode = await main(${JSON.stringify(['export', '--checkpoint', '.', '--to', 'gguf', '--type', 'Q8_0', '--out', 'out.gguf'])}, io);
    console.log(JSON.stringify({ exitCode, beforeBytes: before, peakBytes: process.resourceUsage().maxRSS * 1024 }));
  `;
  const entry = join(folder, 'entry.mjs');
  writeFileSync(entry, script);
  const child = spawnSync(process.execPath, ['--max-old-space-size=96', '--import', 'tsx', entry], {
    cwd: join(import.meta.dirname, '..', '..'),
    encoding: 'utf8',
    timeout: 280_000,
  });
  expect(child.status, child.stderr).toBe(0);
  const { exitCode, beforeBytes, peakBytes } = JSON.parse(child.stdout.trim().split('\n').at(-1)!);
  expect(exitCode, child.stderr).toBe(0);
  expect(sizeBytes).toBeGreaterThan(400e6);
  expect(statSync(join(folder, 'out.gguf')).size).toBeGreaterThan(sizeBytes / 5);
  // A tensor, its bytes and parts, a few of them until they are collected: a fraction of the file.
  expect(peakBytes - beforeBytes, `peak ${peakBytes}, at the start ${beforeBytes}`).toBeLessThan(sizeBytes / 2);
});
