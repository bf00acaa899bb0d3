/** @file Users of a real nats-server in operator mode: each may speak as himself only, as long as his JWT says. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromPublic } from '@nats-io/nkeys';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { makeNatsAccounts, type NatsAccounts } from '../../../scripts/nats-accounts.ts';
import { until } from '../../../tests/contracts/bus.ts';
import { NatsServer, natsProgram } from '../../../tests/support/nats-server.ts';
import { testSession } from '../../../tests/support/run-fixture.ts';
import { topicsOfRole } from '../../cli/bus/access.ts';
import type { SessionSigner } from '../../protocol/keys.ts';
import { keptTopics } from '../../roles/client.ts';
import { fromHex } from '../../util/bytes.ts';
import { silentLog } from '../../util/clock.ts';
import { connectNats, type NatsBus } from './bus.ts';
import { AccountSigner, type NatsGrant, RenewingUser } from './credentials.ts';
import { NatsNames, rightsOf } from './names.ts';
import { userNkey } from './nkey.ts';

describe.skipIf(!natsProgram.isThere)(`rights on NATS (${natsProgram.need})`, () => {
  let dir: string;
  let accounts: NatsAccounts;
  let server: NatsServer;
  let signer: AccountSigner;
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'accrete-accounts-'));
    accounts = await makeNatsAccounts(dir);
    server = await NatsServer.start({ config: accounts.config });
    const { account, signingSeed } = JSON.parse(readFileSync(accounts.accountFile, 'utf8'));
    signer = new AccountSigner(account, signingSeed);
  });
  afterAll(async () => {
    await server.close();
    rmSync(dir, { recursive: true });
  });
  const opened: { close(): Promise<void> | void }[] = [];
  afterEach(async () => {
    for (const one of opened.splice(0).reverse()) await one.close();
  });

  interface Join {
    readonly scope: string;
    readonly session: SessionSigner;
    readonly role: 'owner' | 'miner' | 'validator';
    /** Whose name he takes; his own if left out. */
    readonly as?: SessionSigner;
    readonly issuer?: AccountSigner;
    readonly lifeMs?: number;
    readonly fetched?: () => void;
  }
  const enter = async ({ scope, session, role, as = session, issuer = signer, lifeMs = 60_000, fetched }: Join) => {
    const own = new NatsNames(scope, session.sessionKey);
    const fetch = async (): Promise<NatsGrant> => {
      fetched?.();
      const rights = role === 'owner' ? null : rightsOf(own, topicsOfRole(role));
      const { sessionKey } = session;
      return issuer.issue({ sessionKey, label: role, rights, expiresAtMs: Date.now() + lifeMs });
    };
    const user = await RenewingUser.open({ session, fetch, nowMs: () => Date.now(), log: silentLog });
    opened.push(user);
    const bus: NatsBus = await connectNats({
      ...{ servers: [server.url], names: new NatsNames(scope, as.sessionKey), kept: keptTopics, user },
      ...{ isOwner: role === 'owner', minBackoffMs: 20, maxBackoffMs: 100 },
    });
    opened.push(bus);
    return bus;
  };
  const [owner, alice, bob] = ['owner', 'alice', 'bob'].map((name) => testSession(name)) as [
    SessionSigner,
    SessionSigner,
    SessionSigner,
  ];
  const forbidden = { code: 'FORBIDDEN' };

  it("writes a session key as NATS's own encoder does, and signs as NATS checks", () => {
    const nkey = userNkey(fromHex(alice.sessionKey)!);
    expect(nkey).toMatch(/^U[A-Z2-7]{55}$/);
    const bytes = new TextEncoder().encode('nonce');
    expect(fromPublic(nkey).verify(bytes, alice.sign(bytes))).toBe(true);
    expect(fromPublic(nkey).verify(bytes, bob.sign(bytes))).toBe(false);
  });

  it('lets a miner do what a miner does: hand in, ask, beat, read and follow the journal', async () => {
    const orchestrator = await enter({ scope: 'r1', session: owner, role: 'owner' });
    const miner = await enter({ scope: 'r1', session: alice, role: 'miner' });
    const beats: string[] = [];
    await orchestrator.subscribe('heartbeat', (payload) => beats.push(payload));
    await orchestrator.respond('submit', async (payload) => `took ${payload}`);
    await orchestrator.respond('lease', async () => 'a lease');
    expect(await miner.request('submit', 'claim', { timeoutMs: 5_000 })).toBe('took claim');
    expect(await miner.request('lease', '', { timeoutMs: 5_000 })).toBe('a lease');
    await miner.publish('heartbeat', 'alive');
    const heard: string[] = [];
    await miner.subscribe('journal', (payload) => heard.push(payload));
    await orchestrator.replica.append('journal', 0, 'first');
    await orchestrator.replica.append('journal', 1, 'second');
    await until(() => beats.length === 1 && heard.length === 2, 'heartbeat and entries');
    expect(beats).toEqual(['alive']);
    expect(await miner.replica.read('journal', 0, 10)).toEqual(['first', 'second']);
    expect(await miner.replica.read('journal', 2, 10)).toEqual([]);
  });

  it('refuses whoever speaks as another, or as the orchestrator; the other hears nothing of it', async () => {
    const orchestrator = await enter({ scope: 'r2', session: owner, role: 'owner' });
    const taken: string[] = [];
    await orchestrator.subscribe('heartbeat', (payload) => taken.push(payload));
    await orchestrator.respond('submit', async (payload) => String(taken.push(payload)));
    await orchestrator.respond('lease', async (payload) => String(taken.push(payload)));
    const asOwner = await enter({ scope: 'r2', session: bob, role: 'miner', as: owner });
    for (const victim of [alice, owner]) {
      // Bob's key and JWT, Alice's subjects.
      const forger = await enter({ scope: 'r2', session: bob, role: 'miner', as: victim }).catch((error) => error);
      if (forger instanceof Error) throw forger;
      await expect(forger.publish('heartbeat', 'forged')).rejects.toMatchObject(forbidden);
      await expect(forger.request('submit', 'forged', { timeoutMs: 2_000 })).rejects.toMatchObject(forbidden);
      await expect(forger.request('lease', 'forged', { timeoutMs: 2_000 })).rejects.toMatchObject(forbidden);
      await expect(forger.publish('news', 'forged')).rejects.toMatchObject(forbidden);
    }
    await expect(asOwner.replica.append('journal', 0, 'forged')).rejects.toMatchObject(forbidden);
    const bobs = await enter({ scope: 'r2', session: bob, role: 'validator' });
    await expect(bobs.replica.append('journal', 0, 'forged')).rejects.toMatchObject(forbidden);
    await expect(bobs.respond('lease', async () => '')).rejects.toMatchObject(forbidden);
    await expect(bobs.subscribe('news', () => undefined)).rejects.toMatchObject(forbidden);
    await expect(bobs.request('lease', '', { timeoutMs: 2_000 })).rejects.toMatchObject(forbidden);
    expect(await bobs.replica.read('journal', 0, 10)).toEqual([]);
    expect(taken).toEqual([]);
    // Still connected, and heard under his own name.
    await bobs.publish('heartbeat', 'true');
    await until(() => taken.length === 1, 'the true heartbeat');
  });

  it('knows no key of another account, no JWT of another key, and no run of another scope', async () => {
    const stranger = await makeNatsAccounts(join(dir, 'stranger'));
    const { account } = JSON.parse(readFileSync(accounts.accountFile, 'utf8'));
    const { signingSeed } = JSON.parse(readFileSync(stranger.accountFile, 'utf8'));
    const issuer = new AccountSigner(account, signingSeed);
    await expect(enter({ scope: 'r3', session: alice, role: 'miner', issuer })).rejects.toMatchObject(forbidden);
    const stolen = await signer.issue({
      ...{ sessionKey: alice.sessionKey, label: 'alice', rights: null, expiresAtMs: Date.now() + 60_000 },
    });
    const user = await RenewingUser.open({
      ...{ session: bob, fetch: async () => stolen, nowMs: () => Date.now(), log: silentLog },
    });
    opened.push(user);
    const names = new NatsNames('r3', bob.sessionKey);
    const connecting = connectNats({ servers: [server.url], names, kept: keptTopics, user, isOwner: false });
    await expect(connecting).rejects.toMatchObject(forbidden);
    await enter({ scope: 'r3', session: owner, role: 'owner' });
    const other = new NatsNames('r3', alice.sessionKey);
    const grant = await signer.issue({
      ...{ sessionKey: alice.sessionKey, label: 'alice', expiresAtMs: Date.now() + 60_000 },
      rights: rightsOf(new NatsNames('r4', alice.sessionKey), topicsOfRole('miner')),
    });
    // A server reads 4,096 bytes of a greeting, in which there is more than the JWT.
    expect(grant.jwt.length).toBeLessThan(3_000);
    const wrongRun = await RenewingUser.open({
      ...{ session: alice, fetch: async () => grant, nowMs: () => Date.now(), log: silentLog },
    });
    opened.push(wrongRun);
    const bus = await connectNats({
      ...{ servers: [server.url], names: other, kept: keptTopics, user: wrongRun, isOwner: false },
    });
    opened.push(bus);
    await expect(bus.request('submit', 'x', { timeoutMs: 2_000 })).rejects.toMatchObject(forbidden);
    expect(() => new AccountSigner(account, 'SUAOVER')).toThrow(/expected an account/);
  });

  it('is cut off when its JWT ends, and goes on with the next one by itself', async () => {
    const orchestrator = await enter({ scope: 'r5', session: owner, role: 'owner' });
    await orchestrator.respond('lease', async () => 'given');
    let fetches = 0;
    const miner = await enter({
      ...{ scope: 'r5', session: alice, role: 'miner', lifeMs: 5_000 },
      fetched: () => void fetches++,
    });
    let isLost = false;
    const endsAt = performance.now() + 20_000;
    while (!isLost && performance.now() < endsAt) {
      isLost = !miner.connected;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    expect(isLost).toBe(true);
    await until(() => miner.connected, 'the connection with a new JWT');
    expect(fetches).toBeGreaterThan(1);
    expect(await miner.request('lease', '', { timeoutMs: 5_000 })).toBe('given');
  });

  it('ends with its JWT where no new one is given', async () => {
    await enter({ scope: 'r6', session: owner, role: 'owner' });
    let isGiven = true;
    const miner = await enter({
      ...{ scope: 'r6', session: alice, role: 'miner', lifeMs: 4_000 },
      fetched: () => {
        if (!isGiven) throw new Error('no longer delegated');
        isGiven = false;
      },
    });
    await until(() => !miner.connected, 'the end of the JWT');
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(miner.connected).toBe(false);
    await expect(miner.publish('heartbeat', '')).rejects.toMatchObject({ code: 'CLOSED' });
  });
});
