/** @file The orchestrator with real journal, bus, store and ledger: what it takes, what it refuses, what survives a crash. */
import { createHash } from 'node:crypto';
import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  LocalNetwork,
  networkOwner,
  networkSyncer,
  openRunning,
  type RunningNetwork,
  unreadable,
} from '../../../tests/support/local-network.ts';
import { testArtifact, testHotkey, testSession } from '../../../tests/support/run-fixture.ts';
import { nativeEquation } from '../../cli/native-ed25519.ts';
import { JournalError } from '../../journal/errors.ts';
import { hashState } from '../../journal/fold.ts';
import type { Journal } from '../../journal/port.ts';
import type { RunState } from '../../journal/state.ts';
import { type Envelope, type EventBody, grantContext, type JournalEntry } from '../../protocol/messages.ts';
import type { Hash } from '../../protocol/names.ts';
import { maxMessageLength, type SignContext, type Signer, signMessage } from '../../protocol/signing.ts';
import { hashArtifact } from '../../store/node-hash.ts';
import { fromHex, fromUtf8 } from '../../util/bytes.ts';
import { canonicalJson } from '../../util/canonical-json.ts';
import { BaseError } from '../../util/errors.ts';
import { type SubmitResult, topics } from '../client.ts';
import { runMerge } from './merge-runner.ts';
import { RunFold } from './run-fold.ts';

const networks: LocalNetwork[] = [];
afterEach(async () => {
  for (const network of networks.splice(0)) await network.close();
});

async function open(): Promise<LocalNetwork> {
  const network = await LocalNetwork.open();
  networks.push(network);
  return network;
}

const binding = (network: LocalNetwork): SignContext => {
  const { id, manifest } = network.orchestrator.run.run!;
  return { chainId: manifest.ledger.chainId, netuid: manifest.ledger.netuid, run: id, seenHead: null };
};

async function submit(network: LocalNetwork, payload: string | Envelope): Promise<SubmitResult> {
  const text = typeof payload === 'string' ? payload : JSON.stringify(payload);
  return JSON.parse(await network.bus.request(topics.submit, text, { timeoutMs: 5_000 })) as SubmitResult;
}

/** What a request came to: its reply, or the code it was refused with. */
async function ask(network: LocalNetwork, topic: string, payload: string | Envelope): Promise<unknown> {
  const text = typeof payload === 'string' ? payload : JSON.stringify(payload);
  const options = { timeoutMs: 5_000 };
  return network.bus
    .request(topic, text, options)
    .then(JSON.parse, (error: BaseError) => `${error.code} ${error.message}`);
}

async function withRound(): Promise<RunningNetwork> {
  const running = await openRunning();
  networks.push(running.network);
  return running;
}

