/** @file The orchestrator around verdicts, audits and lost bytes: what must be in the store, and what it heals. */
import { afterEach, describe, expect, it } from 'vitest';
import {
  type LocalNetwork,
  type NetworkParts,
  openRunning,
  type RunningNetwork,
  unreadable,
} from '../../../tests/support/local-network.ts';
import type { Audit, Claim } from '../../journal/state.ts';
import type { ArtifactRef } from '../../protocol/manifest.ts';
import type { Hash } from '../../protocol/names.ts';
import { hashArtifact } from '../../store/node-hash.ts';
import type { Store, WriteGrant } from '../../store/port.ts';
import { runSettings } from '../run-presets.ts';

const networks: LocalNetwork[] = [];
afterEach(async () => {
  for (const network of networks.splice(0)) await network.close();
});

async function open(parts: NetworkParts = {}): Promise<RunningNetwork> {
  const running = await openRunning({}, parts);
  networks.push(running.network);
  return running;
}

const bytesOf = (text: string): { readonly bytes: Uint8Array; readonly artifact: ArtifactRef } => {
  const bytes = Buffer.from(text);
  return { bytes, artifact: hashArtifact(bytes) };
};

const put = ({ store }: { readonly store: Store }, artifact: ArtifactRef, bytes: Uint8Array, grant: WriteGrant) =>
  store.put(artifact, bytes, { grant });

describe('a merge whose claims are lost', () => {
  /** A pending merge of two claims, the orchestrator down. */
  async function pending(): Promise<RunningNetwork & { readonly claims: readonly Claim[] }> {
    const running = await open();
    const { network, a, b, validators, round } = running;
    await network.stop();
    await network.start({ store: unreadable(network.store) });
    await network.pass(3_000, a, b, ...validators);
    await round();
    await network.pass(1_000, a, b, ...validators);
    const { run } = network.orchestrator;
    const claims = run.fragments[0]!.pendingMerge!.claims.map(({ claim }) => run.claims.get(claim)!);
    await network.stop();
    return { ...running, claims };
  }

  it('goes on without the one that is gone, which is void and not paid', async () => {
    const { network, a, b, validators, claims } = await pending();
    await network.store.remove(claims[0]!.body.artifact.root);
    await network.start();
    await network.pass(3_000, a, b, ...validators);
    const { run } = network.orchestrator;
    expect(run.claims.get(claims[0]!.id)).toMatchObject({ status: 'voided', code: 'LOST' });
    expect(run.claims.get(claims[1]!.id)).toMatchObject({ status: 'merged' });
    expect(run.fragments[0]).toMatchObject({ version: 1, pendingMerge: null });
    expect(run.cellTokens).toBe(claims[1]!.cellTokens);
  });

  it('is none where all are gone, and the run goes on', async () => {
    const { network, a, b, validators, round, claims } = await pending();
    for (const { body } of claims) await network.store.remove(body.artifact.root);
    await network.start();
    await network.pass(4_000, a, b, ...validators);
    const { run } = network.orchestrator;
    expect(claims.map(({ id }) => run.claims.get(id)!.code)).toEqual(['LOST', 'LOST']);
    expect(run.fragments[0]).toMatchObject({ version: 0, pendingMerge: null });
    expect(run.due).not.toBeNull();
    await round();
    await network.clock.quiesce();
    expect(run.merges).toBe(1);
  });
});

describe('verdicts', () => {
  it('name details that are in the store; who has stake and is not barred may put them there', async () => {
    const { network, a, validators } = await open();
    const [v, w] = validators;
    const id = await a.claim();
    await network.pass(1_000, a, ...validators);
    const { bytes, artifact } = bytesOf('details');
    const verdict = { claim: id, round: 'committee', outcome: 'accept', code: 'OK', sentence: '' } as const;
    const send = () => v!.client.submit('verdict', { ...verdict, measurements: {}, details: artifact, accused: [] });
    expect(await send()).toMatchObject({ code: 'MISSING', seq: null });
    await expect(a.client.requestGrant(artifact, 'details', new Uint8Array(1))).rejects.toMatchObject({
      code: 'REFUSED',
    });
    const huge = { ...artifact, sizeBytes: 2 ** 20 + 1 };
    await expect(v!.client.requestGrant(huge, 'details', new Uint8Array(1))).rejects.toThrow(/1048576/);
    const grant = await v!.client.requestGrant(artifact, 'details', new Uint8Array(1));
    await put(network, artifact, bytes, grant);
    expect(await send()).toMatchObject({ code: 'OK' });
    const { run } = network.orchestrator;
    run.hotkeys.get(w!.hotkey.hotkey)!.barred = { sentence: 'lied', atMs: 1 };
    await expect(w!.client.requestGrant(artifact, 'details', new Uint8Array(1))).rejects.toThrow(/no longer judge/);
  });
});

