/** @file Exports of a seeded model in each format, in bytes of its float32 checkpoint a second, beside a plain copy of the folder. */
import { cpSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openSource } from '../src/cli/export/source.ts';
import type { ExportCommandOptions, ExportTarget } from '../src/cli/export/targets.ts';
import { toGguf } from '../src/cli/export/to-gguf.ts';
import { toHf } from '../src/cli/export/to-hf.ts';
import { toMlx } from '../src/cli/export/to-mlx.ts';
import { smallTokenizer } from '../src/export/gguf/test-support.ts';
import { writeHuggingFaceFolder } from '../src/export/hugging-face.ts';
import { initParams } from '../src/model/quasar-long/init.ts';
import { presetConfig } from '../src/model/quasar-long/presets.ts';
import { utf8 } from '../src/util/bytes.ts';
import { type Bench, type BenchRow, gigabytesPerSecond, spread, time } from './measure.ts';

const formats: readonly (readonly [string, ExportTarget, Partial<ExportCommandOptions>])[] = [
  ['hf F32', toHf, { to: 'hf', type: 'F32' }],
  ['hf BF16', toHf, { to: 'hf', type: 'BF16' }],
  ['hf bailing_moe F32', toHf, { to: 'hf', type: 'F32', layout: 'bailing_moe' }],
  ...(['F32', 'F16', 'Q8_0', 'Q4_0', 'MXFP4', 'Q4_K_M', 'Q6_K'] as const).map(
    (type) => [`gguf ${type}`, toGguf, { to: 'gguf', type }] as const,
  ),
  ['mlx F32', toMlx, { to: 'mlx', type: 'F32' }],
  ['mlx 4 bits', toMlx, { to: 'mlx', type: 'BF16', bits: 4 }],
];

export const exportBench: Bench = {
  name: 'export',
  about: 'preset nano-gguf in each format, one thread, synced to the disk; per GB of the float32 checkpoint',
  async run() {
    const folder = mkdtempSync(join(tmpdir(), 'accrete-bench-export-'));
    try {
      return await measure(folder);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
};

async function measure(folder: string): Promise<BenchRow[]> {
  const checkpoint = join(folder, 'model');
  const config = presetConfig('nano-gguf');
  await writeHuggingFaceFolder(checkpoint, {
    ...{ config, params: initParams(config, 0) },
    files: new Map([
      ['tokenizer.json', utf8(smallTokenizer.json)],
      ['tokenizer_config.json', utf8(smallTokenizer.config)],
    ]),
    card: { name: 'bench', licence: 'apache-2.0', summary: '', numbers: [], sources: [], notes: [] },
  });
  const bytes = statSync(join(checkpoint, 'model.safetensors')).size;
  const rows: BenchRow[] = [];
  const out = join(folder, 'out', 'model.gguf');
  const add = async (what: string, work: () => Promise<unknown>): Promise<void> => {
    const timing = await time(
      async () => {
        rmSync(join(folder, 'out'), { recursive: true, force: true });
        cpSync(join(checkpoint, 'config.json'), join(folder, 'out', 'config.json'));
        await work();
      },
      { runs: 5, warmups: 1 },
    );
    const perGb = `${(timing.medianMs / (bytes / 1e9) / 1000).toFixed(1)} s a GB`;
    rows.push({ what, value: perGb, detail: `${gigabytesPerSecond(bytes, timing.medianMs)}; ${spread(timing)}` });
  };
  await add('copy of the folder', async () => cpSync(checkpoint, join(folder, 'out', 'copy'), { recursive: true }));
  for (const [what, target, changes] of formats)
    await add(what, async () => {
      const source = await openSource(checkpoint, 'bench');
      try {
        const options = { ...defaults, ...changes, checkpoint, out } as ExportCommandOptions;
        await target(options, source, { signal: new AbortController().signal, onProgress: () => {}, say: () => {} });
      } finally {
        await source.close();
      }
    });
  return rows;
}

const defaults: Omit<ExportCommandOptions, 'checkpoint' | 'out' | 'to'> = {
  ...{ type: null, bits: null, group: 64, layout: null, maxShardBytes: 5e9, context: null, name: 'bench' },
  ...{ heldOut: null, maxGap: 0, threads: 1 },
};
