/** @file Bad claims get their code and a sentence with numbers; an honest one passes every check. */
import { describe, expect, it } from 'vitest';
import { DrivenRun, type Member } from '../../../tests/support/run-driver.ts';
import { judgeGain } from '../../evaluation/gain.ts';
import type { Claim, RunState } from '../../journal/state.ts';
import { encodedSizeBytes, encodeFragment } from '../../merge/codecs/fragment-file.ts';
import { type Fragment, planFragments } from '../../merge/fragment-plan.ts';
import { emptyFragment, type FragmentValues } from '../../merge/fragment-values.ts';
import type { TraceLine } from '../../protocol/trace.ts';
import type { ParameterContract } from '../../tensor/contract.ts';
import { encodeSafetensors, readSafetensors, type TensorBytes } from '../../tensor/safetensors.ts';
import { Rng } from '../../util/rng.ts';
import {
  checkNorm,
  checkSize,
  checkTrace,
  decodeClaim,
  type Finding,
  judgedGain,
  largestArtifactBytes,
} from './checks.ts';

const contract: ParameterContract = [
  { name: 'a.weight', shape: [300, 4], dtype: 'F32', kind: 'param' },
  { name: 'm.gate.weight', shape: [4, 13], dtype: 'F32', kind: 'param' },
  { name: 'm.gate.expert_bias', shape: [4], dtype: 'F32', kind: 'selection-bias' },
  { name: 'b.weight', shape: [300, 4], dtype: 'F32', kind: 'param' },
];
const fragments = planFragments(contract, 2).fragments;
const fragment = fragments.find(({ selectionBiasCount }) => selectionBiasCount > 0)!;
const other = fragments.find(({ id }) => id !== fragment.id)!;

/** A claim of two steps, and a fragment whose eight last merges had norm 1 a √step. */
function claimed(): { readonly run: DrivenRun['state']; readonly claim: Claim } {
  const driven = new DrivenRun();
  const miner = driven.miners[0] as Member;
  for (const send of [() => driven.join(miner), () => driven.lease(miner), () => driven.due()]) send();
  driven.commit(miner, 0);
  const head = driven.state.fragments[0]!;
  head.recentNorms = Array.from({ length: 8 }, (_, i) => [0.9 + i * 0.03, 1]);
  head.merges = 8;
  return { run: driven.state, claim: [...driven.state.claims.values()][0]! };
}

/** Gaussian values of the given norm over √2 steps. */
function work(norm = 1, of: Fragment = fragment): FragmentValues {
  const rng = new Rng('work');
  const values = emptyFragment(of);
  values.params.set(values.params.map(() => rng.normal()));
  const scale = (norm * Math.SQRT2) / Math.hypot(...values.params);
  values.params.set(values.params.map((value) => value * scale));
  values.selectionBias.set(values.selectionBias.map((_, i) => (i % 2 === 0 ? 0.001 : -0.002)));
  return values;
}

/** Check 2 and 3 of these bytes. */
function judge(bytes: Uint8Array): Finding {
  const { run, claim } = claimed();
  const decoded = decodeClaim(run, fragment, bytes);
  return 'finding' in decoded ? decoded.finding : checkNorm(run, claim, decoded.values);
}

const encode = (values: FragmentValues, of = fragment): Uint8Array => encodeFragment('int8', of, values).bytes;
const honest = encode(work());

/** The honest file with its tensors changed, well-formed otherwise. */
function rewritten(change: (tensors: Map<string, TensorBytes>) => void): Uint8Array {
  const { tensors, metadata } = readSafetensors(honest);
  const copies = new Map([...tensors].map(([name, tensor]) => [name, { ...tensor, bytes: tensor.bytes.slice() }]));
  change(copies);
  return encodeSafetensors(copies, metadata);
}

/** The honest file with the text of its header changed; the length prefix follows. */
function withHeader(change: (header: string) => string): Uint8Array {
  const length = new DataView(honest.buffer, honest.byteOffset).getUint32(0, true);
  const header = Buffer.from(change(Buffer.from(honest.subarray(8, 8 + length)).toString()));
  const prefix = Buffer.alloc(8);
  prefix.writeUInt32LE(header.byteLength);
  return Buffer.concat([prefix, header, honest.subarray(8 + length)]);
}

const nameOf = (suffix: string): string =>
  [...readSafetensors(honest).tensors.keys()].find((name) => name.endsWith(suffix))!;

describe('form', () => {
  it('an artifact larger than codec and plan can need is refused before it is fetched', () => {
    const { run, claim } = claimed();
    const sized = (sizeBytes: number): Claim => ({
      ...claim,
      body: { ...claim.body, artifact: { ...claim.body.artifact, sizeBytes } },
    });
    expect(checkSize(run, sized(encodedSizeBytes('int8', fragment)), fragment)).toBeNull();
    const limit = largestArtifactBytes('int8', fragment);
    expect(checkSize(run, sized(limit), fragment)).toBeNull();
    const finding = checkSize(run, sized(limit + 1), fragment)!;
    expect(finding).toMatchObject({ outcome: 'reject', code: 'OVERSIZED' });
    expect(finding.sentence).toBe(
      `the artifact has ${limit + 1} bytes; fragment ${fragment.id} takes at most ${limit}`,
    );
    expect(finding.measurements).toEqual({ sizeBytes: limit + 1, limitBytes: limit });
  });
});

