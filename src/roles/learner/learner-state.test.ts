/** @file A learner's state as bytes: going on from them gives the bits of one that was never stopped; liars are refused. */
import { describe, expect, it } from 'vitest';
import { artifactOf, artifactOfParts } from '../../protocol/artifact.ts';
import { concatBytes } from '../../util/bytes.ts';
import { nodeSha256 as hash } from '../../util/node-sha256.ts';
import { Learner } from './learner.ts';
import { readState } from './learner-state.ts';
import { stateSizeBytes } from './state-format.ts';
import { goOn, TracedLearner } from './test-support.ts';
import { adamw, muon, tinyRun } from './test-support-run.ts';

const machine = { threads: 1, device: 'cpu' } as const;

/** Steps, a claim with a residue, a merge and a take-in: every buffer of the state is at work. */
async function live(learner: TracedLearner, steps: number): Promise<void> {
  for (let i = 0; i < steps; i++) {
    const step = learner.innerSteps;
    if (step % 3 === 2) learner.run.merge((step - 2) % 4, [learner.claim(step - 2)]);
    if (step % 3 === 0 && step > 0) learner.takeIn((step - 3) % 4);
    await learner.step();
  }
}

describe("a learner's state", () => {
  it('is all that later steps depend on, for AdamW and for Muon with micro-batches', async () => {
    for (const recipe of [adamw, muon]) {
      const run = tinyRun({ recipe });
      const straight = new TracedLearner(run, machine);
      await live(straight, 4);
      const middle = straight.states.get(4)!;
      const { plan } = run.model;
      expect(middle.byteLength).toBe(stateSizeBytes(plan, run.manifest));
      const lines = straight.lines.length;
      await live(straight, 4);
      const { manifest, loaded } = run;
      // Bytes at an odd address, as a network may hand them over.
      const odd = concatBytes(new Uint8Array(1), middle).subarray(1);
      const resumed = new Learner({ manifest, loaded, hash, ...machine, start: readState(plan, odd) });
      expect(artifactOfParts(resumed.endSegment(4), hash)).toEqual(artifactOf(middle, hash));
      await goOn(resumed, run, straight.lines.slice(lines));
      const end = concatBytes(...resumed.endSegment(8));
      expect(Buffer.compare(end, straight.states.get(8)!), recipe.optimizer).toBe(0);
      const { counters, residues, selectionBiases, anchors, params } = readState(plan, end);
      expect(counters).toEqual({ innerSteps: 8, optimizerSteps: 8, skippedInARow: 0 });
      expect(residues.some((residue) => residue.some((value) => value !== 0))).toBe(true);
      expect(selectionBiases.some((value) => value !== 0)).toBe(true);
      expect(anchors[0]!.params.some((value, i) => value !== params[i])).toBe(true);
      await resumed.close();
      await straight.learner.close();
    }
  });

  it('is refused where its size, its header or a number is wrong', async () => {
    const run = tinyRun({});
    const { plan } = run.model;
    const learner = new Learner({
      ...run,
      ...machine,
      hash,
      start: run.versions.map(([bytes]) => ({ version: 0, bytes: bytes! })),
    });
    const honest = concatBytes(...learner.endSegment(0));
    await learner.close();
    expect(readState(plan, honest).counters.innerSteps).toBe(0);
    const changed = (at: number, ...bytes: number[]): Uint8Array => {
      const copy = honest.slice();
      copy.set(bytes, at);
      return copy;
    };
    const secondMoments = 64 + 8 * plan.elementCount;
    const cases: [string, Uint8Array, RegExp][] = [
      ['empty', new Uint8Array(0), /expected \d+ bytes, got 0/],
      ['short', honest.subarray(4), /bytes/],
      ['version', changed(14, 0x32), /version 1/],
      ['counter', changed(23, 0xff), /counter/],
      ['rest of the header', changed(63, 1), /version 1/],
      ['NaN', changed(honest.length - 4, 0, 0, 0xc0, 0x7f), /finite/],
      ['infinity', changed(64, 0, 0, 0x80, 0xff), /finite/],
      ['moment below 0', changed(secondMoments, 0, 0, 0x80, 0xbf), /negative/],
    ];
    for (const [what, bytes, why] of cases) {
      expect(() => readState(plan, bytes), what).toThrowError(expect.objectContaining({ code: 'BAD_STATE' }));
      expect(() => readState(plan, bytes), what).toThrow(why);
    }
  });
});
