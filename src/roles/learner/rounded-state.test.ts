/** @file Rounded states: what a row loses and does not, going on from the file to the bit, and what is refused of strangers. */
import { describe, expect, it } from 'vitest';
import { decodeFragment } from '../../merge/codecs/fragment-file.ts';
import { artifactOf, artifactOfParts } from '../../protocol/artifact.ts';
import { concatBytes } from '../../util/bytes.ts';
import { nodeSha256 as hash } from '../../util/node-sha256.ts';
import { Rng } from '../../util/rng.ts';
import { Learner } from './learner.ts';
import type { LearnerBuffers } from './learner-state.ts';
import { Replayer } from './replay.ts';
import {
  type Row,
  type RowBits,
  readDifference,
  readMoments,
  readSecondMoments,
  roundDifference,
  roundMoments,
  roundSecondMoments,
  rowAt,
  rowBytes,
  rowSeed,
} from './rounded-rows.ts';
import { readAnyState, stateSizeBytes } from './state-format.ts';
import { goOn, TracedLearner } from './test-support.ts';
import { adamw, muon, tinyRun } from './test-support-run.ts';

const machine = { threads: 1, device: 'cpu' } as const;

const emptyRow = (numbers: number, bits: RowBits = 8): Row =>
  rowAt(new Uint8Array(rowBytes(numbers, bits)), 0, numbers, bits);

/** Magnitudes over six decades. */
function sample(count: number, seed: number): Float32Array {
  const rng = new Rng(seed);
  const unit = (): number => rng.uint32() / 2 ** 32;
  return Float32Array.from({ length: count }, () => (unit() - 0.5) * 10 ** (-6 * unit()));
}

type Rounding = (x: Float32Array, seed: number) => Float32Array;
const differences: Rounding = (x, seed) => {
  const [row, out] = [emptyRow(x.length), new Float32Array(x.length)];
  roundDifference(row, x, null, seed);
  readDifference(row, null, out);
  return out;
};
const moments: Rounding = (x, seed) => {
  const [row, out] = [emptyRow(x.length), new Float32Array(x.length)];
  roundMoments(row, x, seed);
  readMoments(row, out);
  return out;
};
const secondMoments: Rounding = (x, seed) => {
  const [row, out] = [emptyRow(x.length), new Float32Array(x.length)];
  roundSecondMoments(row, x, seed);
  readSecondMoments(row, out);
  return out;
};