describe('header', () => {
  const bad: readonly [what: string, bytes: () => Uint8Array, said: RegExp][] = [
    ['no bytes', () => new Uint8Array(), /\b8\b/],
    ['no safetensors', () => Buffer.from('x'.repeat(2_000)), /header/],
    ['a header longer than the file', () => honest.subarray(0, 40), /header/],
    ['a header of 2^63 bytes', () => Buffer.concat([Buffer.alloc(7), Buffer.of(0x80), honest.subarray(8)]), /header/],
    ['a file cut short', () => honest.subarray(0, honest.byteLength - 1), /bytes/],
    ['bytes after the last tensor', () => Buffer.concat([honest, Buffer.of(0)]), /bytes/],
    [
      'offsets that overlap',
      () => withHeader((text) => text.replace(/"data_offsets":\[(\d+),/, '"data_offsets":[1,')),
      /./,
    ],
    [
      'a tensor of 2^60 rows',
      () => withHeader((text) => text.replace(/"shape":\[(\d+)/, '"shape":[1152921504606846976')),
      /./,
    ],
    [
      'another format',
      () => withHeader((text) => text.replace('accrete-fragment/1', 'accrete-fragment/9')),
      /accrete-fragment\/9/,
    ],
    ['another codec', () => encodeFragment('f32', fragment, work()).bytes, /int8.*f32/],
    ['tensors of another fragment', () => encode(work(1, other), other), /is not in the file/],
    [
      'a tensor too many',
      () => rewritten((tensors) => tensors.set('extra', { dtype: 'U8', shape: [1], bytes: Uint8Array.of(1) })),
      /extra is not in the fragment's plan/,
    ],
    [
      'another shape',
      () => rewritten((tensors) => tensors.set(nameOf('300]'), { ...tensors.get(nameOf('300]'))!, shape: [4, 300] })),
      /expected \[.*\], got \[4,300\]/,
    ],
    [
      'another dtype',
      () => rewritten((tensors) => tensors.set(nameOf('300]'), { ...tensors.get(nameOf('300]'))!, dtype: 'U8' })),
      /expected I8, got U8/,
    ],
  ];
  it.each(bad)('%s', (_, bytes, said) => {
    const finding = judge(bytes());
    expect(finding).toMatchObject({ outcome: 'reject', code: 'HEADER' });
    expect(finding.sentence).toMatch(said);
    expect(finding.sentence.length).toBeLessThanOrEqual(500);
  });
});

describe('values', () => {
  const withFloat = (suffix: string, value: number): Uint8Array =>
    rewritten((tensors) => {
      const { bytes } = tensors.get(nameOf(suffix))!;
      new DataView(bytes.buffer, bytes.byteOffset).setFloat32(0, value, true);
    });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, -1, 1e-40, 3e38])('a scale of %s', (value) => {
    const finding = judge(withFloat('.scale', value));
    expect(finding).toMatchObject({ outcome: 'reject', code: 'NOT_FINITE' });
    expect(finding.sentence).toMatch(/^BAD_SCALE: .* scale /);
  });

  it.each([Number.NaN, Number.NEGATIVE_INFINITY])('a selection bias of %s', (value) => {
    expect(judge(withFloat('expert_bias[0:4]', value))).toMatchObject({ outcome: 'reject', code: 'NOT_FINITE' });
  });

  it('NaN and infinity in a codec of plain floats', () => {
    const { run } = claimed();
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      const { bytes } = encodeFragment('f32', fragment, work());
      new DataView(bytes.buffer, bytes.byteOffset).setFloat32(bytes.byteLength - 4, value, true);
      const f32 = { ...run, run: { ...run.run!, manifest: { ...run.run!.manifest, codec: 'f32' as const } } };
      expect(decodeClaim(f32, fragment, bytes), String(value)).toMatchObject({ finding: { code: 'NOT_FINITE' } });
    }
  });

  it('a code that the encoder never writes', () => {
    const bytes = rewritten((tensors) => tensors.get(nameOf('300]'))!.bytes.fill(0x80, 0, 1));
    expect(judge(bytes)).toMatchObject({ outcome: 'reject', code: 'HEADER' });
  });

  it('norms outside the bounds of the last merges, with both bounds in the sentence', () => {
    for (const [norm, code] of [
      [0.05, 'NORM_LOW'],
      [0.2, 'OK'],
      [1, 'OK'],
      [8, 'OK'],
      [50, 'NORM_HIGH'],
    ] as const) {
      const finding = judge(encode(work(norm)));
      expect(finding.code, String(norm)).toBe(code);
      expect(finding.measurements.norm! / norm).toBeCloseTo(1, 2);
      if (code !== 'OK') expect(finding.sentence).toMatch(/^norm [\d.]+ per √step; .* allow 0\.1\d* to 10/);
    }
  });

  it('no work at all', () => {
    const finding = judge(encode(emptyFragment(fragment)));
    expect(finding).toMatchObject({ outcome: 'reject', code: 'NORM_LOW', measurements: { norm: 0 } });
  });

  it('no bounds before there are eight merges to compare with', () => {
    const { run, claim } = claimed();
    run.fragments[0]!.merges = 7;
    expect(checkNorm(run, claim, work(50)).code).toBe('OK');
    run.fragments[0]!.merges = 8;
    expect(checkNorm(run, claim, work(50)).code).toBe('NORM_HIGH');
  });

  it('a selection bias that moved further than its steps allow', () => {
    const values = work();
    values.selectionBias[3] = 1;
    const finding = judge(encode(values));
    expect(finding).toMatchObject({ outcome: 'reject', code: 'NORM_HIGH', measurements: { bias: 1, biasHigh: 0.004 } });
    expect(finding.sentence).toContain('in 2 steps');
  });
});