describe('a run', () => {
  it('goes from claim to published fragment, counted once', async () => {
    const { network, a, round } = await withRound();
    await round();
    await network.clock.quiesce();
    const { run } = network.orchestrator;
    expect(run.fragments[0]).toMatchObject({ version: 1, merges: 1, pendingMerge: null });
    const cellTokens = 2 * 24 * 64;
    expect(run.cellTokens).toBe(cellTokens);
    expect(await network.store.stat(run.fragments[0]!.artifact.root)).toBe(run.fragments[0]!.artifact.sizeBytes);
    expect(run.fragments[0]!.artifact).not.toEqual(run.run!.start[0]);
    expect(hashState(a.client.state)).toBe(hashState(run));
    for (let i = 1; i < 4; i++) await round();
    await network.clock.quiesce();
    expect(run.releases.map(({ body }) => body.release)).toEqual([0, 1]);
    expect(run.fragments.map(({ version }) => version)).toEqual([1, 1, 1, 1]);
    expect(network.orchestrator.pulses.size).toBe(4);
  });

  it('has a release written once it is evaluated, and stops when asked', async () => {
    const { network, a, b, validators } = await withRound();
    const { client } = validators[0]!;
    expect(network.written).toEqual([]);
    await client.submit('evaluation', { release: 0, losses: {}, sequences: 1 });
    await network.clock.quiesce();
    expect(network.written).toEqual([0]);
    expect([...network.orchestrator.releaseFolders]).toEqual([[0, 'release-0']]);
    network.orchestrator.requestStop();
    await network.pass(1_000, a, b);
    expect(network.orchestrator.decisions.stop.state).toBe('stopped');
    expect(await a.client.requestLease()).toBeNull();
  });

  it('tries failed work again', async () => {
    const network = await open();
    await network.stop();
    let failures = 2;
    await network.start({
      writeRelease: async (_, release) => {
        if (failures-- > 0) throw new Error('the disk is full');
        return { folder: `release-${release}`, files: [{ name: 'a', artifact: testArtifact('a') }] };
      },
    });
    const validator = await network.validator('v');
    await validator.client.submit('evaluation', { release: 0, losses: {}, sequences: 1 });
    await network.clock.advance(3_500);
    expect([...network.orchestrator.releaseFolders]).toEqual([[0, 'release-0']]);
  });

  it('says so when its journal is no longer its own, and only then', async () => {
    const network = await open();
    await network.miner('a');
    await network.stop();
    const { journal } = network;
    let code: 'DISK_FULL' | 'LOCKED' = 'DISK_FULL';
    await network.start({
      journal: {
        ...{ head: journal.head, read: journal.read.bind(journal), follow: () => () => {}, close: async () => {} },
        append: () => Promise.reject(new JournalError(code, 'refused')),
        appendAll: () => Promise.reject(new JournalError(code, 'refused')),
      },
    });
    const lost: string[] = [];
    network.orchestrator.lost.then((error) => lost.push(error.code));
    const leave = signMessage(testSession('a'), 'leave', { atMs: network.clock.nowMs() + 1 }, binding(network));
    expect(await ask(network, topics.submit, leave)).toContain('DISK_FULL');
    expect(lost).toEqual([]);
    code = 'LOCKED';
    expect(await ask(network, topics.submit, leave)).toContain('LOCKED');
    expect(lost).toEqual(['LOCKED']);
  });

  it('does not start without a run, on a damaged journal, or on one whose run is another', async () => {
    const network = await open();
    await network.miner('a');
    const entries = await network.journal.read(0, 100);
    await network.stop();
    const journalOf = (changed: readonly JournalEntry[]): { journal: Journal } => ({
      journal: new Proxy(network.journal, {
        get: (target, name) => {
          if (name === 'read') return async (from: number, limit: number) => changed.slice(from, from + limit);
          const own = target[name as keyof Journal];
          return typeof own === 'function' ? own.bind(target) : own;
        },
      }),
    });
    await expect(network.start(journalOf([]))).rejects.toMatchObject({ code: 'NO_RUN' });
    const invalid: readonly (readonly JournalEntry[])[] = [
      entries.slice(1),
      [entries[0]!, ...entries.slice(2)],
      entries.map((entry, i) => (i === 2 ? { ...entry, timeMs: entry.timeMs + 1 } : entry)),
      entries.map((entry, i) => (i === 3 ? { ...entry, message: { ...entry.message, body: {} } } : entry)),
    ];
    for (const [i, changed] of invalid.entries())
      await expect(network.start(journalOf(changed)), `case ${i}`).rejects.toMatchObject({ code: 'JOURNAL_INVALID' });
    await network.start();
  });
});