describe('rows of one byte a number', () => {
  it('are off by less than a code: 1/127 of the block’s greatest, an eighth of a moment, a sixteenth of a root', () => {
    const x = sample(1_000, 1);
    const squares = x.map((value) => value * value);
    const [d, m, v] = [differences(x, 1), moments(x, 1), secondMoments(squares, 1)];
    const faults: string[] = [];
    for (let i = 0; i < x.length; i++) {
      const block = x.subarray(i - (i % 256), i - (i % 256) + 256);
      const greatest = block.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      const least = greatest * 2 ** -14;
      if (Math.abs(d[i]! - x[i]!) > (greatest / 127) * 1.001) faults.push(`difference ${i}`);
      if (Math.abs(m[i]! - x[i]!) > Math.max(Math.abs(x[i]!) / 8, least) * 1.001) faults.push(`moment ${i}`);
      if (Math.abs(Math.sqrt(v[i]!) - Math.abs(x[i]!)) > Math.max(Math.abs(x[i]!) / 16, least) * 1.001)
        faults.push(`root ${i}`);
      if (v[i]! <= 0) faults.push(`second moment ${i} is ${v[i]}`);
    }
    expect(faults).toEqual([]);
  });

  it('are those of docs/protocol.md, as another program reckons them', () => {
    const x = Float32Array.of(0.1, -0.5, 0.003, 0, 0.25, -0.07, 1e-6, 0.33);
    const rows = { eight: emptyRow(8), four: emptyRow(8, 4), first: emptyRow(8), second: emptyRow(8) };
    roundDifference(rows.eight, x, null, rowSeed(7, 2));
    roundDifference(rows.four, x, null, rowSeed(7, 2));
    roundMoments(rows.first, x, rowSeed(7, 0));
    roundSecondMoments(
      rows.second,
      x.map((value) => value * value),
      rowSeed(7, 1),
    );
    expect(new Int8Array(rows.eight.codes)).toEqual(Int8Array.of(26, -127, 1, 0, 64, -18, 0, 84));
    // 2, −7; 0, 0; 4, −1; 0, 5.
    expect([...rows.four.codes]).toEqual([0x92, 0x00, 0xf4, 0x50]);
    expect([...rows.first.codes]).toEqual([108, 255, 67, 0, 119, 232, 0, 122]);
    expect([...rows.second.codes]).toEqual([216, 255, 136, 0, 239, 209, 1, 245]);
    expect(Object.values(rows).map(({ scales }) => scales[0])).toEqual(
      [0.5 / 127, 0.5 / 7, 0.5 / 1.875, 0.5 / 1.9375].map(Math.fround),
    );
  });

  it.each([4, 16] as const)('of %s bits: off by less than a code, for any count', (bits) => {
    for (const count of [1, 2, 255, 256, 257, 1_000]) {
      const x = sample(count, count);
      const [row, out] = [emptyRow(count, bits), new Float32Array(count)];
      roundDifference(row, x, null, 5);
      readDifference(row, null, out);
      const faults = Array.from(out.keys()).filter((i) => {
        const block = x.subarray(i - (i % 256), i - (i % 256) + 256);
        const greatest = block.reduce((most, y) => Math.max(most, Math.abs(y)), 0);
        return Math.abs(out[i]! - x[i]!) > (greatest / (2 ** (bits - 1) - 1)) * 1.001;
      });
      expect(faults, `${count} numbers`).toEqual([]);
    }
  });

  it('lose nothing on average', () => {
    const x = sample(512, 2).map(Math.abs);
    for (const [name, round] of Object.entries({ differences, moments })) {
      const mean = new Float64Array(x.length);
      const times = 400;
      for (let seed = 0; seed < times; seed++) {
        const rounded = round(x, seed);
        for (let i = 0; i < x.length; i++) mean[i]! += rounded[i]! / times;
      }
      const sum = (of: ArrayLike<number>): number => Array.from(of).reduce((a, b) => a + b, 0);
      expect(Math.abs(sum(mean) / sum(x) - 1), name).toBeLessThan(2e-3);
    }
  });

  it('hold zeros, the greatest of each block and blocks that no scale can tell from 0', () => {
    const x = new Float32Array(300);
    x.set([0, -0, 3, -5], 0);
    x.set([1e-43, -1e-43], 256);
    expect([...differences(x, 7).subarray(2, 4)]).toEqual([expect.closeTo(3, 1), expect.closeTo(-5, 6)]);
    expect(moments(x, 7)[3]).toBeCloseTo(-5, 6);
    for (const round of [differences, moments])
      expect([...round(x, 7).subarray(256, 258)].map(Math.abs)).toEqual([0, 0]);
    expect(secondMoments(new Float32Array(3), 1)).toEqual(new Float32Array(3));
    expect(secondMoments(Float32Array.of(4, 1e-30), 1)[1]).toBeGreaterThan(0);
  });

  it('change no bit of what they are added to where nothing is added', () => {
    const base = Float32Array.of(-0, 0, 1.5, -3e-39);
    const [row, out] = [emptyRow(4), new Float32Array(4)];
    roundDifference(row, base.slice(), base, 3);
    readDifference(row, base, out);
    expect(Buffer.compare(Buffer.from(out.buffer), Buffer.from(base.buffer))).toBe(0);
  });
});

/** Steps, claims, merges and take-ins; a claim waits for its take-in when the state gets its root. */
async function live(learner: TracedLearner, steps: number): Promise<void> {
  for (let i = 0; i < steps; i++) {
    const step = learner.innerSteps;
    if (step % 3 === 0 && step > 0) learner.run.merge((step / 3) % 4, [learner.claim(4 * step + ((step / 3) % 4))]);
    if (step % 3 === 1 && step > 1) learner.takeIn(((step - 1) / 3) % 4);
    await learner.step();
  }
}

const copyOf = (buffers: LearnerBuffers): unknown => structuredClone({ ...buffers });

