/**
 * @file A training step beside PyTorch's: same model, weights, data and optimiser, float32 on the CPU. Both sides are
 * processes that stay alive and train in turns, so that neither is timed while the other computes. The losses and
 * gradient norms of every step are compared; a side that computes something else is an error, not a result.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { presetConfig } from '../src/model/quasar-long/presets.ts';
import { type Bench, type BenchRow, percentile } from './measure.ts';
import { Side } from './side.ts';
import { findTorch, type Torch } from './torch/install.ts';
import { type BlockResult, type TrainingJob, writeJob } from './train-job.ts';

/**
 * nano's recipe, but for learning rate and epsilon: with epsilon 1e-8 AdamW's first steps are signs of gradients, and
 * the last bit of a small one decides. No value here changes how long a step takes.
 */
const recipe = {
  ...{ learningRate: 1e-4, beta1: 0.9, beta2: 0.95, epsilon: 1e-2 },
  ...{ weightDecay: 0.1, clipNorm: 1, selectionBiasRate: 1e-3 },
};

interface Subject {
  readonly name: string;
  readonly job: Omit<TrainingJob, 'threads' | 'steps' | 'recipe'>;
  /** Steps of one turn. */
  readonly turn: number;
  readonly rounds: number;
}

const subjects: readonly Subject[] = [
  { name: 'nano', job: { config: presetConfig('nano'), batch: 4, time: 128 }, turn: 10, rounds: 9 },
  {
    name: 'wide',
    job: {
      config: presetConfig('nano', {
        ...{ vocab_size: 4096, hidden_size: 256, num_hidden_layers: 8, head_dim: 64, intermediate_size: 512 },
        ...{ moe_intermediate_size: 256, hybrid_attention_layers: [2, 3, 4, 5, 6, 7], initializer_range: 0.03 },
        ...{ hybrid_raven_slots: 64, hybrid_raven_topk: 32 },
      }),
      ...{ batch: 4, time: 256 },
    },
    ...{ turn: 3, rounds: 7 },
  },
];

/** PyTorch is measured in the fastest of these. */
const torchVariants = [
  {},
  { foreach: true },
  { chunked_gla: false },
  { attention_blocks: 2 },
  { attention_blocks: 4 },
] as const;

/**
 * Relative; float32 on both sides. In the first turn agreement is a matter of rounding. Later rounding has moved the
 * parameters apart and sends single tokens to other experts (and the gla norm's gradient at a document's first token is
 * as large as q·k is small): 0.35 % measured in 80 steps of nano; two variants of PyTorch's side drift apart too.
 */
const firstLossTolerance = 1e-5;
const firstTurnTolerance = 2e-4;
const lossTolerance = 1e-2;
const normTolerance = 1e-3;

export const train: Bench = {
  name: 'train',
  about: 'training steps beside PyTorch: tokens/s, ratio of the times of each round, peak memory',
  async run() {
    const torch = findTorch();
    if ('missing' in torch) return [{ what: 'skipped', value: '', detail: torch.missing }];
    const rows: BenchRow[] = [];
    for (const subject of subjects)
      for (const threads of new Set([1, Math.min(2, availableParallelism())]))
        rows.push(...(await compare(subject, threads, torch)));
    return rows;
  },
};