describe('messages', () => {
  it('that are malformed, oversized, forged, misplaced or replayed get their code and change nothing', async () => {
    const { network, a, b } = await withRound();
    const context = binding(network);
    const session = testSession('a');
    const join = { atMs: network.clock.nowMs() + 1, threads: 1, memoryGib: 1, machineClass: 'test' };
    const good = signMessage(session, 'join', join, context);
    const made = await a.make();
    expect((await a.commit(made)).outcome).toBe('accept');
    const entries = await network.journal.read(0, 1_000);
    const sentBefore = (kind: string): Envelope => entries.findLast(({ message }) => message.kind === kind)!.message;
    const other = {
      ...made.body,
      trace: { ...made.body.trace, lines: [6, 12] as const, previousHead: made.body.trace.head },
    };
    const claimOf = (changes: Partial<EventBody<'claim-commit'>>, signer: Signer = session): Envelope =>
      signMessage(signer, 'claim-commit', { ...other, steps: [0, 12], ...changes }, context);
    const byHotkey = signMessage(testHotkey('x'), 'delegate', delegationBody('x'), {
      ...context,
      run: '1'.repeat(64) as Hash,
    });
    const deep = `${'['.repeat(40)}${']'.repeat(40)}`;
    const cases: readonly (readonly [code: string, payload: string | Envelope])[] = [
      ['MALFORMED', ''],
      ['MALFORMED', '{'],
      ['MALFORMED', 'null'],
      ['MALFORMED', JSON.stringify({ ...good, version: 2 })],
      ['MALFORMED', JSON.stringify({ ...good, extra: 1 })],
      ['MALFORMED', { ...good, body: { ...join, threads: 0.5 } }],
      ['MALFORMED', { ...good, body: { ...join, threads: 2 ** 60 } }],
      ['MALFORMED', { ...good, signature: 'x' }],
      ['TOO_DEEP', deep],
      ['REPEATED_KEY', JSON.stringify(good).replace('{', '{"version":1,')],
      ['UNKNOWN_KIND', { ...good, kind: 'give-me-everything' }],
      ['UNKNOWN_KIND', { ...good, kind: 'toString' }],
      ['BAD_SIGNATURE', { ...good, signature: `00${good.signature.slice(2)}` }],
      ['BAD_SIGNATURE', { ...good, signature: '0'.repeat(128) }],
      ['BAD_SIGNATURE', { ...good, signer: testSession('b').signer }],
      ['BAD_SIGNATURE', { ...good, body: { ...join, threads: 8 } }],
      ['BAD_SIGNATURE', signMessage(session, 'join', join, { ...context, netuid: context.netuid + 1 })],
      ['BAD_SIGNATURE', { ...good, kind: 'leave', body: { atMs: join.atMs } }],
      ['WRONG_SIGNER', { ...good, signer: testHotkey('a').signer }],
      ['WRONG_RUN', signMessage(session, 'join', join, { ...context, run: '1'.repeat(64) as Hash })],
      ['WRONG_RUN', byHotkey],
      [
        'NOT_SUBMITTABLE',
        signMessage(networkSyncer, 'merge', { outerStep: 0, fragment: 0, fromVersion: 0, claims: [] }, context),
      ],
      ['NOT_SUBMITTABLE', signMessage(session, 'heartbeat', heartbeat(1), context)],
      ['NOT_DELEGATED', signMessage(testSession('nobody'), 'join', join, context)],
      ['WRONG_ROLE', signMessage(testSession('v'), 'join', join, context)],
      ['WRONG_ROLE', signMessage(networkSyncer, 'join', join, context)],
      [
        'OTHER_HISTORY',
        signMessage(session, 'join', join, { ...context, seenHead: { size: 3, root: '2'.repeat(64) as Hash } }),
      ],
      ['NOT_YOURS', signMessage(testHotkey('x'), 'delegate', delegationBody('a'), context)],
      ['NOT_OWNER', signMessage(testHotkey('x'), 'delegate', { ...delegationBody('x'), role: 'syncer' }, context)],
      ['DUPLICATE', sentBefore('join')],
      ['DUPLICATE', sentBefore('delegate')],
      ['DUPLICATE', sentBefore('claim-commit')],
      ['WRONG_FRAGMENT', claimOf({ fragment: 3 })],
      ['WRONG_VERSION', claimOf({ outerStep: 0, baseVersion: 9 }, testSession('b'))],
      ['NOT_DUE', claimOf({ outerStep: 4 })],
      ['UNKNOWN_CLAIM', signMessage(testSession('v'), 'verdict', verdictBody('3'.repeat(64) as Hash), context)],
    ];
    const before = hashState(network.orchestrator.run);
    for (const [i, [code, payload]] of cases.entries()) {
      const result = await submit(network, payload);
      expect(result.code, `case ${i}: ${JSON.stringify(result)}`).toBe(code);
      expect(result).toMatchObject({ seq: null });
      expect(result.outcome === 'reject' || result.outcome === 'ignore').toBe(true);
      expect(result.sentence.length, `case ${i}`).toBeGreaterThan(10);
      expect(hashState(network.orchestrator.run), `case ${i}`).toBe(before);
    }
    expect(network.journal.head.size).toBe(entries.length);
    // The bus itself carries nothing larger.
    expect(await ask(network, topics.submit, 'x'.repeat(maxMessageLength + 1))).toMatch(/^[A-Z_]+ /);
    expect(hashState(network.orchestrator.run)).toBe(before);
    expect(b.record.present).toBe(true);
  });

  it('that ask for leases, grants or pages are checked as strictly', async () => {
    const { network, a } = await withRound();
    const context = binding(network);
    const lease = signMessage(testSession('a'), 'lease-request', { nonce: 9 }, context);
    const before = hashState(network.orchestrator.run);
    const refused: readonly (readonly [topic: string, payload: string | Envelope])[] = [
      [topics.lease, '{}'],
      [topics.lease, { ...lease, signature: '0'.repeat(128) }],
      [topics.lease, signMessage(testSession('nobody'), 'lease-request', { nonce: 1 }, context)],
      [topics.lease, signMessage(testSession('a'), 'heartbeat', heartbeat(1), context)],
      [topics.grant, lease],
      [topics.journalRead, 'null'],
      [topics.journalRead, 'x'],
      [topics.journalRead, '{"from":-1,"limit":1}'],
      [topics.journalRead, '{"from":0.5,"limit":1}'],
      [topics.journalRead, '{"from":0}'],
      [topics.journalRead, '{"from":0,"limit":1,"from":2}'],
    ];
    for (const [i, [topic, payload]] of refused.entries())
      expect(await ask(network, topic, payload), `case ${i}`).toMatch(/^REFUSED /);
    // A validator may ask, but only learners have leases.
    const byValidator = signMessage(testSession('v'), 'lease-request', { nonce: 1 }, context);
    expect(await ask(network, topics.lease, byValidator)).toEqual({ lease: null, seq: null });
    expect(hashState(network.orchestrator.run)).toBe(before);
    expect(await ask(network, topics.journalRead, '{"from":1,"limit":1000000}')).toHaveLength(
      network.journal.head.size - 1,
    );
    expect(await a.client.requestLease()).toBe(0);
  });

  it('as heartbeats count once: a repeated, forged or stale one keeps nobody alive', async () => {
    const { network, a } = await withRound();
    const context = binding(network);
    const key = `validator/${testHotkey('v').hotkey}/v`;
    await network.clock.advance(1_000);
    const now = network.clock.nowMs();
    const beat = signMessage(testSession('v'), 'heartbeat', { ...heartbeat(now), role: 'validator' }, context);
    const send = async (payload: unknown): Promise<number> => {
      await network.bus.publish(topics.heartbeat, typeof payload === 'string' ? payload : JSON.stringify(payload));
      await network.clock.quiesce();
      return network.orchestrator.pulses.get(key)!.atMs;
    };
    expect(await send(beat)).toBe(now);
    await network.clock.advance(2_000);
    const bad = [
      beat,
      'x',
      { ...beat, body: { ...heartbeat(now + 2_000), role: 'validator' } },
      signMessage(testSession('v'), 'heartbeat', { ...heartbeat(now - 5_000), role: 'validator' }, context),
      signMessage(testSession('nobody'), 'heartbeat', heartbeat(now + 2_000), context),
    ];
    for (const [i, payload] of bad.entries()) expect(await send(payload), `case ${i}`).toBe(now);
    expect(await send(signMessage(testSession('v'), 'heartbeat', heartbeat(now + 2_000), context))).toBe(now + 2_000);
    expect(a.record.present).toBe(true);
  });
});

