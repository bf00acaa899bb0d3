/**
 * @file What a codec, or the rounding of states, costs in loss: two learners train one run with each over the same sequences, claim, merge and take in
 * with the real code, and the merged model is measured on held-out text. One process, one seed, float32 beside the others.
 */
import { CORPUS_DIR, loadCorpus } from '../src/data/prepared.ts';
import { openEvaluator } from '../src/evaluation/evaluator.ts';
import { heldOutLosses, heldOutSequences } from '../src/evaluation/held-out.ts';
import type { CodecName } from '../src/merge/codecs/codec.ts';
import { decodeFragment } from '../src/merge/codecs/fragment-file.ts';
import { unpackFragment } from '../src/merge/fragment-values.ts';
import { floatsOf, initParams } from '../src/model/quasar-long/init.ts';
import { hotkeyFromSeed } from '../src/protocol/keys.ts';
import type { RunManifest } from '../src/protocol/manifest.ts';
import { TestRun, TracedLearner } from '../src/roles/learner/test-support.ts';
import { buildManifest } from '../src/roles/orchestrator/run-init.ts';
import type { RunPresetName } from '../src/roles/run-presets.ts';
import { resemblance, sketchPositions, takeSketch } from '../src/roles/validator/resemblance.ts';
import type { Bench, BenchRow } from './measure.ts';

interface Variant {
  readonly codec: CodecName;
  /** Inner steps between two roots, at which states are rounded; null: no roots, and nothing is rounded. */
  readonly roundedEvery: number | null;
}

const codecs: readonly Variant[] = (['f32', 'int4', 'topk'] as const).map((codec) => ({ codec, roundedEvery: null }));
const roundings = (every: number): readonly Variant[] =>
  [null, every, 1].map((roundedEvery) => ({ codec: 'int8', roundedEvery }));
const learnerCount = 2;
/** The loss is measured after each quarter of the steps. */
const quarters = 4;
const evaluationSequences = 64;
/** Held-out loss above float32's that a codec may cost, in nats a token (issue 9). */
const bars: Partial<Record<CodecName, number>> = { int4: 0.01, topk: 0.05 };

interface Trained {
  /** After each quarter. */
  readonly losses: readonly number[];
  readonly tokens: number;
  readonly claimBytes: number;
  /** Of two honest learners' claims for one outer step: the most, and the mean. */
  readonly alike: readonly number[];
}

/** `every`: inner steps between two claims of a learner; 240 merges of each of four fragments, which a sparse codec needs to catch up. */
export const codecLoss: Bench = bench('codec-loss', 'nano', codecs, { steps: 960, every: 1 });
export const codecLossTiny: Bench = bench('codec-loss-tiny', 'tiny', codecs, { steps: 1_920, every: 2 });
/** Every S steps of the preset, as a run rounds, and after each step. */
export const roundingLoss: Bench = bench('rounding-loss', 'nano', roundings(20), { steps: 480, every: 6 });
export const roundingLossTiny: Bench = bench('rounding-loss-tiny', 'tiny', roundings(10), { steps: 960, every: 6 });

function bench(
  name: string,
  preset: RunPresetName,
  variants: readonly Variant[],
  pace: { readonly steps: number; readonly every: number },
): Bench {
  const { steps, every } = pace;
  return {
    name,
    about: `held-out loss of a ${preset} run of ${steps} steps of ${learnerCount} learners, a claim every ${every}: ${variants.map(nameOf).join(', ')}, each beside the first`,
    isLong: true,
    async run() {
      const rows: BenchRow[] = [];
      let base: readonly number[] = [];
      for (const variant of variants) {
        const { codec } = variant;
        const { losses, tokens, claimBytes, alike } = await train(preset, variant, pace);
        if (variant === variants[0]) base = losses;
        const above = losses.map((loss, i) => `${loss >= base[i]! ? '+' : ''}${(loss - base[i]!).toFixed(4)}`);
        const bar = bars[codec];
        const mean = alike.reduce((sum, each) => sum + each, 0) / alike.length;
        rows.push({
          what: `${preset}, ${nameOf(variant)}`,
          value: `${losses.at(-1)!.toFixed(4)} nats, ${above.at(-1)}`,
          detail: `${bar === undefined ? '' : `bar +${bar}; `}after each quarter ${losses.map((loss, i) => `${loss.toFixed(3)} (${above[i]})`).join(', ')}; ${(tokens / 1e3).toFixed(0)}k tokens, ${(claimBytes / 1e3).toFixed(0)} kB a claim; resemblance of honest claims ${mean.toFixed(3)}, at most ${Math.max(...alike).toFixed(3)}`,
        });
        console.error(`  ${rows.at(-1)!.what}: ${rows.at(-1)!.value}; ${rows.at(-1)!.detail}`);
      }
      return rows;
    },
  };
}

