/** @file Sorting and searching miners. */
import { describe, expect, it } from 'vitest';
import type { ApiMinerRow } from '../../../../src/protocol/api/participants.ts';
import { arrangeMiners } from './arrange.ts';

const row = (hotkey: string, verifiedTokens: number, quality: number | null, learnersPresent = 1): ApiMinerRow =>
  ({
    hotkey,
    verifiedTokens,
    quality,
    learnersPresent,
    learners: [`rig-${hotkey}`],
    claims: { refused: 0, voided: 0 },
  }) as unknown as ApiMinerRow;
const rows = [row('5B', 10, null), row('5A', 10, 1), row('5C', 30, 0.5, 0)];
const defaults = { sort: 'tokens', isAscending: false, search: '', isPresentOnly: false } as const;
const order = (options: Partial<Parameters<typeof arrangeMiners>[1]>): string[] =>
  arrangeMiners(rows, { ...defaults, ...options }).map(({ hotkey }) => hotkey);

describe('arrangeMiners', () => {
  it('sorts both ways, equal ones by hotkey', () => {
    expect(order({})).toEqual(['5C', '5A', '5B']);
    expect(order({ isAscending: true })).toEqual(['5A', '5B', '5C']);
  });

  it('puts what is not known below everything', () => {
    expect(order({ sort: 'quality' })).toEqual(['5A', '5C', '5B']);
  });

  it('finds the beginning of a hotkey in any case, and any part of a name', () => {
    expect(order({ search: '5a' })).toEqual(['5A']);
    expect(order({ search: 'rig' })).toHaveLength(3);
    expect(order({ search: 'x' })).toEqual([]);
  });

  it('leaves out who is away', () => expect(order({ isPresentOnly: true })).toEqual(['5A', '5B']));

  it('does not touch the list that it was given', () => {
    order({});
    expect(rows.map(({ hotkey }) => hotkey)).toEqual(['5B', '5A', '5C']);
  });
});