describe('a process that starts anew', () => {
  it('is heard although its clock is a minute behind that of the process before it', async () => {
    const { network, validators } = await withRound();
    const context = binding(network);
    const key = `validator/${testHotkey('v').hotkey}/v`;
    await network.clock.advance(1_000);
    const now = network.clock.nowMs();
    const beat = async (atMs: number): Promise<number | undefined> => {
      const body = { ...heartbeat(atMs), role: 'validator' };
      const message = signMessage(testSession('v'), 'heartbeat', body, context);
      await network.bus.publish(topics.heartbeat, JSON.stringify(message));
      await network.clock.quiesce();
      return network.orchestrator.pulses.get(key)?.body.atMs;
    };
    expect(await beat(now + 60_000)).toBe(now + 60_000);
    expect(await beat(now)).toBe(now + 60_000);
    const serve = { machineClass: 'native/cpu', threads: 1, atMs: now + 60_001 };
    expect((await validators[0]!.client.submit('serve', serve)).outcome).toBe('accept');
    expect(await beat(now)).toBe(now);
    expect(await beat(now - 1)).toBe(now);
  });
});

describe('claims', () => {
  it('have grants for exactly what an open claim of the learner names', async () => {
    const { network, a, b, validators } = await withRound();
    const made = await a.make();
    const { artifact, trace } = made.body;
    const refused = async (asked: Promise<unknown>) => expect(asked).rejects.toMatchObject({ code: 'REFUSED' });
    await refused(a.client.requestGrant(artifact, 'claim', new Uint8Array(1)));
    await a.commit(made);
    await refused(b.client.requestGrant(artifact, 'claim', new Uint8Array(1)));
    await refused(
      a.client.requestGrant({ ...artifact, sizeBytes: artifact.sizeBytes + 1 }, 'claim', new Uint8Array(1)),
    );
    await refused(a.client.requestGrant(testArtifact('another'), 'claim', new Uint8Array(1)));
    await refused(a.client.requestGrant(artifact, 'details', new Uint8Array(1)));
    await refused(validators[0]!.client.requestGrant(artifact, 'claim', new Uint8Array(1)));
    await refused(validators[0]!.client.requestGrant(testArtifact('details', 2 ** 21), 'details', new Uint8Array(1)));
    expect(network.granted).toEqual([]);
    await a.upload(made);
    expect(network.granted).toEqual([artifact, trace.artifact]);
  });

  it('have grants that only who asked can read, also when the request is sent again', async () => {
    const { network, a } = await withRound();
    const made = await a.make();
    await a.commit(made);
    const asking = vi.spyOn(network.bus, 'request');
    const { artifact } = made.body;
    const grant = await a.client.requestGrant(artifact, 'claim', made.bytes);
    const [, request] = asking.mock.calls.find(([topic]) => topic === topics.grant)!;
    asking.mockRestore();
    expect(JSON.parse(request).body.parts).toEqual([createHash('sha256').update(made.bytes).digest('hex')]);
    const again = await network.bus.request(topics.grant, request, { timeoutMs: 1_000 });
    expect(again).not.toContain(grant.token);
    const { sealed } = JSON.parse(again);
    const open = (label: string, context: string) => testSession(label).unseal(fromHex(sealed)!, context);
    const context = grantContext(a.client.runId, artifact.root);
    expect(open('b', context)).toBeNull();
    expect(open('a', grantContext(a.client.runId, made.body.trace.artifact.root))).toBeNull();
    expect(JSON.parse(fromUtf8(open('a', context)!))).toMatchObject({ artifact, token: grant.token });
  });

  it('have no grant for more bytes than a claim can need', async () => {
    const { network, a } = await withRound();
    const made = await a.make();
    const huge = testArtifact('huge', 2 ** 40);
    const body = {
      ...made.body,
      artifact: huge,
      trace: { ...made.body.trace, artifact: testArtifact('trace', 2 ** 40) },
    };
    expect((await a.client.submit('claim-commit', body)).outcome).toBe('accept');
    await expect(a.client.requestGrant(huge, 'claim', new Uint8Array(1))).rejects.toMatchObject({ code: 'REFUSED' });
    await expect(a.client.requestGrant(body.trace.artifact, 'trace', new Uint8Array(1))).rejects.toMatchObject({
      code: 'REFUSED',
    });
    expect(network.granted).toEqual([]);
  });

  it('are revealed only when claim and trace lie in the store', async () => {
    const { network, a } = await withRound();
    const made = await a.make();
    const { id } = await a.commit(made);
    const before = hashState(network.orchestrator.run);
    const missing = await a.reveal(id);
    expect(missing).toMatchObject({ outcome: 'reject', code: 'MISSING', seq: null });
    expect(missing.sentence).toContain(made.body.artifact.root);
    await network.store.put(made.body.artifact, made.bytes);
    const untraced = await a.reveal(id);
    expect(untraced).toMatchObject({ code: 'MISSING' });
    expect(untraced.sentence).toContain(made.body.trace.artifact.root);
    expect(hashState(network.orchestrator.run)).toBe(before);
    await a.upload(made);
    expect(await a.reveal(id)).toMatchObject({ outcome: 'accept', code: 'OK' });
    expect(await a.reveal(id)).toMatchObject({ outcome: 'ignore', code: 'DUPLICATE' });
    expect(await a.reveal('4'.repeat(64) as Hash)).toMatchObject({ code: 'UNKNOWN_CLAIM' });
  });
});

