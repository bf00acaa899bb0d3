/** @file From what a run is and what its file says to an amendment: what may be amended is, the rest is refused with its reason. */
import { describe, expect, it } from 'vitest';
import { testManifest } from '../../../tests/support/run-fixture.ts';
import { amendedManifest, amendmentChangesSchema } from '../../protocol/amendment.ts';
import type { RunFile } from '../../roles/run-file.ts';
import { changesBetween, differencesBetween } from './differences.ts';

const manifest = testManifest();
const { name, phases, recipe, fragments, sync, codec, merge, evaluation, audit, rewards, release } = manifest;
const file: RunFile = {
  ...{
    version: 1,
    template: 'test',
    name,
    seed: 's',
    model: { preset: 'tiny' },
    ledger: { tempoBlocks: 1, blockMs: 1 },
  },
  ...{ phases, recipe, fragments, sync, codec, merge, evaluation, audit, rewards, release },
};
const [base, long] = phases as [RunFile['phases'][number], RunFile['phases'][number]];

describe('changesBetween', () => {
  it("has nothing of a file that says what the run is; a mixture that is left out is the run's", () => {
    expect(changesBetween(manifest, file, 0)).toEqual({});
    expect(changesBetween(manifest, { ...file, phases: phases.map(({ mixture: _, ...rest }) => rest) }, 0)).toEqual({});
  });

  it('holds what differs and no more, and makes the run what the file says', () => {
    const asked: RunFile = {
      ...file,
      phases: [
        { ...base, targetTokens: 900 },
        { ...long, targetTokens: 5 },
        { ...base, name: 'third' },
      ],
      sync: { ...sync, quorum: 4 },
      audit: { ...audit, perTempo: 2 },
      release: { ...release, keepReleases: 9 },
    };
    const changes = amendmentChangesSchema.parse(changesBetween(manifest, asked, 0));
    expect(changes).toMatchObject({
      ...{ sync: { quorum: 4 }, audit: { perTempo: 2 }, release: { keepReleases: 9 }, current: { targetTokens: 900 } },
      phases: { from: 1 },
    });
    expect(Object.keys(changes)).not.toContain('evaluation');
    const amended = amendedManifest(manifest, changes, 0);
    expect(changesBetween(amended, asked, 0)).toEqual({});
  });

  it('refuses the rest, each with its reason', () => {
    const refused: [Partial<RunFile>, RegExp][] = [
      [{ name: 'other' }, /name: releases carry it/],
      [{ recipe: { ...recipe, batchSequences: 9 } }, /recipe\.batchSequences: replays/],
      [{ codec: 'f32' }, /codec/],
      [{ sync: { ...sync, maxStaleness: 7 } }, /sync\.maxStaleness/],
      [{ phases: [{ ...base, sequenceLength: 8 }, long] }, /phases\.0\.sequenceLength: of the phase that goes on/],
    ];
    for (const [changes, reason] of refused)
      expect(() => changesBetween(manifest, { ...file, ...changes }, 0)).toThrow(reason);
    expect(() => changesBetween(manifest, { ...file, phases: [{ ...base, targetTokens: 9 }, long] }, 1)).toThrow(
      /the phase is over/,
    );
  });

  it('names fields that only one of two has', () => {
    expect(differencesBetween({ a: { b: 1 } }, { a: { b: 1, c: 2 } }, 0)).toEqual([
      { field: 'a.c', before: undefined, after: 2, refusal: 'work that is done or under way is judged by it' },
    ]);
  });
});
