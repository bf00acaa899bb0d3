/**
 * @file Puts the orchestrator's parts together: journal, store, embedded ledger and keys in the run's folder, bus and HTTP
 * around them. A folder without a run gets a new one.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { InProcessBus } from '../../bus/in-process.ts';
import { type BusAccess, serveBus } from '../../bus/websocket.ts';
import { type Catalog, manifestShards, preparedName } from '../../data/catalog.ts';
import { loadCatalog } from '../../data/prepared.ts';
import { LiveFeed } from '../../http/api/live-feed.ts';
import { apiRoutesOf } from '../../http/api/register.ts';
import type { ApiSources } from '../../http/api/sources.ts';
import { buildStatus } from '../../http/build-status.ts';
import { operationsRoutes } from '../../http/operations.ts';
import { PrometheusMetrics } from '../../http/prometheus.ts';
import { serveReleases } from '../../http/release-files.ts';
import { startHttpServer } from '../../http/server.ts';
import { siteRoutes } from '../../http/site.ts';
import type { Status } from '../../http/status.ts';
import type { JournalError } from '../../journal/errors.ts';
import { openFileJournal } from '../../journal/file.ts';
import { hashState } from '../../journal/fold.ts';
import type { Indexer } from '../../journal/index/indexer.ts';
import type { Journal } from '../../journal/port.ts';
import { countedTokens } from '../../journal/queries.ts';
import type { RunState } from '../../journal/state.ts';
import type { BittensorLedger } from '../../ledger/bittensor/ledger.ts';
import { type EmbeddedChain, openEmbeddedLedger } from '../../ledger/embedded.ts';
import { LedgerError } from '../../ledger/errors.ts';
import { measureBlockMs } from '../../ledger/measure-block.ts';
import type { Block, Ledger, Neuron } from '../../ledger/port.ts';
import { serveLedger } from '../../ledger/remote.ts';
import { presetNames } from '../../model/quasar-long/presets.ts';
import { runIdOf, sha256 } from '../../protocol/hash.ts';
import { manifestSchema, type RunManifest } from '../../protocol/manifest.ts';
import type { EventBody } from '../../protocol/messages.ts';
import { describeFault } from '../../protocol/signing.ts';
import { topics } from '../../roles/client.ts';
import { clockAfter } from '../../roles/orchestrator/run-clock.ts';
import { RunFold } from '../../roles/orchestrator/run-fold.ts';
import { initRun, type NewRun } from '../../roles/orchestrator/run-init.ts';
import { Orchestrator, type OrchestratorDeps, startJournal } from '../../roles/orchestrator/shell.ts';
import { heartbeatFreshMs } from '../../roles/orchestrator/step.ts';
import { runSeedOf } from '../../roles/run-model.ts';
import { type RunPresetName, type RunSettings, runPresetNames, runSettings } from '../../roles/run-presets.ts';
import { hashArtifact } from '../../store/node-hash.ts';
import type { Store } from '../../store/port.ts';
import { utf8 } from '../../util/bytes.ts';
import { canonicalJson } from '../../util/canonical-json.ts';
import type { Log } from '../../util/clock.ts';
import { UsageError } from '../../util/errors.ts';
import { followRun } from '../api/follow-run.ts';
import { LedgerReader } from '../api/ledger-view.ts';
import { modelCardsIn } from '../api/model-card.ts';
import { modelViewOf } from '../api/model-view.ts';
import { busAccessPath } from '../bus/access.ts';
import { openRunBus } from '../bus/run-bus.ts';
import { openIndex } from '../chosen-index.ts';
import { openBittensor, requireSameLedger, roleWaitBlocks } from '../chosen-ledger.ts';
import { isBucketUrl, openRunStore } from '../chosen-store.ts';
import type { Environment } from '../environment.ts';
import { asUsage } from '../hold-folder.ts';
import type { Io } from '../io.ts';
import { openKeys, type RoleKeys } from '../keys.ts';
import { nativeAgreement, nativeEquation, pooledEquation } from '../native-ed25519.ts';
import { finalStatusFile, program, siteDir } from '../paths.ts';
import { applyNewRun, asFreezeFault } from '../recipe-options.ts';
import { openStart } from '../run/start-checkpoint.ts';
import type { OrchestrateOptions } from './options.ts';
import { ReleasePublisher } from './publisher.ts';
import { releaseFolders } from './releases.ts';
import { openSharedRun, type SharedRun } from './shared-run.ts';
import { delegationOf, leads } from './stand-by.ts';
import { fileSettings, openTexts } from './texts.ts';

export interface RunningOrchestrator {
  readonly orchestrator: Orchestrator;
  readonly url: string;
  /** Resolves when this process can no longer write the journal. */
  readonly lost: Promise<JournalError>;
  /** Ends in the order in which nothing that was promised is lost. */
  close(): Promise<void>;
}

