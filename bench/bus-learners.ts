/**
 * @file Learners of the bus bench, many in one process: each has its own session key and its own connection, signs, leases, claims and
 * uploads as a miner does; only the training is left out, and they fold the journal once for all. Arguments as JSON.
 */
import { setMaxListeners } from 'node:events';
import { setPriority } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectNats } from '../src/bus/nats/bus.ts';
import { NatsNames } from '../src/bus/nats/names.ts';
import type { Bus } from '../src/bus/port.ts';
import { connectBus } from '../src/bus/websocket.ts';
import { busScopeOf } from '../src/cli/bus/access.ts';
import { systemClock } from '../src/cli/environment.ts';
import { nativeEquation, nativeSign } from '../src/cli/native-ed25519.ts';
import type { Claim } from '../src/journal/state.ts';
import { connectLedger } from '../src/ledger/remote.ts';
import { sha256 } from '../src/protocol/hash.ts';
import { hotkeyFromSeed, type SessionSigner, sessionKeyFromSeed } from '../src/protocol/keys.ts';
import type { EventBody } from '../src/protocol/messages.ts';
import type { Hash } from '../src/protocol/names.ts';
import { connectRun, keptTopics, type RunClient, shareRun } from '../src/roles/client.ts';
import { delegationBody } from '../src/roles/enter.ts';
import { FsStore } from '../src/store/fs.ts';
import { utf8 } from '../src/util/bytes.ts';
import { silentLog } from '../src/util/clock.ts';
import { LocalMiner, LocalValidator } from '../tests/support/local-network.ts';

interface Arguments {
  readonly dir: string;
  readonly url: string;
  readonly run: Hash;
  readonly nats: string | null;
  /** A probe only takes and returns leases. */
  readonly role: 'miner' | 'validator' | 'probe';
  readonly label: string;
  readonly count: number;
  readonly heartbeatMs: number;
  /** Between two claims of one learner. */
  readonly claimMs: number;
}

const given = JSON.parse(process.argv[2]!) as Arguments;
const { dir, url, run, nats, role, label, count, heartbeatMs, claimMs } = given;
// A thousand miners have machines of their own; here they have what the network leaves over.
if (role === 'miner') setPriority(10);
const clock = systemClock;
const store = await FsStore.open(join(dir, 'store'));
const ending = new AbortController();
const { signal } = ending;
// One process waits for as many answers as it has learners.
setMaxListeners(0, signal);
const seedOf = (name: string): Uint8Array => sha256(utf8(`bench ${name}`));

const open = (session: SessionSigner): Promise<Bus> =>
  nats === null
    ? connectBus(url)
    : connectNats({
        ...{ servers: [nats], names: new NatsNames(busScopeOf(run), session.sessionKey), kept: keptTopics },
        isOwner: false,
      });

const hotkey = hotkeyFromSeed(seedOf(label), 'ed25519');
const sessionOf = (name: string): SessionSigner => sessionKeyFromSeed(seedOf(name), nativeSign(seedOf(name)));
const own = sessionOf(`${label} observer`);
const bus = await open(own);
const ledger = await connectLedger(bus);
await ledger.register(hotkey, { coldkey: hotkey.hotkey });
if (role === 'validator') await ledger.addStake(hotkey, { amountRao: 1_000_000_000 });
const view = await connectRun({
  bus,
  store,
  ledger,
  clock,
  log: silentLog,
  signal,
  session: own,
  equation: nativeEquation,
});

const probeMs = 250;
const leaseMs: number[] = [];
const refusals: Record<string, number> = {};
let requests = 0;
const place = { clock, store };
const accepted: Omit<EventBody<'verdict'>, 'claim'> = {
  ...{ round: 'committee', outcome: 'accept', code: 'OK', sentence: '' },
  ...{ measurements: {}, details: null, accused: [] },
};

async function enter(name: string): Promise<LocalMiner | LocalValidator> {
  const session = sessionOf(`${label} ${name}`);
  const shared = shareRun(view, { bus: await open(session), session });
  const counted = {
    ...{ runId: shared.runId, manifest: shared.manifest, state: shared.state, store, ledger, log: silentLog, signal },
    onEntry: shared.onEntry.bind(shared),
    submit: ((...args: Parameters<typeof shared.submit>) => {
      requests++;
      return shared.submit(...args);
    }) as typeof shared.submit,
    requestLease: async () => {
      const startedAt = performance.now();
      try {
        return await shared.requestLease();
      } finally {
        leaseMs.push(performance.now() - startedAt);
        requests++;
      }
    },
    requestGrant: (...args: Parameters<typeof shared.requestGrant>) => {
      requests++;
      return shared.requestGrant(...args);
    },
    heartbeat: (...args: Parameters<typeof shared.heartbeat>) => {
      requests++;
      return shared.heartbeat(...args);
    },
    close: async () => undefined,
  };
  await shared.submit(
    'delegate',
    delegationBody({ role: role === 'validator' ? role : 'miner', name, hotkey, session }, Date.now()),
    { signer: hotkey },
  );
  if (role === 'validator') return new LocalValidator(place, counted, hotkey);
  const miner = new LocalMiner(place, counted, hotkey, name);
  await miner.join();
  return miner;
}

async function live(member: LocalMiner | LocalValidator): Promise<void> {
  await sleep(Math.random() * heartbeatMs);
  let claimAt = performance.now() + Math.random() * claimMs;
  let beatAt = 0;
  while (!signal.aborted) {
    if (performance.now() >= beatAt) {
      beatAt = performance.now() + heartbeatMs;
      await member.beat();
    }
    if (member instanceof LocalValidator) {
      judge({ client: member.client, owed: member.owed() });
      await sleep(50);
    } else if (performance.now() >= claimAt) {
      claimAt = performance.now() + claimMs;
      await member.claim().catch((error: Error) => {
        const words = error.message.split(' ').slice(0, 5).join(' ').slice(0, 60);
        refusals[words] = (refusals[words] ?? 0) + 1;
      });
    } else await sleep(Math.min(250, claimMs));
  }
}

/** The time of a learner that has a machine of its own: from its request to its copy of the journal that has the lease. */
async function probe(miner: LocalMiner): Promise<void> {
  const { client } = miner;
  for (; !signal.aborted; await sleep(probeMs)) {
    await miner.beat();
    const lease = await client.requestLease();
    if (lease !== null) await client.submit('lease-return', { lease, reason: 'returned' });
  }
}

const judged = new Set<Hash>();

/** Each claim once, and all that wait at once: how fast one validator judges is not measured here. */
function judge({ client, owed }: { client: RunClient; owed: Claim[] }): void {
  for (const { id } of owed) {
    if (judged.has(id)) continue;
    judged.add(id);
    client.submit('verdict', { claim: id, ...accepted }).catch((error) => {
      refusals[String(error).slice(0, 60)] = 1;
    });
  }
}

const members: (LocalMiner | LocalValidator)[] = [];
for (let i = 0; i < count; i += 20)
  members.push(...(await Promise.all(Array.from({ length: Math.min(20, count - i) }, (_, j) => enter(`l${i + j}`)))));
process.stdout.write('{"ready":true}\n');
for (const member of members)
  (role === 'probe' ? probe(member as LocalMiner) : live(member)).catch((error) => {
    refusals[String(error).slice(0, 60)] = 1;
  });
process.stdin.on('data', (bytes) => {
  if (bytes.toString().includes('report')) {
    process.stdout.write(`${JSON.stringify({ leaseMs, requests, refusals })}\n`);
    leaseMs.length = 0;
    requests = 0;
  }
});
process.on('disconnect', () => process.exit(0));