function nameOf({ codec, roundedEvery }: Variant): string {
  return roundedEvery === null ? codec : `${codec}, states rounded every ${roundedEvery} steps`;
}

async function train(
  preset: RunPresetName,
  { codec, roundedEvery }: Variant,
  { every, steps }: { readonly every: number; readonly steps: number },
): Promise<Trained> {
  const { catalog, loaded } = loadCorpus(CORPUS_DIR, preset);
  const base = buildManifest({
    ...{ name: 'codec loss', preset, seed: '1', createdAtMs: 0, learners: learnerCount, catalog },
    ledger: { chainId: 'bench', netuid: 1 },
    owner: hotkeyFromSeed(new Uint8Array(32).fill(1), 'ed25519'),
  });
  const manifest: RunManifest = {
    ...{ ...base, codec, sync: { ...base.sync, stateRootEverySteps: roundedEvery ?? 1_000_000 } },
    audit: { ...base.audit, stateFormat: 'rounded' },
  };
  const run = new TestRun(manifest, loaded);
  const learners = Array.from({ length: learnerCount }, () => new TracedLearner(run, { threads: 2, device: 'cpu' }));
  const fragments = run.model.plan.fragments;
  const alike: number[] = [];
  const losses: number[] = [];
  let claimBytes = 0;
  for (let step = 0; step < steps; step++) {
    const outerStep = Math.floor(step / every) - 1;
    const id = outerStep % fragments.length;
    if (outerStep >= 0 && step % every === 0) {
      const claims = learners.map((learner) => learner.claim(outerStep));
      claimBytes = claims[0]!.byteLength;
      const fragment = fragments[id]!;
      const positions = sketchPositions('bench', fragment.elementCount);
      const [a, b] = claims.map((bytes) => takeSketch(decodeFragment(codec, fragment, bytes).params, positions));
      alike.push(resemblance(a!, b!, { isSparse: codec === 'topk' }));
      run.merge(id, claims);
      // Nobody asks for these again, and a thousand of them are gigabytes.
      for (const learner of learners) {
        learner.claims.length = 0;
        learner.states.clear();
      }
      run.versions[id]!.fill(new Uint8Array(), 0, -1);
    }
    if (outerStep >= 0 && step % every === Math.min(2, every - 1)) for (const learner of learners) learner.takeIn(id);
    for (const learner of learners) await learner.step();
    if ((step + 1) % Math.ceil(steps / quarters) === 0) losses.push(await heldOut(run, catalog.endOfText));
  }
  for (const { learner } of learners) await learner.close();
  const { sequenceLength } = manifest.phases[0]!;
  const tokens = steps * learnerCount * manifest.recipe.batchSequences * sequenceLength;
  return { losses, tokens, claimBytes, alike };
}

/** Of the published fragments. */
async function heldOut({ manifest, model, versions, loaded }: TestRun, endOfText: number): Promise<number> {
  const params = initParams(model.config, manifest.seed);
  for (const fragment of model.plan.fragments)
    unpackFragment(fragment, decodeFragment('f32', fragment, versions[fragment.id]!.at(-1)!), (name) =>
      floatsOf(params, name),
    );
  const { sequenceLength: seqLen, mixture } = manifest.phases[0]!;
  const evaluator = await openEvaluator(model.config, { batch: 4, seqLen, threads: 2 });
  try {
    const stages = heldOutSequences({
      ...{ shards: manifest.data.shards, loaded, seqLen, endOfText, mixture },
      sequences: evaluationSequences,
    });
    const losses = await heldOutLosses(evaluator, params, stages);
    return losses['held-out']!;
  } finally {
    await evaluator.close();
  }
}