const chainId = 'accrete-embedded';
const netuid = 1;
const lastAnchorLimitMs = 40_000;
const statusPatienceMs = 1_000;

/** Peers read the journal and ask; only heartbeats are published, and only the orchestrator answers. */
const access: BusAccess = {
  mayPublish: (topic) => topic === topics.heartbeat,
  mayRespond: () => false,
  maySubscribe: (topic) => topic === topics.journal,
};

/**
 * One of two syncers resolves once it leads, or with null when it is stopped before.
 * @throws UsageError (folder in use, another run in it, port taken); nothing is left open then
 */
export async function openOrchestrator(
  options: OrchestrateOptions,
  environment: Environment,
  keys: RoleKeys | null,
  io: Io,
): Promise<RunningOrchestrator | null> {
  const closing = new Closing();
  try {
    const running = await open(options, environment, { closing, keys, io });
    if (running === null) await closing.close();
    return running;
  } catch (error) {
    await closing.close();
    throw error;
  }
}

/** Closes what was opened, the last first. */
class Closing {
  readonly #steps: (() => Promise<unknown>)[] = [];

  add(step: () => Promise<unknown>): void {
    this.#steps.unshift(step);
  }

  /** All of it, also when a part fails: what stays open would keep the process alive. @throws the first failure */
  async close(): Promise<void> {
    const failures: unknown[] = [];
    for (const step of this.#steps.splice(0)) await step().catch((error) => failures.push(error));
    if (failures.length > 0) throw failures[0];
  }
}

async function open(
  options: OrchestrateOptions,
  environment: Environment,
  { closing, keys: given, io }: { readonly closing: Closing; readonly keys: RoleKeys | null; readonly io: Io },
): Promise<RunningOrchestrator | null> {
  const { log } = environment;
  const metrics = new PrometheusMetrics({ next: environment.metrics, isProcessTold: true });
  const { journal, cutBytes, shared } = await openJournal(options, log).catch((error) => {
    throw asUsage(error, options.dir, 'orchestrator');
  });
  closing.add(() => (shared ?? journal).close());
  if (cutBytes > 0) log.warn('a torn last line was cut off the journal', { cutBytes });
  const keys = given ?? openKeys(join(options.dir, 'syncer'));
  const { index, indexer, fault: indexFault } = await openIndex(options.index, options.dir, journal, log);
  closing.add(() => index.close());
  const onPage = async (run: RunState): Promise<void> => {
    if (indexer.isDue(run))
      await indexer.flush(run).catch((error) => log.error('the index was not written', { error }));
  };
  const fold = new RunFold({ equation: nativeEquation, onFold: indexer.onFold, onPage });
  if (shared !== null && !(await leads(shared, { options, keys, fold, onPage, journal, log, stop: io.stop })))
    return null;
  const clock = clockAfter(environment.clock, journal.head.timeMs);
  const startedAtMs = clock.nowMs();
  // A restart must honour the grants of the process before it, so the secret follows from the session key.
  const secret = shared?.grantSecret ?? sha256(keys.session.sign(utf8('accrete/store-grant-secret/1')));
  const otherwise = options.shared !== null && isBucketUrl(options.shared.place) ? options.shared.place : null;
  const runStore = await openRunStore({ dir: options.dir, url: options.store, otherwise, secret, clock, log, metrics });
  closing.add(async () => runStore.close());
  const { store } = runStore;
  const bittensor =
    options.ledger.kind === 'embedded'
      ? null
      : await openBittensor(options.ledger, { log, maxWaitBlocks: roleWaitBlocks });
  if (bittensor !== null) closing.add(() => bittensor.close());
  const manifest = await ensureRun({ options, journal, keys, store, nowMs: clock.nowMs(), bittensor, io }).catch(
    (error: unknown) => {
      if (!io.stop.aborted) throw error;
      io.err('stopped before the run began; the same command goes on, and stores nothing again that is stored');
      return null;
    },
  );
  if (manifest === null) return null;
  await runStore.settle(manifest.tokenizer.artifact);
  const embedded =
    bittensor !== null
      ? null
      : await openEmbeddedLedger({
          genesis: { ...manifest.ledger, owner: keys.hotkey.hotkey },
          ...(shared === null ? { dir: join(options.dir, 'ledger') } : { storage: shared.ledgerStorage }),
          clock,
          equation: pooledEquation,
        });
  if (embedded !== null) closing.add(() => embedded.close());
  const ledger: Ledger = bittensor ?? embedded!;
  await ledger.register(keys.hotkey, { coldkey: keys.hotkey.hotkey });
  const hub = new InProcessBus({ log, metrics });
  closing.add(() => hub.close());
  const runBus = await openRunBus({
    ...{ hub, choice: options.bus, run: runIdOf(manifest), session: keys.session, clock, log, metrics },
    term: shared?.term() ?? 0,
  });
  closing.add(() => runBus.close());
  const { bus } = runBus;
  const publisher = openPublisher(options, log);
  if (publisher !== null) closing.add(() => publisher.close());
  const ending = new AbortController();
  // One that fails to open has begun to work: without its end the process would neither work nor end.
  closing.add(async () => ending.abort());
  const orchestrator = await Orchestrator.open({
    fold,
    ...(shared === null ? {} : { delegate: (run) => delegationOf(run, { options, keys, nowMs: clock.nowMs() }) }),
    ...{ journal, bus, store, ledger, clock, log, metrics, signal: ending.signal },
    syncer: keys.session,
    anchorSigner: keys.hotkey,
    artifactOf: hashArtifact,
    equation: nativeEquation,
    agreement: nativeAgreement,
    issueGrant: runStore.issueGrant,
    writeRelease: publishing(releaseFolders(join(options.dir, 'releases'), store, log), publisher),
  });
  closing.add(async () => {
    ending.abort();
    // The last head is anchored meanwhile; a chain that is away must not hold the process up.
    const limit = setTimeout(() => void bittensor?.close(), lastAnchorLimitMs);
    await orchestrator.close().finally(() => clearTimeout(limit));
  });
  if (embedded !== null) {
    const servedLedger = await serveLedger(bus, embedded.backend);
    closing.add(() => servedLedger.close());
  }
  const model = modelViewOf(manifest);
  const parameters = model.paramsTotal;
  const recorded =
    embedded === null ? null : { ledger: embedded, rules: (embedded.backend as EmbeddedChain).publicGenesis };
  const sources: ApiSources = {
    ...{ index, model, freshMs: heartbeatFreshMs, nowMs: () => Math.round(clock.nowMs()) },
    run: () => orchestrator.run,
    level: async () => {
      await indexer.flush(orchestrator.run);
      return indexer.head;
    },
    pulses: () => orchestrator.pulses,
    ledger: new LedgerReader({ ledger, manifest, clock, ...(recorded === null ? { observed: ledger } : { recorded }) })
      .view,
    modelCard: modelCardsIn(join(options.dir, 'releases')),
    isEnded: () => orchestrator.decisions.stop.state === 'stopped',
  };
  const follower = followRun({ run: () => orchestrator.run, indexer, sources, clock, log, signal: ending.signal });
  closing.add(async () => {
    ending.abort();
    await follower.done;
    // An index of entries that never were would be made again.
    if (orchestrator.hasUnwritten) return;
    await indexer.flush(orchestrator.run).catch((error) => log.error('the index was not written', { error }));
  });
  const feed = new LiveFeed({ sources, journal, clock, log, metrics });
  closing.add(() => feed.close());
  const lastSeen = ledgerLastSeen(ledger, log);
  const status = async (): Promise<Status> => {
    const { head, neurons } = await lastSeen();
    return buildStatus({
      ...{ run: orchestrator.run, pulses: orchestrator.pulses, parameters, freshMs: heartbeatFreshMs },
      ledger: {
        block: head.number,
        tempo: Math.max(0, orchestrator.run.tempo.index),
        emissionRao: Object.fromEntries(neurons.map(({ hotkey, emissionRao }) => [hotkey, emissionRao])),
      },
      process: { startedAtMs, rssBytes: process.memoryUsage.rss() },
      nowMs: clock.nowMs(),
    });
  };
  const [first] = await journal.read(0, 1);
  const http = await startHttpServer({
    ...{ host: options.host, port: options.port, log, metrics, status },
    run: () => canonicalJson(first!.message),
    journal: async (from, limit) => (await journal.read(from, limit)).map((entry) => canonicalJson(entry)),
    ...(recorded === null
      ? {}
      : {
          ledger: {
            genesis: recorded.rules,
            blocks: (from, limit) => recorded.ledger.blocks(from, limit),
            calls: (cursor, limit) => recorded.ledger.calls(cursor, limit),
          },
        }),
    routes: [
      apiRoutesOf({ sources, version: '0.1.0', feed, log, metrics, requestsPerMinute: options.requestsPerMinute }),
      operationsRoutes({
        metrics,
        gauges: () => gaugesOf(orchestrator, indexer),
        check: async () => follower.fault() ?? indexFault,
      }),
      siteRoutes(siteDir),
    ],
    mounts: {
      '/store/': runStore.handler,
      [busAccessPath]: runBus.access(orchestrator),
      '/releases/': serveReleases(join(options.dir, 'releases'), log),
      // One hash of the whole fold: an outsider who folds that many entries must get the same.
      '/state-hash': async (_, response) => {
        const { run } = orchestrator;
        response.setHeader('content-type', 'application/json');
        response.end(JSON.stringify({ size: run.size, hash: hashState(run) }));
      },
    },
  });
  closing.add(() => http.close());
  const servedBus = serveBus(http.server, hub, { access, log, metrics });
  closing.add(() => servedBus.close());
  // The supervisor's last look: nobody can ask once the server is closed.
  closing.add(async () => writeFile(join(options.dir, finalStatusFile), JSON.stringify(await status())));
  log.info('orchestrator ready', { url: http.url, entries: orchestrator.run.size });
  const lost = shared === null ? orchestrator.lost : Promise.race([orchestrator.lost, shared.journal.lost]);
  return { orchestrator, url: http.url, lost, close: () => closing.close() };
}

interface OpenedJournal {
  readonly journal: Journal;
  readonly cutBytes: number;
  /** Null where this syncer is the only one. */
  readonly shared: SharedRun | null;
}

async function openJournal({ dir, shared }: OrchestrateOptions, log: Log): Promise<OpenedJournal> {
  if (shared === null) return { ...(await openFileJournal({ folder: dir })), shared: null };
  const run = await openSharedRun({ ...shared, dir, log });
  return { journal: run.journal, cutBytes: run.cutBytes, shared: run };
}

/** Head and neurons as they are, or as they were seen last when the ledger takes long or is away: the run is told of also then. */
function ledgerLastSeen(ledger: Ledger, log: Log) {
  let seen: { readonly head: Pick<Block, 'number'>; readonly neurons: readonly Neuron[] } | null = null;
  let looking: Promise<void> | null = null;
  const look = async (): Promise<void> => {
    try {
      seen = { head: await ledger.head(), neurons: await ledger.metagraph() };
    } catch (error) {
      if (!(error instanceof LedgerError) || error.code !== 'UNAVAILABLE') throw error;
      log.warn('the status shows the ledger as it was', { error: error.message });
    }
  };
  return async () => {
    looking ??= look().finally(() => {
      looking = null;
    });
    if (seen === null) await looking;
    else await Promise.race([looking, sleep(statusPatienceMs)]);
    return seen ?? { head: { number: 0 }, neurons: [] };
  };
}

/** For what a hub takes at the end of a run. */
const publishGraceMs = 15_000;

function openPublisher({ publish }: OrchestrateOptions, log: Log): ReleasePublisher | null {
  if (publish === null) return null;
  return new ReleasePublisher({ program: [program], publishArguments: publish, log, graceMs: publishGraceMs });
}

/** Each written folder goes to the publisher, which nobody waits for. */
function publishing(
  write: OrchestratorDeps['writeRelease'],
  publisher: ReleasePublisher | null,
): OrchestratorDeps['writeRelease'] {
  return async (...release) => {
    const written = await write(...release);
    publisher?.add(written.folder);
    return written;
  };
}

/** Numbers of the run for `/metrics`. */
function gaugesOf({ run, pulses }: Orchestrator, { head }: Indexer): Record<string, number> {
  return {
    journal_entries_total: run.size,
    index_behind_entries: Math.max(0, run.size - head.size),
    counted_tokens_total: countedTokens(run),
    merges_total: run.merges,
    releases_total: run.releases.length,
    claims_open: run.openClaims.size,
    disputes_open: run.openDisputes.size,
    audits_open: run.openAudits.size,
    learners_present: [...run.learners.values()].filter(({ present }) => present).length,
    heartbeats_known: pulses.size,
    phase: run.phase,
  };
}

/** Of a run file all of it. @throws UsageError */
const newSettings = ({ preset, chosen, run }: OrchestrateOptions, { shards }: Catalog): RunSettings =>
  chosen === null ? applyNewRun(runSettings[preset as RunPresetName], run) : fileSettings(chosen, shards);

interface RunParts {
  readonly io: Io;
  readonly options: OrchestrateOptions;
  readonly journal: Journal;
  readonly keys: RoleKeys;
  readonly store: Store;
  readonly nowMs: number;
  /** Null: the run has a chain of its own. */
  readonly bittensor: BittensorLedger | null;
}

/** Of a chain that was there before the run. */
async function temposOf(ledger: BittensorLedger): Promise<RunSettings['ledger']> {
  const { tempoBlocks, nextEpochBlock } = await ledger.subnet();
  const firstEpochBlock = nextEpochBlock % tempoBlocks || tempoBlocks;
  return { tempoBlocks, blockMs: await measureBlockMs(ledger), firstEpochBlock };
}

/** The manifest of the folder's run, or of the one that is made now. @throws UsageError where another one was asked for */
async function ensureRun({ options, journal, keys, store, nowMs, bittensor, io }: RunParts): Promise<RunManifest> {
  const { preset, chosen } = options;
  const seed = chosen?.file.seed ?? String(options.seed);
  if (journal.head.size === 0) {
    const { catalog, readFile } = openTexts(options);
    const settings = newSettings(options, catalog);
    const tempos = bittensor === null ? settings.ledger : await temposOf(bittensor);
    const checkpoint =
      options.from === null
        ? null
        : await openStart(options.from, { catalog, seed: runSeedOf(seed), recipe: settings.recipe }, io);
    const run: NewRun = {
      settings: { ...settings, ledger: tempos },
      ...{ name: chosen?.file.name ?? `accrete-${preset}`, preset, seed, createdAtMs: nowMs },
      learners: chosen === null ? options.miners : null,
      ...(checkpoint === null ? {} : { checkpoint }),
      ledger: bittensor === null ? { chainId, netuid } : { chainId: bittensor.chainId, netuid: bittensor.netuid },
      ...{ owner: keys.hotkey, syncer: keys.session, catalog, store, artifactOf: hashArtifact },
      ...(options.shared === null ? {} : { syncerName: options.shared.name }),
      readCatalogFile: readFile,
    };
    const messages = await initRun(run, io.stop)
      .catch((error) => {
        throw asFreezeFault(error);
      })
      .finally(() => checkpoint?.close());
    await startJournal(journal, messages, nowMs);
  }
  const [first] = await journal.read(0, 1);
  const parsed = manifestSchema.safeParse((first!.message.body as EventBody<'run'>).manifest);
  if (!parsed.success) throw new UsageError(`${options.dir} cannot go on: ${describeFault(parsed.error)}`);
  const manifest = parsed.data;
  const isOther = manifest.model.preset !== preset || manifest.seed !== runSeedOf(seed);
  if (isOther && options.isRunGiven) {
    throw new UsageError(
      `${options.dir} holds a run of preset ${manifest.model.preset} with another preset or seed than ${preset} and ${seed}; ` +
        'leave --preset and --seed out to go on with it, or choose another folder with --dir',
    );
  }
  if (!presetNames.some((name) => name === manifest.model.preset))
    throw new UsageError(`${options.dir}: preset ${manifest.model.preset} is not known`);
  requireSameLedger(manifest, bittensor ?? { chainId, netuid });
  checkSameRecipe(manifest, options);
  checkSameData(manifest, options);
  return manifest;
}

/** A run keeps the shards that it began with. */
function checkSameData(manifest: RunManifest, { dir, data }: OrchestrateOptions): void {
  if (data === null) return;
  const shards = manifestShards(loadCatalog(data, preparedName));
  if (canonicalJson(shards) === canonicalJson(manifest.data.shards)) return;
  throw new UsageError(
    `${dir} holds a run on other data than ${data} has now; leave --data out to go on with it, or choose another folder with --dir`,
  );
}

/** A run keeps the recipe that it began with; options that say otherwise would be ignored in silence. */
function checkSameRecipe(manifest: RunManifest, { dir, run, chosen }: OrchestrateOptions): void {
  if (chosen !== null && manifest.name !== chosen.file.name)
    throw new UsageError(
      `${dir} holds the run ${manifest.name}, not ${chosen.file.name}; choose another folder with --dir`,
    );
  if (!run.isGiven) return;
  const known = runPresetNames.find((name) => name === manifest.model.preset);
  const asked = known === undefined ? null : applyNewRun(runSettings[known], run);
  const isSame =
    asked !== null &&
    canonicalJson({ recipe: asked.recipe, schedule: asked.schedule, release: asked.release }) ===
      canonicalJson({ recipe: manifest.recipe, schedule: manifest.phases[0]!.schedule, release: manifest.release });
  if (!isSame)
    throw new UsageError(
      `${dir} holds a run with another recipe than the options ask for; leave them out to go on with it, or choose another folder with --dir`,
    );
}