describe('audits', () => {
  /** A learner with a segment of 50 steps behind it, and the audit of it. */
  async function audited(): Promise<RunningNetwork & { readonly audit: Audit }> {
    const sync = { ...runSettings.tiny.sync, stateRootEverySteps: 50 };
    const running = await open({ run: { settings: { sync } } });
    const { network, a, b, validators } = running;
    await network.stop();
    await network.start({ stateSizeBytes: () => 5 });
    for (let i = 0; i < 9; i++) {
      await network.pass(3_000, a, b, ...validators);
      await running.round();
    }
    await network.pass(2_000, a, b, ...validators);
    const { run } = network.orchestrator;
    const audit = [...run.audits.values()].find(({ learner, status }) => learner === a.record.id && status === 'open')!;
    expect(audit.body.steps).toEqual([0, 50]);
    expect(audit.isFirst).toBe(true);
    return { ...running, audit };
  }

  it('are challenged by the syncer, answered with states and lines in the store, and settled by verdicts', async () => {
    const { network, a, validators, audit } = await audited();
    const { run } = network.orchestrator;
    const { bytes, artifact } = bytesOf('state');
    const answer = () => a.client.submit('audit-answer', { audit: audit.id, start: null, end: artifact });
    expect(await answer()).toMatchObject({ code: 'MISSING', seq: null });
    await expect(validators[0]!.client.requestGrant(artifact, 'state', new Uint8Array(1))).rejects.toMatchObject({
      code: 'REFUSED',
    });
    await expect(a.client.requestGrant({ ...artifact, sizeBytes: 6 }, 'state', new Uint8Array(1))).rejects.toThrow(
      /has 5 bytes, got 6/,
    );
    const grant = await a.client.requestGrant(artifact, 'state', new Uint8Array(1));
    await put(network, artifact, bytes, grant);
    // A learner that withholds a line could not be audited.
    const traced = [...run.claims.values()].find(({ learner }) => learner === a.record.id)!.body.trace.artifact;
    const lines = await network.store.get(traced);
    await network.store.remove(traced.root);
    const refused = await answer();
    expect(refused).toMatchObject({ code: 'MISSING', seq: null });
    expect(refused.sentence).toContain(traced.root);
    const traceGrant = await a.client.requestGrant(traced, 'trace', new Uint8Array(1));
    await put(network, traced, lines, traceGrant);
    expect(await answer()).toMatchObject({ code: 'OK' });
    for (const { client, hotkey } of validators) {
      if (!audit.body.committee.includes(hotkey.hotkey) || !run.openAudits.has(audit.id)) continue;
      const said = { audit: audit.id, outcome: 'pass', code: 'OK', sentence: '', measurements: {} } as const;
      expect((await client.submit('audit-verdict', said)).code).toBe('OK');
    }
    expect(run.audits.get(audit.id)).toMatchObject({ status: 'passed' });
  });

  it('that nobody answers are closed as failed, and no states are taken without one', async () => {
    const { network, a, b, validators, audit } = await audited();
    await network.pass(26_000, a, b, ...validators);
    const { run } = network.orchestrator;
    expect(run.audits.get(audit.id)).toMatchObject({ status: 'failed', code: 'UNANSWERED' });
    expect(run.hotkeys.get(a.hotkey.hotkey)!.forfeits).toHaveLength(1);
    await expect(a.client.requestGrant(bytesOf('state').artifact, 'state', new Uint8Array(1))).rejects.toThrow(
      /no audit/,
    );
    const unknown = { audit: 99, start: null, end: { root: '1'.repeat(64) as Hash, sizeBytes: 1 } };
    expect(await a.client.submit('audit-answer', unknown)).toMatchObject({ code: 'UNKNOWN_AUDIT' });
  });
});

it('a release has its files journaled once it is written', async () => {
  const { network, validators } = await open();
  await validators[0]!.client.submit('evaluation', { release: 0, losses: {}, sequences: 1 });
  await network.clock.quiesce();
  const { run } = network.orchestrator;
  expect(run.releases[0]!.files.map(({ name }) => name)).toEqual(['model.safetensors']);
  await network.stop();
  await network.start();
  await network.pass(2_000, ...validators);
  // Written again after the restart, named once.
  expect(network.written).toEqual([0, 0]);
  expect(network.orchestrator.run.eventCounts.get('release-published')).toBe(1);
});
