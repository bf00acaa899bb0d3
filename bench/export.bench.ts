/** @file Exports of a seeded model in each format, for a gigabyte of its float32 checkpoint, beside a plain copy of the folder. */
import { closeSync, cpSync, fsyncSync, mkdirSync, mkdtempSync, openSync, readdirSync, rmSync, statSync } from 'node:fs';
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
import { type Bench, type BenchRow, percentile } from './measure.ts';

const roundCount = 5;

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
  const out = join(folder, 'out', 'model.gguf');
  const works = new Map<string, () => Promise<unknown>>([
    ['copy of the folder', async () => copySynced(checkpoint, join(folder, 'out', 'copy'))],
    ...formats.map(
      ([what, target, changes]) =>
        [what, async () => await exportOnce(target, { ...changes, checkpoint, out })] as const,
    ),
  ]);
  // In turns, so that a machine that others use disturbs all alike.
  const rounds: Map<string, Cost>[] = [];
  for (let round = 0; round <= roundCount; round++) {
    const costs = new Map<string, Cost>();
    for (const [what, work] of works) {
      rmSync(join(folder, 'out'), { recursive: true, force: true });
      mkdirSync(join(folder, 'out'));
      costs.set(what, await costOf(work));
    }
    // The first round warms up.
    if (round > 0) rounds.push(costs);
  }
  return [...works.keys()].map((what) => rowOf(what, rounds, bytes));
}

interface Cost {
  readonly wallMs: number;
  readonly processorMs: number;
}

async function costOf(work: () => Promise<unknown>): Promise<Cost> {
  const [startedAt, before] = [performance.now(), process.cpuUsage()];
  await work();
  const { user, system } = process.cpuUsage(before);
  return { wallMs: performance.now() - startedAt, processorMs: (user + system) / 1000 };
}

function rowOf(what: string, rounds: readonly ReadonlyMap<string, Cost>[], bytes: number): BenchRow {
  const median = (pick: (costs: ReadonlyMap<string, Cost>) => number): number => percentile(rounds.map(pick), 0.5);
  const perGb = (ms: number): string => (ms / (bytes / 1e9) / 1000).toFixed(1);
  const walls = rounds.map((costs) => costs.get(what)!.wallMs);
  const ratio = median((costs) => costs.get(what)!.wallMs / costs.get('copy of the folder')!.wallMs);
  return {
    ...{ what, value: `${perGb(percentile(walls, 0.5))} s a GB` },
    detail:
      `${ratio.toFixed(1)} times the copy; processor ${perGb(median((costs) => costs.get(what)!.processorMs))} s a GB; ` +
      `${perGb(percentile(walls, 0.1))}-${perGb(percentile(walls, 0.9))} (10-90 %, ${rounds.length} rounds)`,
  };
}

/** A copy that is on the disk, as the exports are. */
function copySynced(from: string, to: string): void {
  cpSync(from, to, { recursive: true });
  for (const name of readdirSync(to)) {
    const file = openSync(join(to, name), 'r+');
    fsyncSync(file);
    closeSync(file);
  }
}

async function exportOnce(
  target: ExportTarget,
  changes: Partial<ExportCommandOptions> & Pick<ExportCommandOptions, 'checkpoint' | 'out'>,
): Promise<void> {
  const source = await openSource(changes.checkpoint, 'bench');
  try {
    const options = { ...defaults, ...changes } as ExportCommandOptions;
    await target(options, source, { signal: new AbortController().signal, onProgress: () => {}, say: () => {} });
  } finally {
    await source.close();
  }
}

const defaults: Omit<ExportCommandOptions, 'checkpoint' | 'out' | 'to'> = {
  ...{ type: null, bits: null, group: 64, layout: null, maxShardBytes: 5e9, context: null, name: 'bench' },
  ...{ heldOut: null, maxGap: 0, threads: 1 },
};
