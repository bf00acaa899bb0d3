/**
 * @file The chain's fixed point I32F32 for values that are not negative: a number here is a whole count of 2⁻³². Products and
 * quotients are floored as the chain's are. Whole numbers below 2⁵³ are exact in doubles, so every operation here is
 * exact, the same on every machine, and far quicker than bigint.
 */

/** 1 as I32F32. */
export const one = 2 ** 32;
export const u16Max = 65_535;
const half = 65_536;

/** ⌊a·b / 2³²⌋, for a below 2³⁶ and b below 2³⁶. */
export function mul(a: number, b: number): number {
  const high = Math.floor(a / half);
  const low = a - high * half;
  return Math.floor((high * b + Math.floor((low * b) / half)) / half);
}

/**
 * ⌊a·2³² / b⌋; 0 for b = 0, as the chain's `safe_div`. Long division by 11, 11 and 10 bits, so that no remainder
 * leaves 2⁵³: for a below 2³⁶ and b below 2⁴², which holds the sum of 1,024 ones.
 */
export function div(a: number, b: number): number {
  if (b === 0) return 0;
  let quotient = Math.floor(a / b);
  let rest = a - quotient * b;
  for (const scale of [2_048, 2_048, 1_024]) {
    rest *= scale;
    const digit = Math.floor(rest / b);
    rest -= digit * b;
    quotient = quotient * scale + digit;
  }
  return quotient;
}

/** ⌊x·65535⌋, at most 65535: how the chain stores a proportion. */
export const toU16 = (x: number): number => Math.min(u16Max, Math.floor(x * (u16Max / one)));

/** A u16 as the proportion of 65535 that it stands for. */
export const fromU16 = (value: number): number => div(value, u16Max);

/** For reports only. */
export const toNumber = (x: number): number => x / one;

export function sum(values: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i]!;
  return total;
}

/** Divides by the sum; all zero stays so. */
export function normalise(values: Float64Array): Float64Array {
  const total = sum(values);
  return total === 0 ? values.slice() : values.map((value) => div(value, total));
}

/** Amounts of rao to shares that sum to (almost) 1: I64F64 division, cut to 32 fraction bits. */
export function normaliseRao(amounts: readonly bigint[]): Float64Array {
  const total = amounts.reduce((a, b) => a + b, 0n);
  return Float64Array.from(amounts, (amount) => (total === 0n ? 0 : Number((amount << 32n) / total)));
}

/** ⌊share · amount⌋ as I96F32, for a payment in rao. */
export const shareOfRao = (share: number, amountRao: bigint): bigint => (BigInt(share) * amountRao) >> 32n;

const ln2 = Math.LN2;

/**
 * e^x for |x| ≤ 20 (clamped) as a double, from additions and multiplications alone: `Math.exp` differs between engines in its last
 * bit, which would fork the chain. Relative error about 1e-15, against 2⁻³² that the chain keeps.
 */
export function safeExp(x: number): number {
  const clamped = Math.min(20, Math.max(-20, x));
  const powers = Math.round(clamped / ln2);
  const rest = clamped - powers * ln2;
  let term = 1;
  let total = 1;
  for (let i = 1; i <= 20; i++) {
    term = (term * rest) / i;
    total += term;
  }
  for (let i = 0; i < Math.abs(powers); i++) total *= powers > 0 ? 2 : 0.5;
  return total;
}
