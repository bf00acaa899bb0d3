/** @file A segment recomputed from the record: equal to it, or not from the first merge that differs. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openRunning, type RunningNetwork } from '../../../tests/support/local-network.ts';
import { hashArtifact } from '../../store/node-hash.ts';
import type { Store } from '../../store/port.ts';
import { MergeHistory, type PublishedMerge } from '../merge-history.ts';
import { findDivergence } from './attest.ts';

let running: RunningNetwork;
let merges: MergeHistory;

beforeAll(async () => {
  running = await openRunning();
  const { network, a, b, validators, round } = running;
  merges = new MergeHistory();
  await network.connect(null, { onFold: merges.onFold });
  // Two segments of one merge a fragment each.
  for (let i = 0; i < 8; i++) {
    await round();
    await network.pass(1_000, a, b, ...validators);
  }
});
afterAll(() => running.network.close());

const find = (segment: readonly PublishedMerge[], store: Pick<Store, 'get'> = running.network.store) =>
  findDivergence(segment, {
    ...{ manifest: running.a.client.manifest, plan: running.a.model.plan, store, artifactOf: hashArtifact },
    signal: new AbortController().signal,
  });

describe('an attestation', () => {
  it('finds each merge of a segment as it was published, momentum included', async () => {
    const { releases } = running.network.orchestrator.run;
    expect(releases.length).toBe(3);
    expect(merges.ofRelease(0)).toEqual([]);
    for (const release of [1, 2]) {
      const segment = merges.ofRelease(release)!;
      expect(segment.map(({ published }) => published.fragment)).toEqual([0, 1, 2, 3]);
      expect(segment.every(({ input }) => (input.momentum === null) === (release === 1))).toBe(true);
      expect(await find(segment)).toBeNull();
    }
  });

  it('names the first merge that differs, and in what', async () => {
    const segment = merges.ofRelease(2)!;
    const changed = (at: number, published: Partial<PublishedMerge['published']>): PublishedMerge[] =>
      segment.map((merge, i) => (i === at ? { ...merge, published: { ...merge.published, ...published } } : merge));
    const { artifact, momentum, shares } = segment[1]!.published;
    const cases = [
      ['artifact', changed(1, { artifact: segment[0]!.published.artifact })],
      ['momentum', changed(1, { momentum: artifact })],
      ['shares', changed(1, { shares: [...shares].reverse() })],
      ['version', changed(1, { version: 9 })],
    ] as const;
    for (const [what, tampered] of cases) {
      const twice = tampered.map((merge, i) =>
        i === 3 ? { ...merge, published: { ...merge.published, momentum } } : merge,
      );
      expect(await find(twice), what).toMatchObject({ what, fragment: 1, outerStep: 5 });
    }
  });

  it('is impossible without the bytes', async () => {
    const { artifact } = merges.ofRelease(1)![0]!.input.claims[0]!.claim.body;
    const store = running.network.store;
    const gapped: Pick<Store, 'get'> = {
      get: (ref, options) =>
        ref.root === artifact.root ? store.get({ ...ref, root: '0'.repeat(64) as never }) : store.get(ref, options),
    };
    await expect(find(merges.ofRelease(1)!, gapped)).rejects.toMatchObject({ code: 'LOST' });
  });

  it('forgets what is long attested', () => {
    expect(merges.ofRelease(99)).toBeNull();
  });
});
