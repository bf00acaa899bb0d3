/** @file Who gets credentials of a run's bus: a session key that a hotkey delegates to, for itself, and nobody else. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decode } from '@nats-io/jwt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeNatsAccounts } from '../../../scripts/nats-accounts.ts';
import { LocalNetwork, networkSyncer } from '../../../tests/support/local-network.ts';
import { NatsServer, natsProgram } from '../../../tests/support/nats-server.ts';
import { testHotkey, testSession } from '../../../tests/support/run-fixture.ts';
import { InProcessBus } from '../../bus/in-process.ts';
import { userNkey } from '../../bus/nats/nkey.ts';
import type { SessionSigner } from '../../protocol/keys.ts';
import type { Hash } from '../../protocol/names.ts';
import { signMessage } from '../../protocol/signing.ts';
import { bindingOf } from '../../roles/client.ts';
import { delegationBody } from '../../roles/enter.ts';
import { fromHex } from '../../util/bytes.ts';
import { silentLog, silentMetrics } from '../../util/clock.ts';
import { systemClock } from '../environment.ts';
import { openRunBus, type RunBus } from './run-bus.ts';

describe.skipIf(!natsProgram.isThere)(`credentials of a run's bus (${natsProgram.need})`, () => {
  let dir: string;
  let server: NatsServer;
  let network: LocalNetwork;
  let runBus: RunBus;
  let url: string;
  const http = createServer();
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'accrete-access-'));
    const { config, accountFile } = await makeNatsAccounts(dir);
    server = await NatsServer.start({ config });
    network = await LocalNetwork.open();
    runBus = await openRunBus({
      ...{ hub: new InProcessBus(), clock: systemClock, log: silentLog, metrics: silentMetrics },
      ...{ run: network.orchestrator.run.run!.id, session: networkSyncer },
      choice: { servers: [server.url], publicServers: ['wss://nats.example.org'], accountFile },
    });
    http.on('request', runBus.access(network.orchestrator));
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(http.address() as AddressInfo).port}/bus-access`;
  });
  afterAll(async () => {
    http.closeAllConnections();
    http.close();
    await runBus.close();
    await network.close();
    await server.close();
    rmSync(dir, { recursive: true });
  });

  const post = async (body: string) => {
    const response = await fetch(url, { method: 'POST', body });
    const answer = (await response.json()) as { code?: string; message?: string; jwt?: string };
    return { status: response.status, ...answer };
  };
  const context = () => ({ ...bindingOf(network.orchestrator.run)!, seenHead: null });
  const requestOf = (session: SessionSigner, changes: { readonly run?: Hash } = {}): string =>
    JSON.stringify(signMessage(session, 'bus-access', {}, { ...context(), ...changes }));
  const ask = (request: string, delegation: string | null = null) => post(JSON.stringify({ request, delegation }));

  it('tells where the bus is', async () => {
    const place = await (await fetch(url)).json();
    expect(place).toEqual({ kind: 'nats', servers: ['wss://nats.example.org'], isGuarded: true });
  });

  it('gives a delegated session key a JWT that is its own, after the delegation is journaled', async () => {
    const [session, hotkey] = [testSession('new'), testHotkey('new')];
    expect(await ask(requestOf(session))).toMatchObject({ status: 403, code: 'NOT_DELEGATED' });
    const body = delegationBody({ role: 'miner', name: 'new', hotkey, session }, network.clock.nowMs());
    const delegation = JSON.stringify(signMessage(hotkey, 'delegate', body, context()));
    const size = network.orchestrator.run.size;
    const { status, jwt } = await ask(requestOf(session), delegation);
    expect([status, network.orchestrator.run.size]).toEqual([200, size + 1]);
    const claims = decode<{ pub: { allow: string[] }; sub: { allow: string[] } }>(jwt!);
    expect(claims.sub).toBe(userNkey(fromHex(session.sessionKey)!));
    const { pub, sub } = claims.nats;
    const [stream] = pub!.allow.filter((subject) => !subject.includes(session.sessionKey));
    expect(stream).toMatch(/^\$JS\.API\.DIRECT\.GET\.ACCRETE_[0-9a-f]{16}_LOG_journal$/);
    expect(pub!.allow.filter((subject) => subject.includes(session.sessionKey))).toHaveLength(pub!.allow.length - 1);
    const shared = sub!.allow.filter((subject) => !subject.includes(session.sessionKey));
    expect(shared).toEqual([expect.stringMatching(/^accrete\.[0-9a-f]{16}\.log\.journal$/)]);
    // The same again: the delegation is known.
    expect(await ask(requestOf(session))).toMatchObject({ status: 200 });
    expect(network.orchestrator.run.size).toBe(size + 1);
  });

  it('gives nothing for what is forged, of another run, of the syncer, or no request', async () => {
    const session = testSession('new');
    const forged = { ...JSON.parse(requestOf(testSession('other'))), signer: session.signer };
    for (const [what, body] of Object.entries({
      forged: JSON.stringify({ request: JSON.stringify(forged), delegation: null }),
      'of another run': JSON.stringify({
        request: requestOf(session, { run: 'ab'.repeat(32) as Hash }),
        delegation: null,
      }),
      'of the syncer': JSON.stringify({ request: requestOf(networkSyncer), delegation: null }),
      'another kind': JSON.stringify({
        ...{
          request: JSON.stringify(signMessage(session, 'lease-request', { nonce: 1 }, context())),
          delegation: null,
        },
      }),
      'no JSON': '{',
      'another form': '{"request": 1}',
    }))
      expect(await post(body), what).toMatchObject({ status: 403, message: expect.stringMatching(/./) });
    expect(await post('x'.repeat(40_000))).toMatchObject({ status: 413 });
    const other = testHotkey('other');
    const body = delegationBody({ role: 'miner', name: 'x', hotkey: testHotkey('new'), session: testSession('x') }, 1);
    const stolen = JSON.stringify(signMessage(other, 'delegate', body, context()));
    expect(await ask(requestOf(testSession('x')), stolen)).toMatchObject({
      ...{ status: 403, message: expect.stringContaining('NOT_YOURS') },
    });
  });
});