describe('crashes', () => {
  /** A round whose merge is journaled but not computed: the store gives nothing back until the orchestrator is dead. */
  async function crashedInMerge() {
    const world = await withRound();
    const { network, a, b, validators } = world;
    await network.stop();
    await network.start({ store: unreadable(network.store) });
    await network.pass(3_000, a, b, ...validators);
    await world.round();
    await network.pass(1_000, a, b, ...validators);
    return world;
  }

  it('in a merge are made good bit for bit', async () => {
    const { network, a, b, validators } = await crashedInMerge();
    const before = network.orchestrator.run;
    expect(before.fragments[0]!.pendingMerge).toMatchObject({ outerStep: 0 });
    const observer = await network.connect(null);
    await network.stop();
    const expected = await runMerge(observer.state, 0, {
      store: network.store,
      plan: a.model.plan,
      artifactOf: hashArtifact,
      nowMs: () => 0,
    });
    await network.start();
    await network.pass(1_000, a, b, ...validators);
    const { run } = network.orchestrator;
    expect(run.fragments[0]).toMatchObject({ version: 1, artifact: expected.artifact, momentum: expected.momentum });
    expect(run.cellTokens).toBe(2 * 24 * 64);

    // The same claims in a network that nothing happened to.
    const calm = await withRound();
    await calm.round();
    await network.clock.quiesce();
    expect(calm.network.orchestrator.run.fragments[0]!.artifact).toEqual(expected.artifact);
    expect(hashState(observer.state)).toBe(hashState(run));
  });

  it('lose nothing that was answered, and the fold is the one of the journal', async () => {
    const { network, a, b, validators, round } = await withRound();
    await round();
    await network.stop();
    const before = network.orchestrator.run;
    await network.start();
    expect(network.orchestrator.run).not.toBe(before);
    expect(network.orchestrator.run.claims).toEqual(before.claims);
    expect(network.orchestrator.run.fragments).toEqual(before.fragments);
    await network.pass(2_000, a, b, ...validators);
    await round();
    await network.clock.quiesce();
    expect(network.orchestrator.run.fragments.map(({ version }) => version)).toEqual([1, 1, 0, 0]);
    const { state } = await network.connect(null);
    expect(hashState(state)).toBe(hashState(network.orchestrator.run));
    expect(hashState(a.client.state)).toBe(hashState(state));
  });

  it('of the disk: whoever waits is told so, nothing is told to others, and once there is room each entry is there once', async () => {
    const network = await open();
    const [a, b] = [await network.miner('a'), await network.miner('b')];
    await network.stop();
    let isFull = false;
    const journal = new Proxy(network.journal, {
      get: (target, name) => {
        const own = target[name as keyof Journal];
        if (name === 'appendAll' && isFull)
          return async () => {
            throw new BaseError('DISK_FULL', 'the disk is full');
          };
        return typeof own === 'function' ? own.bind(target) : own;
      },
    });
    await network.start({ journal });
    await network.clock.advance(500);
    isFull = true;
    const { head } = network.journal;
    const told: string[] = [];
    await network.bus.subscribe(topics.journal, (payload) => told.push(payload));
    const both = await Promise.allSettled([a.client.requestLease(), b.client.requestLease()]);
    for (const result of both)
      expect(result).toMatchObject({ status: 'rejected', reason: expect.objectContaining({ code: 'DISK_FULL' }) });
    // What the first two were admitted for waits; a third is not admitted.
    const { size } = network.orchestrator.run;
    await expect(a.client.requestLease()).rejects.toMatchObject({ code: 'DISK_FULL' });
    await network.clock.advance(3_000);
    expect(network.orchestrator.run.size).toBe(size);
    expect(network.journal.head).toEqual(head);
    expect(told).toEqual([]);
    isFull = false;
    await network.clock.advance(1_500);
    const leases = (await network.journal.read(head.size, 2)).map(({ message }) => message.kind);
    expect(leases).toEqual(['lease', 'lease']);
    expect(await a.client.requestLease()).toBe(2);
    expect(hashState(await foldOf(network))).toBe(hashState(network.orchestrator.run));
  });
});