describe('trace', () => {
  const line = (step: number, from: number): TraceLine => ({
    step,
    leases: [0],
    sequences: [[from, from + 2]],
    scheduleTokens: 0,
    learningRate: '0.001' as never,
    start: null,
    takenIn: [],
    claimed: [],
    stateRoot: null,
  });

  const lease = (phase: number) => new Map([[0, { phase }]]) as unknown as RunState['leases'];
  const leases = { leases: lease(0) };

  it('lines of another phase: their positions are other text', () => {
    const { claim } = claimed();
    expect(checkTrace(claim, [line(0, 0), line(1, 2)], { leases: lease(1) })!.code).toBe('TRACE');
  });

  it('steps that are there and trained on all that is claimed', () => {
    const { claim } = claimed();
    expect(claim.body).toMatchObject({ steps: [0, 2], sequences: [[0, 4]] });
    expect(checkTrace(claim, [line(0, 0), line(1, 2)], leases)).toBeNull();
    expect(checkTrace(claim, [line(1, 2), line(0, 0), line(2, 90)], leases)).toBeNull();
  });

  it('a step that is missing, or trained on something else', () => {
    const { claim } = claimed();
    const missing = checkTrace(claim, [line(0, 0)], leases)!;
    expect(missing).toMatchObject({ outcome: 'reject', code: 'MISSING' });
    expect(missing.sentence).toBe('the store has 1 of the 2 traced steps that the claim names');
    const elsewhere = checkTrace(claim, [line(0, 0), line(1, 20)], leases)!;
    expect(elsewhere.code).toBe('TRACE');
    expect(elsewhere.sentence).toBe('sequences 2 to 4 are claimed but no traced step trained on them');
  });
});

describe('gain', () => {
  const losses = (...values: number[]): Float64Array => Float64Array.from(values);
  const others = { norm: 1 };

  it('refuses proven harm, with gain, error and bound', () => {
    const judgement = judgeGain(losses(5, 5.1, 4.9, 5.2), losses(6, 6.11, 5.89, 6.2));
    const finding = judgedGain(judgement, others);
    expect(finding).toMatchObject({ outcome: 'reject', code: 'HARMFUL', measurements: { norm: 1, gainSequences: 4 } });
    expect(finding.sentence).toMatch(/gain -1\.00 ± 0\.00\d+ nats a token on 4 drawn sequences.*upper bound -0\.9/);
  });

  it('does not refuse what may be noise, or a single sequence', () => {
    expect(judgedGain(judgeGain(losses(5, 5.1, 4.9), losses(5.2, 5, 5)), others).code).toBe('OK');
    const single = judgedGain(judgeGain(losses(5), losses(9)), others);
    expect(single).toMatchObject({ code: 'OK', measurements: { gainError: 1e9, gainUpper: 1e9 } });
  });

  it('refuses what makes losses infinite or NaN', () => {
    for (const loss of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const finding = judgedGain(judgeGain(losses(5, 5), losses(5, loss)), others);
      expect(finding).toMatchObject({ code: 'HARMFUL', measurements: { gain: -1e9 } });
    }
  });

  it('says numbers also of a model whose own losses are none', () => {
    const finding = judgedGain(judgeGain(losses(Number.NaN, 5), losses(Number.NaN, 5)), others);
    expect(finding.code).toBe('OK');
    for (const value of Object.values(finding.measurements)) expect(Number.isFinite(value)).toBe(true);
  });
});

it('an honest claim passes', () => {
  const finding = judge(honest);
  expect(finding).toMatchObject({ outcome: 'accept', code: 'OK', sentence: '' });
  expect(finding.measurements.norm).toBeCloseTo(1, 2);
});
