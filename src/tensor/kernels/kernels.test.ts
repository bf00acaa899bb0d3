/** @file The WASM kernels against their references, bit for bit. (Against their sources: tests/kernels.test.ts.) */
import { describe, expect, it } from 'vitest';
import { Rng } from '../../util/rng.ts';
import { KernelMemory, type Region } from './memory.ts';
import * as reference from './reference.ts';

const sizes = [0, 1, 2, 3, 5, 7, 15, 16, 17, 31, 33, 255, 256, 257, 300, 511, 1000, 1027];

/** Normal numbers of very different magnitudes, with zeros of both signs and subnormals among them. */
function values(rng: Rng, n: number): Float32Array {
  return Float32Array.from({ length: n }, () => {
    const kind = rng.below(12);
    if (kind === 0) return 0;
    if (kind === 1) return -0;
    if (kind === 2) return rng.normal() * 1e-41;
    return rng.normal() * 10 ** (rng.below(9) - 5);
  });
}

function place(memory: KernelMemory, data: Float32Array): Region {
  const region = memory.allocateF32(data.length);
  memory.f32(region).set(data);
  return region;
}

const bitsOf = (data: Float32Array | Float64Array): string =>
  Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('hex');

function expectSame(actual: Float32Array | Float64Array, expected: Float32Array | Float64Array, what: string) {
  expect(bitsOf(actual), what).toBe(bitsOf(expected));
}

/** Writes a table of learners at their addresses. */
function table(memory: KernelMemory, rows: readonly { at: Region; weight: number }[]): number {
  const region = memory.allocate(rows.length * 16);
  const view = new DataView(memory.buffer, region.byteOffset);
  rows.forEach(({ at, weight }, i) => {
    view.setUint32(i * 16, at.byteOffset, true);
    view.setFloat64(i * 16 + 8, weight, true);
  });
  return region.byteOffset;
}

/** Runs `check` for every size with a fresh memory and a seeded stream. */
function forSizes(check: (n: number, memory: KernelMemory, rng: Rng) => void): void {
  for (const n of sizes) check(n, new KernelMemory(1 << 18), new Rng(`kernels ${n}`));
}