async function compare(subject: Subject, threads: number, torch: Torch): Promise<readonly BenchRow[]> {
  const folder = mkdtempSync(join(tmpdir(), 'accrete-bench-'));
  const steps = subject.turn * (subject.rounds + 1);
  writeJob(folder, { ...subject.job, threads, steps, recipe });
  const variant = await fastestVariant(folder, threads, torch);
  const ours = openOurs(folder);
  const theirs = openTorch(folder, threads, torch, variant);
  try {
    await ours.ready;
    await theirs.ready;
    const rounds: { readonly ours: BlockResult; readonly theirs: BlockResult }[] = [];
    for (let from = 0; from < steps; from += subject.turn) {
      const block = { from, count: subject.turn };
      const round = { ours: await ours.ask(block), theirs: await theirs.ask(block) };
      checkAgreement(round, from);
      // The first turn warms up, and holds the steps whose losses are compared tightly.
      if (from > 0) rounds.push(round);
    }
    return report(subject, threads, { rounds, torch, variant });
  } finally {
    ours.close();
    theirs.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Block {
  readonly from: number;
  readonly count: number;
}

type TrainingSide = Side<Block, BlockResult>;

const openOurs = (folder: string): TrainingSide =>
  new Side(process.execPath, ['--import', 'tsx', join(import.meta.dirname, 'train-ours.ts'), folder]);

const openTorch = (folder: string, threads: number, torch: Torch, variant: object): TrainingSide =>
  new Side(
    torch.python,
    [join(import.meta.dirname, 'torch', 'train.py'), folder, JSON.stringify(variant)],
    torch.environment(threads),
  );

/** By the fastest of a few steps after two for warming up. */
async function fastestVariant(folder: string, threads: number, torch: Torch): Promise<object> {
  let best: { readonly variant: object; readonly ms: number } | null = null;
  for (const variant of torchVariants) {
    const side = openTorch(folder, threads, torch, variant);
    await side.ready;
    const { ms } = await side.ask({ from: 0, count: 6 });
    side.close();
    const fastest = Math.min(...ms.slice(2));
    if (best === null || fastest < best.ms) best = { variant, ms: fastest };
  }
  return best!.variant;
}

function checkAgreement(round: { readonly ours: BlockResult; readonly theirs: BlockResult }, from: number): void {
  round.ours.losses.forEach((loss, i) => {
    const other = round.theirs.losses[i]!;
    const allowed = from > 0 ? lossTolerance : i > 0 ? firstTurnTolerance : firstLossTolerance;
    if (!(Math.abs(loss - other) <= allowed * Math.abs(other)))
      throw new Error(`step ${from + i}: loss ${loss}, PyTorch's ${other}; they may differ by ${allowed} of it`);
  });
  const [norm, other] = [round.ours.gradNorms[0]!, round.theirs.gradNorms[0]!];
  if (from === 0 && !(Math.abs(norm - other) <= normTolerance * other))
    throw new Error(`first step: gradient norm ${norm}, PyTorch's ${other}; they may differ by ${normTolerance} of it`);
}

interface Comparison {
  readonly rounds: readonly { readonly ours: BlockResult; readonly theirs: BlockResult }[];
  readonly torch: Torch;
  readonly variant: object;
}

function report(subject: Subject, threads: number, { rounds, torch, variant }: Comparison): readonly BenchRow[] {
  const { batch, time } = subject.job;
  const describe = (pick: (round: Comparison['rounds'][number]) => BlockResult, name: string): BenchRow => {
    const times = rounds.flatMap((round) => pick(round).ms);
    const median = percentile(times, 0.5);
    const cpuMs = rounds.reduce((sum, round) => sum + pick(round).cpuMs, 0) / times.length;
    const peak = Math.max(...rounds.map((round) => pick(round).peakRssBytes)) / 2 ** 20;
    const fastest = Math.min(...times).toFixed(1);
    return {
      what: `${subject.name}, ${threads} ${threads === 1 ? 'thread' : 'threads'}, ${name}`,
      value: `${Math.round((batch * time * 1000) / median).toLocaleString('en-US')} tokens/s`,
      detail:
        `${median.toFixed(1)} ms a step of ${batch} × ${time} (fastest ${fastest}, 90 % ${percentile(times, 0.9).toFixed(1)}), ` +
        `CPU ${cpuMs.toFixed(0)} ms, peak ${peak.toFixed(0)} MiB`,
    };
  };
  const ratios = rounds.map(({ ours, theirs }) => percentile(theirs.ms, 0.5) / percentile(ours.ms, 0.5));
  const at = (share: number): string => percentile(ratios, share).toFixed(2);
  const losses = `losses agree in ${(rounds.length + 1) * subject.turn} steps`;
  return [
    describe(({ ours }) => ours, 'ours'),
    describe(({ theirs }) => theirs, `PyTorch ${torch.version}`),
    {
      what: '  ratio',
      value: `${at(0.5)}`,
      detail: `${at(0.1)}-${at(0.9)} (10-90 % of ${ratios.length} rounds); ${losses}; PyTorch with ${JSON.stringify(variant)}`,
    },
  ];
}