describe('messages that come at once', () => {
  it('are admitted in order, the refused ones answered by code, and written together', async () => {
    const network = await open();
    await network.stop();
    const writes: number[] = [];
    const journal = new Proxy(network.journal, {
      get: (target, name) => {
        if (name === 'appendAll')
          return (entries: readonly JournalEntry[]) => {
            writes.push(entries.length);
            return target.appendAll(entries);
          };
        const own = target[name as keyof Journal];
        return typeof own === 'function' ? own.bind(target) : own;
      },
    });
    await network.start({ journal });
    await network.clock.advance(500);
    writes.length = 0;
    const { size } = network.journal.head;
    const sign = (label: string, signer = label) =>
      signMessage(testHotkey(signer), 'delegate', delegationBody(label), binding(network));
    const [first, second, third] = ['x', 'y', 'z'].map((label) => sign(label));
    const messages = [first!, first!, sign('y', 'x'), second!, third!];
    const answers = await Promise.all(messages.map((message) => ask(network, topics.submit, message)));
    const results = answers as SubmitResult[];
    expect(results.map(({ seq }) => seq)).toEqual([size, null, null, size + 1, size + 2]);
    expect(results.map(({ outcome }) => outcome)).toEqual(['accept', 'ignore', 'reject', 'accept', 'accept']);
    expect(writes[0]).toBe(3);
    const kept = (await network.journal.read(size, 3)).map(({ message }) => message.signature);
    expect(kept).toEqual([first, second, third].map((message) => message!.signature));
  });

  it('make the journal that they make one after the other', async () => {
    const journals: string[] = [];
    for (const isAtOnce of [true, false]) {
      const network = await open();
      const { size } = network.journal.head;
      const messages = ['x', 'y', 'z'].map((label) =>
        signMessage(testHotkey(label), 'delegate', delegationBody(label), binding(network)),
      );
      if (isAtOnce) await Promise.all(messages.map((message) => ask(network, topics.submit, message)));
      else for (const message of messages) await ask(network, topics.submit, message);
      journals.push(canonicalJson(await network.journal.read(size, 3)));
    }
    expect(journals[0]).toBe(journals[1]);
  });
});

