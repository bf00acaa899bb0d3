/**
 * @file The orchestrator of the bus bench as a process of its own: the real one, journal in a folder, with a small model. Arguments as JSON:
 * {dir, nats, learners}. Prints where it is; at `report` on standard input, what it used and what became of the claims.
 */
import { createServer } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { InProcessBus } from '../src/bus/in-process.ts';
import { serveBus } from '../src/bus/websocket.ts';
import { openRunBus } from '../src/cli/bus/run-bus.ts';
import { systemClock } from '../src/cli/environment.ts';
import { nativeAgreement, nativeEquation, nativeSign } from '../src/cli/native-ed25519.ts';
import { openFileJournal } from '../src/journal/file.ts';
import { openEmbeddedLedger } from '../src/ledger/embedded.ts';
import { MemoryLedgerStorage } from '../src/ledger/file.ts';
import { serveLedger } from '../src/ledger/remote.ts';
import { runIdOf, sha256 } from '../src/protocol/hash.ts';
import { sessionKeyFromSeed } from '../src/protocol/keys.ts';
import type { EventBody, RunEvent } from '../src/protocol/messages.ts';
import type { Hash } from '../src/protocol/names.ts';
import { initRun } from '../src/roles/orchestrator/run-init.ts';
import { Orchestrator, startJournal } from '../src/roles/orchestrator/shell.ts';
import { runSettings } from '../src/roles/run-presets.ts';
import { FsStore } from '../src/store/fs.ts';
import { hashArtifact } from '../src/store/node-hash.ts';
import { utf8 } from '../src/util/bytes.ts';
import { silentLog, silentMetrics } from '../src/util/clock.ts';
import { networkOwner, newTinyRun } from '../tests/support/local-network.ts';

interface Arguments {
  readonly dir: string;
  readonly nats: string | null;
  /** That the run is laid out for. */
  readonly learners: number;
}

const { dir, nats, learners } = JSON.parse(process.argv[2]!) as Arguments;
const clock = systemClock;
const seed = sha256(utf8('bench syncer'));
const session = sessionKeyFromSeed(seed, nativeSign(seed));
const store = await FsStore.open(join(dir, 'store'));
// Releases are hours apart in a run of this size, not seconds.
const settings = { release: { ...runSettings.tiny.release, everyMerges: 1_000 } };
const { journal } = await openFileJournal({ folder: join(dir, 'run') });
const first = await initRun({
  ...newTinyRun({ learners: Math.max(2, learners), settings, syncer: session }),
  store,
  createdAtMs: Date.now(),
});
await startJournal(journal, first, Date.now());
const { manifest } = first[0].body as EventBody<'run'>;
const ledger = await openEmbeddedLedger({
  genesis: { ...manifest.ledger, owner: networkOwner.hotkey, secret: 'ab'.repeat(32) as Hash, startMs: Date.now() },
  storage: new MemoryLedgerStorage(),
  clock,
});
const hub = new InProcessBus();
const parts = { clock, log: silentLog, metrics: silentMetrics };
const choice = nats === null ? null : { servers: [nats], publicServers: [nats], accountFile: null };
const { bus } = await openRunBus({ ...parts, hub, choice, run: runIdOf(manifest), session });

/** When a claim was committed, last judged and merged, by the journal's own times. */
interface ClaimTimes {
  committed: number;
  judged?: number;
  merged?: number;
}
const claims = new Map<string, ClaimTimes>();
const nothing: ClaimTimes = { committed: 0 };
const orchestrator = await Orchestrator.open({
  ...{ ...parts, journal, bus, store, ledger, syncer: session, anchorSigner: null },
  ...{ equation: nativeEquation, agreement: nativeAgreement },
  ...{ artifactOf: hashArtifact, signal: new AbortController().signal },
  issueGrant: (artifact) => ({ artifact, token: 'token', expiresAtMs: Date.now() + 60_000 }),
  writeRelease: async (_, release) => ({
    folder: `release-${release}`,
    files: [{ name: 'model.safetensors', artifact: hashArtifact(Buffer.from(`release ${release}`)) }],
  }),
  onFold: (run, { message, timeMs }) => {
    const event = { kind: message.kind, body: message.body } as RunEvent;
    if (event.kind === 'claim-commit') claims.set([...run.claims.keys()].at(-1)!, { committed: timeMs });
    else if (event.kind === 'verdict') (claims.get(event.body.claim) ?? nothing).judged = timeMs;
    else if (event.kind === 'fragment-published')
      for (const { claim } of event.body.shares) (claims.get(claim) ?? nothing).merged = timeMs;
  },
});
await serveLedger(bus, ledger.backend);
const server = createServer();
serveBus(server, hub, {
  access: { mayPublish: (topic) => topic === 'heartbeat', mayRespond: () => false },
});
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
const { port } = server.address() as { port: number };
const tell = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`);
tell({ url: `http://127.0.0.1:${port}`, run: runIdOf(manifest) });

let [usage, since, entries] = [process.cpuUsage(), performance.now(), orchestrator.run.size];
createInterface({ input: process.stdin }).on('line', (line) => {
  const used = process.cpuUsage(usage);
  const elapsedMs = performance.now() - since;
  if (line === 'report')
    tell({
      ...{ cpuShare: (used.user + used.system) / 1_000 / elapsedMs, rssBytes: process.memoryUsage.rss() },
      ...{ elapsedMs, entries: orchestrator.run.size - entries, pulses: orchestrator.pulses.size },
      claims: [...claims.values()],
    });
  claims.clear();
  [usage, since, entries] = [process.cpuUsage(), performance.now(), orchestrator.run.size];
});
process.on('disconnect', () => process.exit(0));
