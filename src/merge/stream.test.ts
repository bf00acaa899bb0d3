/** @file A merge in windows, from encoded bytes to files, gives the bits of `mergeFragment`, whatever the windows. */
import { describe, expect, it } from 'vitest';
import { concatBytes } from '../util/bytes.ts';
import { Rng } from '../util/rng.ts';
import type { CodecName } from './codecs/codec.ts';
import { decodeFragment, encodeFragment } from './codecs/fragment-file.ts';
import { type ByteSource, FragmentReader } from './codecs/fragment-reader.ts';
import { planFragments } from './fragment-plan.ts';
import { emptyFragment, type FragmentValues } from './fragment-values.ts';
import { type MergeTerms, mergeFragment } from './merge-fragment.ts';
import type { MergeRule } from './rules.ts';
import { sharedStaging } from './staging.ts';
import { type ByteSink, mergeStreamed, windowElements } from './stream.ts';

/** Names out of their order of offsets, slices shorter and longer than blocks and windows, more than a piece in all. */
const fragment = planFragments(
  [
    { name: 'z.weight', shape: [3, 7], dtype: 'F32', kind: 'param' },
    { name: 'model.word_embeddings.weight', shape: [411, 97], dtype: 'F32', kind: 'param' },
    { name: 'm.gate.weight', shape: [4, 13], dtype: 'F32', kind: 'param' },
    { name: 'm.gate.expert_bias', shape: [4], dtype: 'F32', kind: 'selection-bias' },
    { name: 'experts', shape: [9, 123_457], dtype: 'F32', kind: 'param' },
    { name: 'a.norm.weight', shape: [257], dtype: 'F32', kind: 'param' },
  ],
  1,
).fragments[0]!;

function sample(seed: string, scale: number): FragmentValues {
  const rng = new Rng(seed);
  const values = emptyFragment(fragment);
  for (const array of [values.params, values.selectionBias])
    for (let i = 0; i < array.length; i++) array[i] = (rng.uniform() - 0.5) * scale;
  return values;
}

/** Each read is of its own memory, which the next read overwrites. */
function sourceOf(bytes: Uint8Array): ByteSource {
  let last = new Uint8Array();
  return {
    sizeBytes: bytes.byteLength,
    async read(from, to) {
      last.fill(0xff);
      last = bytes.slice(from, to);
      return last;
    },
  };
}

function sink(): ByteSink & { bytes(): Uint8Array } {
  const parts: Uint8Array[] = [];
  return { write: async (bytes) => void parts.push(bytes.slice()), bytes: () => concatBytes(...parts) };
}

const learners = [0, 1, 2].map((m) => sample(`learner ${m}`, m === 2 ? 0.4 : 0.01));
const theta = sample('theta', 1);
const momentum = sample('momentum', 0.1).params;
const noBias = new Float32Array(fragment.selectionBiasCount);

const claimTerms = (m: number) => ({
  id: `claim ${m}`,
  hotkey: `hotkey ${9 - m}`,
  learner: 'a',
  tokens: 1000 + 37 * m,
  staleness: m % 2,
  innerSteps: 6 + m,
});

async function bothWays(codec: CodecName, rule: MergeRule, window: number) {
  const files = learners.map((values) => encodeFragment(codec, fragment, values).bytes);
  const terms: MergeTerms = {
    ...{ rule, clip: { multiple: 2, smallCohort: 2 }, recentNorms: [], outer: { learningRate: 0.7, momentum: 0.9 } },
    ...(rule === 'trimmed-mean' ? { trim: 0.3 } : {}),
  };
  const whole = mergeFragment({
    ...{ fragment, theta, momentum, ...terms },
    claims: files.map((bytes, m) => {
      const { params, selectionBias } = decodeFragment(codec, fragment, bytes);
      return { ...claimTerms(m), pseudoGradient: params, selectionBias };
    }),
  });
  const open = (name: CodecName, bytes: Uint8Array) =>
    FragmentReader.open(name, fragment, sourceOf(bytes), sharedStaging());
  const encode = (params: Float32Array, selectionBias: Float32Array) =>
    encodeFragment('f32', fragment, { params, selectionBias }).bytes;
  const sinks = { theta: sink(), momentum: sink() };
  const claims = await Promise.all(
    files.map(async (bytes, m) => ({ ...claimTerms(m), reader: await open(codec, bytes) })),
  );
  const streamed = await mergeStreamed(
    {
      ...{ fragment, claims, sinks, ...terms },
      theta: await open('f32', encode(theta.params, theta.selectionBias)),
      momentum: await open('f32', encode(momentum, noBias)),
    },
    window,
  );
  return {
    whole,
    expected: [encode(whole.theta.params, whole.theta.selectionBias), encode(whole.momentum, noBias)],
    streamed,
    made: [sinks.theta.bytes(), sinks.momentum.bytes()],
  };
}

describe('mergeStreamed', () => {
  it.each([
    ['f32', 'mean', 4096],
    ['bf16', 'mean', 1_048_576],
    ['int8', 'rda', 12_288],
    ['int4', 'median', 65_536],
    ['topk', 'mean', 8192],
    ['topk', 'rda', 1_048_576],
    ['int8', 'trimmed-mean', 1_048_576],
  ] as const)('%s, %s, windows of %i', async (codec, rule, window) => {
    const { whole, expected, streamed, made } = await bothWays(codec, rule, window);
    expect(streamed).toEqual({ claims: whole.claims, cohort: whole.cohort });
    expect(streamed.claims.some(({ norm, clippedNorm }) => clippedNorm < norm)).toBe(true);
    for (const i of [0, 1]) expect(Buffer.compare(made[i]!, expected[i]!), ['theta', 'momentum'][i]).toBe(0);
  });

  it('refuses NaN in a claim, whole rules, and a file that is none', async () => {
    const broken = encodeFragment('f32', fragment, learners[0]!).bytes;
    new DataView(broken.buffer).setUint32(broken.byteLength - 4, 0x7fc00000, true);
    const state = encodeFragment('f32', fragment, theta).bytes;
    const open = (bytes: Uint8Array, codec: CodecName = 'f32') =>
      FragmentReader.open(codec, fragment, sourceOf(bytes), sharedStaging());
    const merge = async (rule: MergeRule) => ({
      ...{ fragment, rule, theta: await open(state), momentum: null, sinks: { theta: sink(), momentum: sink() } },
      claims: [{ ...claimTerms(0), reader: await open(broken) }],
      ...{ clip: { multiple: 2, smallCohort: 2 }, recentNorms: [], outer: { learningRate: 1, momentum: 0 } },
    });
    await expect(mergeStreamed(await merge('mean'))).rejects.toMatchObject({ code: 'NOT_FINITE' });
    await expect(mergeStreamed(await merge('centred-clip'))).rejects.toMatchObject({ code: 'TOO_LARGE' });
    await expect(open(state, 'int8')).rejects.toMatchObject({ code: 'BAD_CONTAINER' });
    await expect(open(state.subarray(0, 100))).rejects.toMatchObject({ code: 'BAD_CONTAINER' });
  });

  it('takes windows by what fits', () => {
    expect(windowElements(10)).toBe(1_048_576);
    expect(windowElements(4098)).toBe(4096);
    expect(windowElements(100)).toBe(163_840);
  });
});