/** Folded from the journal alone. */
async function foldOf(network: LocalNetwork): Promise<RunState> {
  const fold = new RunFold({ equation: nativeEquation });
  await fold.readOn(network.journal);
  return fold.run;
}

function delegationBody(label: string): EventBody<'delegate'> {
  return {
    hotkey: testHotkey(label).hotkey,
    role: 'miner',
    name: 'name',
    sessionKey: testSession(`session of ${label}`).sessionKey,
    issuedAtMs: 5,
    expiresAtMs: 10 ** 14,
  };
}

const verdictBody = (claim: Hash): EventBody<'verdict'> => ({
  ...{
    claim,
    round: 'committee',
    outcome: 'accept',
    code: 'OK',
    sentence: '',
    measurements: {},
    details: null,
    accused: [],
  },
});

const heartbeat = (atMs: number) => ({
  ...{ role: 'miner', innerSteps: 0, loss: null, tokensPerSecond: null, rssBytes: 0, atMs },
});

it('signs with the key that the owner named', async () => {
  const network = await open();
  const [run, delegation, ...rest] = await network.journal.read(0, 100);
  expect(run!.message.signer).toBe(networkOwner.signer);
  expect(delegation!.message.signer).toBe(networkOwner.signer);
  expect(rest.length).toBeGreaterThan(0);
  for (const { message } of rest) expect(message.signer, message.kind).toBe(networkSyncer.signer);
});
