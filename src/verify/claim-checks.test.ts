/** @file Traces of merged claims, whatever the order in which a learner's claims were revealed. */
import { afterEach, expect, it } from 'vitest';
import { openRunning, type RunningNetwork } from '../../tests/support/local-network.ts';
import type { ArtifactRef } from '../protocol/manifest.ts';
import type { Hash } from '../protocol/names.ts';
import { ArtifactCache } from './artifact-cache.ts';
import type { Visit, WalkContext } from './check.ts';
import { ClaimChecks } from './claim-checks.ts';
import { Findings } from './findings.ts';

let running: RunningNetwork | null = null;
afterEach(async () => {
  await running?.network.close();
  running = null;
});

/** Two claims of one learner, the later of which reaches back into lines that the earlier committed. */
async function twoClaims(): Promise<{ earlier: Hash; later: Hash; earlierTrace: ArtifactRef }> {
  running = await openRunning();
  const { network, a, b, validators } = running;
  const parts = [a, b, ...validators];
  const commit = async () => {
    const made = await a.make();
    const { id, outcome } = await a.commit(made);
    expect(outcome).toBe('accept');
    await a.upload(made);
    return { id, body: made.body };
  };
  const first = await commit();
  await b.claim();
  await network.pass(12_000, ...parts);
  for (const validator of validators) await validator.acceptAll();
  await network.pass(1_000, ...parts);
  const second = await commit();
  expect(second.body.steps[0]).toBeLessThan(second.body.trace.lines[0]);
  return { earlier: first.id, later: second.id, earlierTrace: first.body.trace.artifact };
}

/** What the walk finds when claims are revealed in this order and then merged; `without`: an artifact that nobody has. */
async function divergences(revealed: readonly Hash[], merged: readonly Hash[], without?: ArtifactRef) {
  const { network } = running!;
  const findings = new Findings();
  const record = {
    artifact: async (artifact: ArtifactRef) =>
      artifact.root === without?.root
        ? { kind: 'missing' as const }
        : { kind: 'found' as const, bytes: await network.store.get(artifact) },
  };
  const context = {
    ...{ record, findings, state: network.orchestrator.run, cache: new ArtifactCache(record, 1 << 28) },
    isHeavy: false,
  } as unknown as WalkContext;
  const checks = new ClaimChecks();
  for (const claim of revealed) await checks.after({ kind: 'claim-reveal', body: { claim } } as Visit, context);
  const claims = merged.map((claim) => ({ claim }));
  await checks.after({ kind: 'merge', seq: 9, body: { claims } } as unknown as Visit, context);
  return findings.report({ record: 'test', run: null, entries: 1 }).checks.filter(({ status }) => status === 'FAILED');
}

it('are good when the later claim is revealed first', async () => {
  const { earlier, later } = await twoClaims();
  expect(await divergences([earlier, later], [earlier, later])).toEqual([]);
  expect(await divergences([later, earlier], [later, earlier])).toEqual([]);
});

it('are good when the earlier claim is never revealed, as long as the store has its trace', async () => {
  const { later, earlierTrace } = await twoClaims();
  expect(await divergences([later], [later])).toEqual([]);
  const found = await divergences([later], [later], earlierTrace);
  expect(found).toMatchObject([{ check: 'traces' }]);
});
