/** @file What a hybrid layer costs over a plain one: forward and all gradients of models of two layers at 256 tokens. */
import { availableParallelism } from 'node:os';
import { openSession, type Session } from '../src/engine/session.ts';
import { feedParams } from '../src/model/quasar-long/feeds.ts';
import { buildLossGraph } from '../src/model/quasar-long/graphs.ts';
import { initParams } from '../src/model/quasar-long/init.ts';
import { presetConfig } from '../src/model/quasar-long/presets.ts';
import { viewOf } from '../src/tensor/view.ts';
import { type Bench, percentile } from './measure.ts';

const [batch, time, rounds, turn] = [8, 256, 7, 4];
const kinds = ['plain', 'quasar', 'raven', 'gla'] as const;
type Kind = (typeof kinds)[number];

interface Subject {
  readonly session: Session;
  run(): Promise<unknown>;
}

export const layers: Bench = {
  name: 'layers',
  about: `time of a hybrid layer over a plain layer, ${batch} × ${time} tokens, hidden 256, dense MLP of 1024 in both`,
  async run() {
    const threads = Math.min(2, availableParallelism());
    // The embedding, the head and the first layer are in all of them: what is left after one layer alone is the second.
    const base = await open(1, 'plain', threads);
    const subjects = new Map<Kind, Subject>();
    for (const kind of kinds) subjects.set(kind, await open(2, kind, threads));
    const times = new Map<Subject, number[]>();
    // Blocks: sessions that take turns at every run slow each other down.
    for (let round = 0; round < rounds; round++)
      for (const subject of [base, ...subjects.values()])
        times.set(subject, [...(times.get(subject) ?? []), ...(await runsOf(subject))]);
    const fastest = (subject: Subject): number => percentile(times.get(subject)!, 0.25);
    const layerMs = (kind: Kind): number => fastest(subjects.get(kind)!) - fastest(base);
    for (const { session } of [base, ...subjects.values()]) await session.release();
    return kinds.map((kind) => ({
      what: kind,
      value: `${(layerMs(kind) / layerMs('plain')).toFixed(2)}x`,
      detail: `${layerMs(kind).toFixed(1)} ms for the layer, forward and backward, ${threads} threads; quartile of ${rounds * turn} runs`,
    }));
  },
};

/** After one to warm up. */
async function runsOf({ run }: Subject): Promise<number[]> {
  await run();
  const times: number[] = [];
  for (let i = 0; i < turn; i++) {
    const startedAt = performance.now();
    await run();
    times.push(performance.now() - startedAt);
  }
  return times;
}

/** A model whose second layer, if it has one, is of `kind`. */
async function open(layerCount: number, kind: Kind, threads: number): Promise<Subject> {
  const config = presetConfig('nano', {
    ...{ vocab_size: 512, hidden_size: 256, num_hidden_layers: layerCount, head_dim: 64, intermediate_size: 1024 },
    ...{ first_k_dense_replace: layerCount, hybrid_raven_slots: 64, hybrid_raven_topk: 32, initializer_range: 0.03 },
    ...{ hybrid_attention_layers: kind === 'plain' ? [] : [1] },
    ...{ hybrid_layerwise_cycle: kind === 'plain' ? ['quasar'] : [kind], hybrid_output_adapter_rank: 16 },
  });
  const { graph, gradientNames } = buildLossGraph(config, { batch, seqLen: time, packed: true, gradients: true });
  const session = await openSession(graph, { threads });
  const tokens = (of: (i: number) => number) =>
    viewOf(
      BigInt64Array.from({ length: batch * time }, (_, i) => BigInt(of(i))),
      [batch, time],
    );
  const ids = tokens((i) => 1 + ((i * 7919) % 511));
  const feeds = {
    ...feedParams(config, initParams(config, 'bench')),
    ...{ input_ids: ids, position_ids: tokens((i) => i % time), labels: ids },
  };
  const fetch = gradientNames.map((name) => `grad:${name}`);
  return { session, run: () => session.run(feeds, fetch, {}) };
}
