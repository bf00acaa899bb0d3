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
import { wideConfig } from '../src/export/test-support.ts';
import type { QuasarLongConfig } from '../src/model/quasar-long/config.ts';
import { initParams } from '../src/model/quasar-long/init.ts';
import { presetConfig } from '../src/model/quasar-long/presets.ts';
import { utf8 } from '../src/util/bytes.ts';
import { type Bench, type BenchRow, percentile } from './measure.ts';

const roundCount = 3;
const copyName = 'copy of the folder';

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

/** Twice as deep as nano-gguf, so that what a process does once weighs little. */
const layers = 12;

export const exportBench: Bench = {
  name: 'export',
  about: `nano-gguf with ${layers} layers in each format, one thread, synced to the disk; for a GB of the float32 checkpoint`,
  async run() {
    const folder = mkdtempSync(join(tmpdir(), 'accrete-bench-export-'));
    try {
      const small = await writeModel(join(folder, 'small'), wideConfig);
      await measureRound(small, folder); // warms up
      const model = await writeModel(join(folder, 'model'), presetConfig('nano-gguf', { num_hidden_layers: layers }));
      const bytes = statSync(join(model, 'model.safetensors')).size;
      // In turns, so that a machine that others use disturbs all alike.
      const rounds: ReadonlyMap<string, Cost>[] = [];
      for (let round = 0; round < roundCount; round++) rounds.push(await measureRound(model, folder));
      return [...rounds[0]!.keys()].map((what) => rowOf(what, rounds, bytes));
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
};

async function writeModel(checkpoint: string, config: QuasarLongConfig): Promise<string> {
  await writeHuggingFaceFolder(checkpoint, {
    ...{ config, params: initParams(config, 0) },
    files: new Map([
      ['tokenizer.json', utf8(smallTokenizer.json)],
      ['tokenizer_config.json', utf8(smallTokenizer.config)],
    ]),
    card: { name: 'bench', licence: 'apache-2.0', summary: '', numbers: [], sources: [], notes: [] },
  });
  return checkpoint;
}

async function measureRound(checkpoint: string, folder: string): Promise<ReadonlyMap<string, Cost>> {
  const parent = join(folder, 'out');
  const out = join(parent, 'model.gguf');
  const works: readonly (readonly [string, () => Promise<void>])[] = [
    [copyName, async () => copySynced(checkpoint, join(parent, 'copy'))],
    ...formats.map(
      ([what, target, changes]) =>
        [what, async () => await exportOnce(target, { ...changes, checkpoint, out })] as const,
    ),
  ];
  const costs = new Map<string, Cost>();
  for (const [what, work] of works) {
    rmSync(parent, { recursive: true, force: true });
    mkdirSync(parent);
    costs.set(what, await costOf(work));
  }
  return costs;
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
  const ratio = median((costs) => costs.get(what)!.wallMs / costs.get(copyName)!.wallMs);
  return {
    ...{ what, value: `${perGb(percentile(walls, 0.5))} s a GB` },
    detail:
      `${ratio.toFixed(1)} times the copy; processor ${perGb(median((costs) => costs.get(what)!.processorMs))} s a GB; ` +
      `${perGb(Math.min(...walls))}-${perGb(Math.max(...walls))} in ${rounds.length} rounds`,
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
