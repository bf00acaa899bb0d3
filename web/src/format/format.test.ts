/** @file Numbers and times as people read them. */
import { describe, expect, it } from 'vitest';
import { bytes, loss, measured, percent, short, tao, whole } from './numbers.ts';
import { age, duration } from './time.ts';

describe('numbers', () => {
  it('keep three digits that matter', () => {
    const cases = [
      [0, '0'],
      [7, '7'],
      [999, '999'],
      [0.5, '0.50'],
      [999.7, '1.00 k'],
      [1_004, '1.00 k'],
      [99_960, '100 k'],
      [1_240_000, '1.24 M'],
      [999_600, '1.00 M'],
      [10e12, '10.0 T'],
      [-2_500, '-2.50 k'],
    ] as const;
    for (const [value, text] of cases) expect(short(value), String(value)).toBe(text);
  });

  it('say what is not known', () => {
    for (const format of [short, whole, percent, measured, tao, bytes, loss]) expect(format(null)).toBe('–');
    expect(short(Number.NaN)).toBe('–');
  });

  it('tell a sliver from nothing', () => {
    expect(percent(0)).toBe('0.0 %');
    expect(percent(0.0001)).toBe('<0.1 %');
    expect(percent(0.00392, 2)).toBe('0.39 %');
  });

  it('count the ledger in tao', () => expect(tao(1_500_000_000)).toBe('1.500 τ'));
});

describe('times', () => {
  it('have two units at most', () => {
    const cases = [
      [0, '0 ms'],
      [850, '850 ms'],
      [4_210, '4.2 s'],
      [59_999, '59 s'],
      [200_000, '3 min 20 s'],
      [3_600_000, '1 h'],
      [187_200_000, '2 d 4 h'],
      [12 * 86_400_000 + 5, '12 d'],
    ] as const;
    for (const [ms, text] of cases) expect(duration(ms), String(ms)).toBe(text);
    expect(duration(null)).toBe('–');
  });

  it('are ages in whole seconds', () => {
    expect(age(400)).toBe('now');
    expect(age(-5_000)).toBe('now');
    expect(age(4_400)).toBe('4 s ago');
  });
});
