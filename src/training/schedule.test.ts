/** @file Learning-rate curves at their corners. */
import { describe, expect, it } from 'vitest';
import { toDecimal } from '../protocol/names.ts';
import { learningRateAt, type Schedule } from './schedule.ts';

const schedule = (kind: Schedule['kind']): Schedule => ({
  kind,
  peakLearningRate: toDecimal(0.01),
  finalLearningRate: toDecimal(0.001),
  warmupTokens: 100,
  totalTokens: 1100,
});

describe('learningRateAt', () => {
  it('passes through the corners of each curve', () => {
    const expected = {
      constant: [0, 0.005, 0.01, 0.01, 0.01, 0.01],
      linear: [0, 0.005, 0.01, 0.0055, 0.001, 0.001],
      cosine: [0, 0.005, 0.01, 0.0055, 0.001, 0.001],
      wsd: [0, 0.005, 0.01, 0.01, 0.001, 0.001],
    } as const;
    for (const [kind, rates] of Object.entries(expected))
      [0, 50, 100, 600, 1100, 5000].forEach((tokens, i) => {
        expect(learningRateAt(schedule(kind as Schedule['kind']), tokens), `${kind} ${tokens}`).toBeCloseTo(
          rates[i]!,
          12,
        );
      });
  });

  it('holds wsd to its last fifth, and is whole where the warm-up is the whole length or longer', () => {
    const wsd = [899, 900, 1000, 1099].map((tokens) => learningRateAt(schedule('wsd'), tokens));
    [0.01, 0.01, 0.0055, 0.001045].forEach((rate, i) => {
      expect(wsd[i], `${i}`).toBeCloseTo(rate, 8);
    });
    for (const kind of ['constant', 'linear', 'cosine', 'wsd'] as const)
      for (const totalTokens of [50, 100]) {
        const short = { ...schedule(kind), totalTokens };
        expect(learningRateAt(short, 99), kind).toBeCloseTo(0.0099, 12);
        expect(learningRateAt(short, 100), kind).toBeCloseTo(kind === 'constant' ? 0.01 : 0.001, 12);
      }
  });

  it('starts at the peak without a warm-up', () => {
    expect(learningRateAt({ ...schedule('cosine'), warmupTokens: 0 }, 0)).toBeCloseTo(0.01, 12);
  });
});