describe('a rounded state', () => {
  it('is what the learner goes on from, to the bit, for AdamW and for Muon', async () => {
    for (const recipe of [adamw, muon]) {
      const run = tinyRun({ recipe, codec: 'topk', stateFormat: 'rounded' });
      const { manifest, loaded, model } = run;
      const straight = new TracedLearner(run, machine);
      await live(straight, 4);
      const middle = straight.states.get(4)!;
      expect(middle.byteLength).toBe(stateSizeBytes(model.plan, manifest));
      const exact = stateSizeBytes(model.plan, { ...manifest, audit: { stateFormat: 'exact' } });
      expect(middle.byteLength / exact).toBeLessThan(0.29);
      const odd = concatBytes(new Uint8Array(1), middle).subarray(1);
      const asked: string[] = [];
      const start = await readAnyState(model, manifest, odd, async (fragment, version) => {
        asked.push(`${fragment} at ${version}`);
        return decodeFragment('f32', model.plan.fragments[fragment]!, run.versions[fragment]![version]!);
      });
      // Fragment 1 was claimed before step 3 and is not taken in yet.
      expect(asked).toEqual(['0 at 0', '1 at 0', '2 at 0', '3 at 0']);
      expect(copyOf(straight.learner.buffers())).toEqual({
        ...{ params: start.params, firstMoments: start.firstMoments, secondMoments: start.secondMoments },
        ...{ selectionBiases: start.selectionBiases, anchors: start.anchors, residues: start.residues },
      });
      expect(start.anchors[1]!.params).not.toEqual(start.taken![1]!.values.params);
      await live(straight, 4);
      const resumed = new Learner({ manifest, loaded, hash, ...machine, start });
      await goOn(resumed, run, straight.lines.slice(4));
      expect(artifactOfParts(resumed.endSegment(8), hash)).toEqual(artifactOf(straight.states.get(8)!, hash));
      await resumed.close();
      await straight.learner.close();
    }
  });

  it('passes on another class of machine, and a lie does not', async () => {
    const run = tinyRun({ stateFormat: 'rounded' });
    const [learner, other] = [new TracedLearner(run, machine), new TracedLearner(run, machine)];
    const replayer = new Replayer({ manifest: run.manifest, loaded: run.loaded, hash, threads: 1, device: 'wasm' });
    try {
      await live(learner, 8);
      const segment = learner.segment(8);
      const options = { isSameClass: false, signal: AbortSignal.timeout(170_000) };
      const finding = await replayer.replay(segment, options);
      expect(finding).toMatchObject({ outcome: 'pass', measurements: { steps: 4 } });
      // As many steps, on other text.
      for (let i = 0; i < 8; i++) await other.step();
      const end = other.states.get(8)!;
      const lines = segment.lines.with(-1, { ...segment.lines.at(-1)!, stateRoot: artifactOf(end, hash).root });
      const lie = await replayer.replay({ ...segment, end, lines }, options);
      expect(lie).toMatchObject({ outcome: 'fail', code: 'REPLAY', measurements: { exact: 0 } });
    } finally {
      await replayer.close();
      await other.learner.close();
      await learner.learner.close();
    }
  });

  it('is refused where its size, its header, a version, a scale or its padding is wrong', async () => {
    const run = tinyRun({ stateFormat: 'rounded' });
    const { model, manifest, versions } = run;
    const start = versions.map(([bytes]) => ({ version: 0, bytes: bytes! }));
    const learner = new Learner({ ...run, ...machine, hash, start });
    const honest = concatBytes(...learner.endSegment(0));
    await learner.close();
    const read = (bytes: Uint8Array) =>
      readAnyState(model, manifest, bytes, async (fragment, version) => {
        if (version !== 0) throw new Error(`version ${version} never was`);
        return decodeFragment('f32', model.plan.fragments[fragment]!, versions[fragment]![0]!);
      });
    expect((await read(honest)).counters.innerSteps).toBe(0);
    const changed = (at: number, ...bytes: number[]): Uint8Array => {
      const copy = honest.slice();
      copy.set(bytes, at);
      return copy;
    };
    const biases = model.plan.fragments.reduce((sum, { selectionBiasCount }) => sum + selectionBiasCount, 0);
    const firstScale = 64 + 8 * 4 + 2 * 4 * biases;
    const [before, padded] = model.plan.fragments.map(({ elementCount }) => elementCount);
    expect(padded! % 8).not.toBe(0);
    const moments = 2 * rowBytes(model.plan.elementCount, 8);
    const afterPadding = firstScale + moments + rowBytes(before!, 4) + rowBytes(before!, 16) + rowBytes(padded!, 4);
    const cases: [string, Uint8Array, RegExp][] = [
      ['empty', new Uint8Array(0), /expected \d+ bytes, got 0/],
      ['of the other form', changed(14, 0x31), /version 2/],
      ['a counter', changed(23, 0xff), /counter/],
      ['a version that never was', changed(64, 9), /version 9 never was/],
      ['a version past all counting', changed(71, 0xff), /version is out of range/],
      ['a bias', changed(64 + 8 * 4, 0, 0, 0xc0, 0x7f), /not finite/],
      ['a scale below 0', changed(firstScale, 0, 0, 0x80, 0xbf), /scale/],
      ['padding', changed(afterPadding - 1, 1), /padding/],
      ['an endless scale', changed(firstScale, 0, 0, 0x80, 0x7f), /scale/],
    ];
    for (const [what, bytes, why] of cases) await expect(read(bytes), what).rejects.toThrow(why);
  });
});
