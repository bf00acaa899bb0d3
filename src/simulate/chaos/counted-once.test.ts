/** @file The audit of counts finds what is merged or counted twice, and a sum that is not that of the cells. */
import { describe, expect, it } from 'vitest';
import { emptyState, type RunState } from '../../journal/state.ts';
import type { JournalEntry } from '../../protocol/messages.ts';
import { auditCounts } from './counted-once.ts';

const merge = (seq: number, outerStep: number, fragment: number, ...claims: string[]): JournalEntry =>
  ({
    seq,
    message: { kind: 'merge', body: { outerStep, fragment, claims: claims.map((claim) => ({ claim })) } },
  }) as never;

/** Claim `a` has the sequences 0 to 4, `b` those of 4 to 6, `c` of 3 to 5; a sequence has 64 tokens. */
function stateOf(cellTokens: number, pendingOuterStep: number | null = null): RunState {
  const pendingMerge = pendingOuterStep === null ? null : { outerStep: pendingOuterStep };
  const claim = (from: number, to: number) => ({ body: { phase: 0, sequences: [[from, to]] } });
  return {
    ...emptyState(),
    run: { manifest: { phases: [{ sequenceLength: 64 }] } },
    claims: new Map([
      ['a', claim(0, 4)],
      ['b', claim(4, 6)],
      ['c', claim(3, 5)],
    ]),
    fragments: [{ pendingMerge: null }, { pendingMerge }],
    cellTokens,
  } as never;
}

describe('auditCounts', () => {
  it('finds nothing where every cell is counted once for each fragment', () => {
    const entries = [merge(1, 0, 0, 'a', 'b'), merge(2, 1, 1, 'c')];
    expect(auditCounts(entries, stateOf((6 + 2) * 64))).toEqual([]);
  });

  it('does not count a merge that is not published', () => {
    expect(auditCounts([merge(1, 0, 0, 'a'), merge(2, 1, 1, 'b')], stateOf(4 * 64, 1))).toEqual([]);
  });

  it('names claims, cells and outer steps that come twice', () => {
    const found = auditCounts([merge(1, 0, 0, 'a'), merge(2, 0, 0, 'a', 'c')], stateOf(5 * 64)).join('\n');
    expect(found).toContain('outer step 0 is merged twice');
    expect(found).toContain('claim a is merged twice');
    expect(found).toContain('cell 0/3/0 is counted twice');
  });

  it('names a sum that is not that of the cells', () => {
    expect(auditCounts([merge(1, 0, 0, 'a')], stateOf(5 * 64))).toEqual([
      'the fold counts 320 tokens, the cells have 256',
    ]);
  });
});
