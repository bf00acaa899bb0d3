/** @file Draws: the same for everybody, different, in their bounds, and with the chances that stake and share say. */
import { describe, expect, it } from 'vitest';
import { drawCommittee, drawGainTested, drawTestSequences } from './draw.ts';
import { hashOfText } from './hash.ts';
import type { Hotkey } from './names.ts';

const blockHash = hashOfText('block');
const claims = Array.from({ length: 4000 }, (_, i) => hashOfText(`claim ${i}`));
const candidates = [1, 2, 5].map((stake, i) => ({ hotkey: `hotkey-${i}` as Hotkey, stakeRao: stake * 1e9 }));

describe('a committee', () => {
  it('is drawn by stake, without the order of candidates mattering', () => {
    const first = new Map<Hotkey, number>();
    for (const claim of claims) {
      const committee = drawCommittee({ blockHash, claim, candidates, size: 2 });
      expect(drawCommittee({ blockHash, claim, candidates: candidates.toReversed(), size: 2 })).toEqual(committee);
      expect(new Set(committee).size).toBe(2);
      first.set(committee[0]!, (first.get(committee[0]!) ?? 0) + 1);
    }
    // Three standard errors of 4,000 draws are at most 0.024.
    for (const { hotkey, stakeRao } of candidates)
      expect(Math.abs(first.get(hotkey)! / claims.length - stakeRao / 8e9), hotkey).toBeLessThan(0.024);
  });

  it('is everybody where there are no more, also without stake', () => {
    const claim = claims[0]!;
    expect(drawCommittee({ blockHash, claim, candidates, size: 9 }).toSorted()).toEqual(
      candidates.map((c) => c.hotkey),
    );
    const poor = candidates.map((candidate) => ({ ...candidate, stakeRao: 0 }));
    expect(drawCommittee({ blockHash, claim, candidates: poor, size: 2 }).length).toBe(2);
    expect(drawCommittee({ blockHash, claim, candidates: [], size: 2 })).toEqual([]);
  });
});

describe('a gain test', () => {
  it('falls on the share of claims that it should', () => {
    const tested = claims.filter((claim) => drawGainTested({ blockHash, claim, isAlways: false, share: 0.25 }));
    expect(Math.abs(tested.length / claims.length - 0.25)).toBeLessThan(0.021);
    expect(drawGainTested({ blockHash, claim: claims[0]!, isAlways: true, share: 0 })).toBe(true);
    expect(claims.some((claim) => drawGainTested({ blockHash, claim, isAlways: false, share: 0 }))).toBe(false);
    expect(claims.every((claim) => drawGainTested({ blockHash, claim, isAlways: false, share: 1 }))).toBe(true);
  });

  it('takes different sequences of the range, evenly, for each validator apart', () => {
    const counts = new Array<number>(20).fill(0);
    const draw = (claim: (typeof claims)[number], validator: string) =>
      drawTestSequences({ blockHash, claim, validator: validator as Hotkey, count: 5, range: [100, 120] });
    for (const claim of claims.slice(0, 2000)) {
      const drawn = draw(claim, 'a');
      expect(new Set(drawn).size).toBe(5);
      for (const sequence of drawn) counts[sequence - 100]!++;
    }
    // 500 expected each; four standard deviations are 78.
    for (const [i, count] of counts.entries()) expect(Math.abs(count - 500), `sequence ${i}`).toBeLessThan(78);
    expect(draw(claims[0]!, 'a')).not.toEqual(draw(claims[0]!, 'b'));
    const all = { blockHash, claim: claims[0]!, validator: 'a' as Hotkey, count: 9, range: [3, 6] } as const;
    expect(drawTestSequences(all)).toEqual([3, 4, 5]);
  });
});
