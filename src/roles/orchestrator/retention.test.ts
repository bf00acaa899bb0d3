/** @file What retention may name, over random runs. */
import { describe, expect, it } from 'vitest';
import { DrivenRun } from '../../../tests/support/run-driver.ts';
import { Rng } from '../../util/rng.ts';
import { Retention } from './retention.ts';

describe('Retention', () => {
  it('names superseded fragments and settled claims once, and never what is still in use', () => {
    const run = new DrivenRun();
    const retention = new Retention();
    const rng = new Rng(5);
    const expired: string[] = [];
    let folded = 0;
    for (let i = 0; i < 6_000; i++) {
      run.do({ op: rng.below(25), a: rng.below(64), b: rng.below(64) });
      for (; folded < run.entries.length; folded++) retention.onFold(run.state, run.entries[folded]!.entry);
      const { state } = run;
      const inUse = new Set([
        ...state.fragments.flatMap(({ artifact, momentum }) => [artifact.root, momentum?.root]),
        ...[...state.openClaims].map((id) => state.claims.get(id)!.body.artifact.root),
        ...state.run!.start.map(({ root }) => root),
      ]);
      for (const root of retention.takeExpired(state)) {
        expect(inUse.has(root), `step ${i}: ${root} is in use`).toBe(false);
        expired.push(root);
      }
    }
    expect(run.state.releases.length).toBeGreaterThan(3);
    expect(expired.length).toBeGreaterThan(5);
    expect(new Set(expired).size).toBe(expired.length);
  });
});