describe('kernels', () => {
  it('adamw', () => {
    forSizes((n, memory, rng) => {
      const [p, g, m] = [values(rng, n), values(rng, n), values(rng, n)];
      const v = values(rng, n).map(Math.abs);
      const at = [p, g, m, v].map((data) => place(memory, data));
      const c = { scale: 0.7, b1: 0.9, c1: 0.1, b2: 0.95, c2: 0.05, keep: 0.999, step: 3e-3, inv2: 7.3, eps: 1e-8 };
      const [pAt, gAt, mAt, vAt] = at.map(({ byteOffset }) => byteOffset) as [number, number, number, number];
      memory.kernels.adamw(pAt, gAt, mAt, vAt, n, c.scale, c.b1, c.c1, c.b2, c.c2, c.keep, c.step, c.inv2, c.eps);
      reference.adamw(p, g, m, v, c);
      [p, g, m, v].forEach((data, i) => {
        expectSame(memory.f32(at[i]!), data, `array ${i} of ${n}`);
      });
    });
  });

  it('axpy, scale and difference', () => {
    forSizes((n, memory, rng) => {
      const [a, b, c] = [values(rng, n), values(rng, n), values(rng, n)];
      const [aAt, bAt, cAt] = [place(memory, a), place(memory, b), place(memory, c)];
      memory.kernels.axpy(0.3, aAt.byteOffset, bAt.byteOffset, n);
      reference.axpy(0.3, a, b);
      expectSame(memory.f32(bAt), b, `axpy ${n}`);
      memory.kernels.scale(-1.7, bAt.byteOffset, n);
      reference.scale(-1.7, b);
      expectSame(memory.f32(bAt), b, `scale ${n}`);
      memory.kernels.difference(aAt.byteOffset, bAt.byteOffset, cAt.byteOffset, cAt.byteOffset, n);
      reference.difference(a, b, c, c);
      expectSame(memory.f32(cAt), c, `difference ${n}`);
    });
  });

  it('nonFinite sees one bad element anywhere', () => {
    forSizes((n, memory, rng) => {
      const data = values(rng, n);
      const at = place(memory, data);
      const test = () => memory.kernels.nonFinite(at.byteOffset, n, 0x7f800000);
      expect(test(), `${n}`).toBe(0);
      for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
        if (n === 0) continue;
        const index = rng.below(n);
        memory.f32(at)[index] = bad;
        expect(test(), `${bad} at ${index} of ${n}`).toBe(1);
        expect(reference.nonFinite(memory.f32(at), 0x7f800000)).toBe(1);
        memory.f32(at)[index] = 1;
      }
    });
  });

  it('sumSquares, in one call and in blocks of 16', () => {
    forSizes((n, memory, rng) => {
      const data = values(rng, n);
      const at = place(memory, data);
      const [once, cut] = [memory.allocate(128), memory.allocate(128)];
      const expected = new Float64Array(16);
      reference.sumSquares(data, expected);
      memory.kernels.sumSquares(at.byteOffset, n, once.byteOffset);
      expectSame(memory.f64(once), expected, `${n}`);
      for (let i = 0; i < n; i += 16)
        memory.kernels.sumSquares(at.byteOffset + 4 * i, Math.min(16, n - i), cut.byteOffset);
      expectSame(memory.f64(cut), expected, `${n} in blocks`);
    });
  });

  it('weighted sums over learners', () => {
    forSizes((n, memory, rng) => {
      for (const k of [0, 1, 3]) {
        const learners = Array.from({ length: k }, () => ({ x: values(rng, n), weight: rng.uniform() }));
        const rows = table(
          memory,
          learners.map(({ x, weight }) => ({ at: place(memory, x), weight })),
        );
        const what = `${k} learners of ${n}`;
        const lanes = memory.allocate(128);
        const expectedLanes = new Float64Array(16);
        memory.kernels.weightedSumSquares(rows, k, n, lanes.byteOffset);
        reference.weightedSumSquares(learners, n, expectedLanes);
        expectSame(memory.f64(lanes), expectedLanes, `squares of ${what}`);
        const [out, theta, momentum] = [values(rng, n), values(rng, n), values(rng, n)];
        const [outAt, thetaAt, momentumAt] = [place(memory, out), place(memory, theta), place(memory, momentum)];
        memory.kernels.weightedMean(rows, k, n, outAt.byteOffset);
        reference.weightedMean(learners, out);
        expectSame(memory.f32(outAt), out, `mean of ${what}`);
        memory.kernels.weightedNesterov(rows, k, n, thetaAt.byteOffset, momentumAt.byteOffset, 0.7, 0.9);
        reference.weightedNesterov(learners, theta, momentum, 0.7, 0.9);
        expectSame(memory.f32(thetaAt), theta, `theta of ${what}`);
        expectSame(memory.f32(momentumAt), momentum, `momentum of ${what}`);
        memory.kernels.weightedShift(rows, k, n, thetaAt.byteOffset);
        reference.weightedShift(learners, theta);
        expectSame(memory.f32(thetaAt), theta, `shift of ${what}`);
      }
    });
  });

  it('bf16, with saturation and ties', () => {
    forSizes((n, memory, rng) => {
      const data = values(rng, n);
      [3.4028234663852886e38, -3.4028234663852886e38, 1.00390625, 1.01171875].forEach((edge, i) => {
        if (i < n) data[i] = edge;
      });
      const at = place(memory, data);
      const [out, residueAt, back] = [memory.allocate(2 * n), memory.allocateF32(n), memory.allocateF32(n)];
      memory.kernels.bf16Encode(at.byteOffset, out.byteOffset, residueAt.byteOffset, n);
      memory.kernels.bf16Decode(out.byteOffset, back.byteOffset, n);
      const [codes, residue, decoded] = [new Uint16Array(n), new Float32Array(n), new Float32Array(n)];
      reference.bf16Encode(data, codes, residue);
      reference.bf16Decode(codes, decoded);
      expect([...new Uint16Array(memory.buffer, out.byteOffset, n)], `codes of ${n}`).toEqual([...codes]);
      expectSame(memory.f32(residueAt), residue, `residue of ${n}`);
      expectSame(memory.f32(back), decoded, `decoded of ${n}`);
      expect(decoded.every(Number.isFinite)).toBe(true);
    });
  });

  it('int8 and int4, with blocks of zeros and of subnormals', () => {
    forSizes((n, memory, rng) => {
      const data = values(rng, n);
      data.fill(0, 0, Math.min(256, n >> 2));
      if (n > 512) data.fill(1e-40, 256, 512);
      const at = place(memory, data);
      for (const levels of [127, 7] as const) {
        const what = `${levels} levels, ${n}`;
        const blocks = Math.ceil(n / reference.intBlock);
        const [q, scales, residue] = [new Int8Array(n), new Float32Array(blocks), new Float32Array(n)];
        reference.quantise(data, levels, q, scales, residue);
        const decoded = new Float32Array(n);
        reference.dequantise(q, scales, decoded);
        const bytes = levels === 127 ? new Uint8Array(q.buffer) : reference.packNibbles(q);
        const [qAt, scalesAt] = [memory.allocate(bytes.length), memory.allocateF32(blocks)];
        const [residueAt, back] = [memory.allocateF32(n), memory.allocateF32(n)];
        const { int8Encode, int4Encode, int8Decode, int4Decode } = memory.kernels;
        const [encode, decode] = levels === 127 ? [int8Encode, int8Decode] : [int4Encode, int4Decode];
        encode(at.byteOffset, qAt.byteOffset, scalesAt.byteOffset, residueAt.byteOffset, n);
        expect(decode(qAt.byteOffset, scalesAt.byteOffset, back.byteOffset, n), what).toBe(0);
        expect(Buffer.from(memory.u8(qAt)).toString('hex'), what).toBe(Buffer.from(bytes).toString('hex'));
        expectSame(memory.f32(scalesAt), scales, `scales, ${what}`);
        expectSame(memory.f32(residueAt), residue, `residue, ${what}`);
        expectSame(memory.f32(back), decoded, `decoded, ${what}`);
        if (n === 0) continue;
        const index = rng.below(bytes.length);
        memory.u8(qAt)[index] = levels === 127 ? 0x80 : (memory.u8(qAt)[index]! & 0xf0) | 8;
        expect(decode(qAt.byteOffset, scalesAt.byteOffset, back.byteOffset, n), `forbidden ${index}, ${what}`).toBe(1);
      }
    });
  });

  it('topk, with ties, zeros, short chunks and halves of every kind', () => {
    for (const n of [1, 2, 63, 64, 65, 129, 300, 4095, 4096, 4097, 8192, 9000]) {
      for (const kind of ['mixed', 'normal', 'ties', 'zeros', 'tiny', 'great'] as const) {
        const rng = new Rng(`topk ${n} ${kind}`);
        const memory = new KernelMemory(1 << 19);
        const draw = { mixed: 0, normal: 1e-3, ties: 0, zeros: 0, tiny: 3e-7, great: 1e6 }[kind];
        const data = values(rng, n).map((value) => (kind === 'mixed' ? value : rng.normal() * draw));
        if (kind === 'ties') data.set(data.map((_, i) => [0.5, -0.5, 0.25][rng.below(3)]! * (i % 3 === 0 ? -1 : 1)));
        const what = `${n}, ${kind}`;
        const [residue, decoded] = [new Float32Array(n), new Float32Array(n)];
        const records = reference.topkEncode(data, residue);
        reference.topkDecode(records, decoded);
        const [at, rest, back] = [place(memory, data), memory.allocateF32(n), memory.allocateF32(n)];
        const [out, scratch] = [memory.allocate(records.length), memory.allocate(33_280)];
        memory.kernels.topkEncode(at.byteOffset, out.byteOffset, rest.byteOffset, n, scratch.byteOffset);
        expect(Buffer.from(memory.u8(out)).toString('hex'), what).toBe(Buffer.from(records).toString('hex'));
        expectSame(memory.f32(rest), residue, `residue, ${what}`);
        expect(memory.kernels.topkDecode(out.byteOffset, back.byteOffset, n), what).toBe(0);
        expectSame(memory.f32(back), decoded, `decoded, ${what}`);
        memory.u8(out)[1]! |= 0x80;
        expect(memory.kernels.topkDecode(out.byteOffset, back.byteOffset, n), `negative scale, ${what}`).toBe(2);
      }
    }
  });

  it('refuse a memory that is full or above 4 GiB', () => {
    expect(() => new KernelMemory(2 ** 32)).toThrowError(expect.objectContaining({ code: 'KERNEL_MEMORY_TOO_LARGE' }));
    expect(() => new KernelMemory(1024).allocate(1 << 20)).toThrowError(
      expect.objectContaining({ code: 'KERNEL_MEMORY_FULL' }),
    );
  });
});
