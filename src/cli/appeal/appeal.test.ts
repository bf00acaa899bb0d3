/** @file An appeal from what a miner types to the ruling, through a real network; and what he typed wrong. */
import { afterEach, describe, expect, it } from 'vitest';
import { openRunning, type RunningNetwork } from '../../../tests/support/local-network.ts';
import { testSession } from '../../../tests/support/run-fixture.ts';
import type { Hash } from '../../protocol/names.ts';
import { findClaim } from '../claim-id.ts';
import { appealClaim } from './appeal.ts';

const networks: RunningNetwork[] = [];
afterEach(async () => {
  for (const { network } of networks.splice(0)) await network.close();
});

/** A claim of miner a that both validators refused. */
async function refusedClaim(): Promise<RunningNetwork & { readonly id: Hash }> {
  const running = await openRunning();
  networks.push(running);
  const { network, a, b, validators } = running;
  const id = await a.claim();
  await network.pass(1_000, a, b, ...validators);
  const refusal = { outcome: 'reject', code: 'HARMFUL', sentence: 'worse', measurements: {}, details: null } as const;
  for (const { client } of validators)
    await client.submit('verdict', { claim: id, round: 'committee', accused: [], ...refusal });
  expect(network.orchestrator.run.claims.get(id)!.status).toBe('refused');
  return { ...running, id };
}

describe('accrete appeal', () => {
  it('has all validators judge the claim, and says what came of it', async () => {
    const { network, a, validators, id } = await refusedClaim();
    const options = { claim: id.slice(0, 10), session: testSession('a').sessionKey, clock: network.clock };
    const { signal } = new AbortController();
    const first = await appealClaim(a.client, { ...options, waitMs: 0, signal });
    expect(first).toMatchObject({ claim: id, outcome: 'open', status: 'refused' });
    const waiting = appealClaim(a.client, { ...options, waitMs: 5_000, signal });
    for (const { client } of validators)
      await client.submit('verdict', {
        ...{ claim: id, round: 'ruling', outcome: 'accept', code: 'OK', sentence: '', measurements: {} },
        ...{ details: null, accused: [] },
      });
    await network.clock.advance(1_000);
    expect(await waiting).toMatchObject({ outcome: 'upheld', status: 'accepted', code: 'OK' });
  });

  it('gives up waiting in time, and passes on why an appeal is not taken', async () => {
    const { network, a, b, id } = await refusedClaim();
    const options = { claim: id, clock: network.clock, signal: new AbortController().signal };
    const ofB = appealClaim(b.client, { ...options, session: testSession('b').sessionKey, waitMs: 0 });
    await expect(ofB).rejects.toMatchObject({ code: 'REFUSED', message: expect.stringContaining('NOT_YOURS') });
    const unknown = appealClaim(a.client, { ...options, session: testSession('nobody').sessionKey, waitMs: 0 });
    await expect(unknown).rejects.toThrow(/--dir/);
    const waiting = appealClaim(a.client, { ...options, session: testSession('a').sessionKey, waitMs: 1_000 });
    await network.clock.advance(2_000);
    expect(await waiting).toMatchObject({ outcome: 'open' });
  });

  it('finds a claim by its first digits', async () => {
    const { a, id } = await refusedClaim();
    expect(findClaim(a.client.state, id.slice(0, 8)).id).toBe(id);
    expect(() => findClaim(a.client.state, 'ffffffffff')).toThrow(/no claim/);
    a.client.state.claims.set(`${id.slice(0, 20)}${'0'.repeat(44)}` as Hash, {
      ...a.client.state.claims.get(id)!,
      id: `${id.slice(0, 20)}${'0'.repeat(44)}` as Hash,
    });
    expect(() => findClaim(a.client.state, id.slice(0, 8))).toThrow(/2 claims/);
  });
});
