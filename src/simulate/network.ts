/**
 * @file A whole network in one process on a virtual clock: the real orchestrator, miners and validators with real training,
 * over the bus, journal, store and ledger in memory. One seed gives one journal, byte for byte.
 */
import { InProcessBus } from '../bus/in-process.ts';
import type { Bus } from '../bus/port.ts';
import { shareSessions } from '../engine/session.ts';
import { MemoryJournal } from '../journal/memory.ts';
import type { RunState } from '../journal/state.ts';
import { openEmbeddedLedger } from '../ledger/embedded.ts';
import type { Ledger, Neuron } from '../ledger/port.ts';
import type { Ed25519Equation } from '../protocol/ed25519.ts';
import { hashOfText } from '../protocol/hash.ts';
import { type HotkeySigner, hotkeyFromSeed, type SessionSigner, sessionKeyFromSeed } from '../protocol/keys.ts';
import type { RunManifest } from '../protocol/manifest.ts';
import type { EventBody } from '../protocol/messages.ts';
import type { Hotkey } from '../protocol/names.ts';
import { connectRun, type RunClient, type SubmitResult, topics } from '../roles/client.ts';
import { HeadsHistory } from '../roles/heads-history.ts';
import { MergeHistory } from '../roles/merge-history.ts';
import type { LearnerThread } from '../roles/miner/learner-thread.ts';
import { runMiner } from '../roles/miner/shell.ts';
import { initRun } from '../roles/orchestrator/run-init.ts';
import { Orchestrator, startJournal } from '../roles/orchestrator/shell.ts';
import type { RunSettings } from '../roles/run-presets.ts';
import { runValidator } from '../roles/validator/shell.ts';
import { VersionHistory } from '../roles/version-history.ts';
import { hashArtifact } from '../store/node-hash.ts';
import type { Store } from '../store/port.ts';
import { fromHex } from '../util/bytes.ts';
import { type Log, silentLog, silentMetrics } from '../util/clock.ts';
import { type CorpusBytes, CorpusStore } from './corpus-store.ts';
import { ForkedBus, type Notice } from './forked-bus.ts';
import { openSimulatedLearner } from './learner.ts';
import { linkedClient, type MinerMachine } from './linked-client.ts';
import { VirtualClock } from './virtual-clock.ts';

export interface SimulationOptions extends CorpusBytes {
  readonly seed: string;
  readonly settings: RunSettings;
  readonly equation: Ed25519Equation;
  /** Honest and other miners; the quorum is a majority of them. */
  readonly minerCount: number;
  readonly log?: Log;
}

export interface MinerOptions {
  readonly name: string;
  /** Virtual time of one inner step. */
  readonly stepMs: number;
  /** Joins after so much virtual time. */
  readonly delayMs?: number;
  /** What an attacker does instead. */
  readonly behave?: MinerBehaviour;
  /** Is shown the other history of a syncer that shows two. */
  readonly isDeceived?: boolean;
  /** Its speed and its links in the place of `stepMs`: bytes and messages take their time. */
  readonly machine?: MinerMachine;
}

/** A miner that comes and goes. */
export interface MinerLife {
  readonly isUp: boolean;
  start(): void;
  /** Asks for a clean leave. */
  stop(): void;
  /** The process is gone, and with it what was not claimed. */
  crash(): void;
}

/** How an attacker's parts differ from an honest miner's; what it leaves out is honest. */
export interface MinerBehaviour {
  readonly learner?: (honest: LearnerThread, context: BehaviourContext) => LearnerThread;
  readonly client?: (honest: RunClient, context: BehaviourContext) => RunClient;
}

export interface ValidatorBehaviour {
  readonly client?: (honest: RunClient, context: BehaviourContext) => RunClient;
}

/** What an attacker can get hold of: all that is public, and itself. */
export interface BehaviourContext {
  readonly client: RunClient;
  readonly hotkey: HotkeySigner;
  readonly session: SessionSigner;
  readonly store: Store;
  /** Hands in any text in the place of a signed message. */
  readonly submitRaw: (payload: string) => Promise<SubmitResult>;
  readonly manifest: RunManifest;
  /** Virtual time of one inner step passes; of none for validators. */
  readonly pause: () => Promise<void>;
  /** The attacker's miners. */
  readonly friends: ReadonlySet<Hotkey>;
}

export interface SimulatedMiner {
  readonly name: string;
  readonly hotkey: HotkeySigner;
  /** Tokens of the inner steps that it truly did. */
  tokens: number;
  /** How often each code refused a message of it before the journal saw it. */
  readonly told: Record<string, number>;
}

type History = HeadsHistory | MergeHistory | VersionHistory;

const startMs = 1_700_000_000_000;
/** The same for all simulations: a test's keys protect nothing. */
const keysOf = (label: string): { readonly hotkey: HotkeySigner; readonly session: SessionSigner } => ({
  hotkey: hotkeyFromSeed(fromHex(hashOfText(`simulated hotkey ${label}`))!, 'ed25519'),
  session: sessionKeyFromSeed(fromHex(hashOfText(`simulated session ${label}`))!),
});

export class SimulatedNetwork {
  readonly clock: VirtualClock;
  readonly journal: MemoryJournal;
  readonly store: CorpusStore;
  readonly ledger: Ledger;
  readonly manifest: RunManifest;
  readonly miners: SimulatedMiner[] = [];
  readonly attackers = new Set<Hotkey>();
  readonly validators: { readonly name: string; readonly hotkey: HotkeySigner }[] = [];
  /** Roles that ended by a failure, which is the harness's or an attack's concern. */
  readonly failures: { readonly name: string; readonly error: unknown }[] = [];
  readonly #options: SimulationOptions;
  readonly #bus: InProcessBus;
  #forked: ForkedBus | null = null;
  readonly #ending = new AbortController();
  readonly #roles: Promise<void>[] = [];
  #orchestrator: Orchestrator | null = null;

  private constructor(parts: {
    options: SimulationOptions;
    clock: VirtualClock;
    store: CorpusStore;
    journal: MemoryJournal;
    ledger: Ledger;
    manifest: RunManifest;
  }) {
    this.#options = parts.options;
    this.clock = parts.clock;
    this.store = parts.store;
    this.journal = parts.journal;
    this.ledger = parts.ledger;
    this.manifest = parts.manifest;
    this.#bus = new InProcessBus();
  }

  static async open(options: SimulationOptions): Promise<SimulatedNetwork> {
    const { settings, catalog, readCatalogFile, seed, minerCount } = options;
    // Learners and replays of all machines run the same graphs: a quarter of a short run was opening them.
    shareSessions(true);
    const clock = new VirtualClock(startMs);
    const store = new CorpusStore(options);
    const journal = new MemoryJournal();
    const owner = keysOf('owner');
    const first = await initRun({
      ...{ name: 'simulation', preset: 'tiny', settings, seed, createdAtMs: startMs, learners: minerCount },
      ledger: { chainId: 'accrete-simulation', netuid: 1 },
      ...{ owner: owner.hotkey, syncer: owner.session, catalog, readCatalogFile, store, artifactOf: hashArtifact },
    });
    await startJournal(journal, first, startMs);
    const { manifest } = first[0].body as EventBody<'run'>;
    const ledger = await openEmbeddedLedger({
      genesis: { ...manifest.ledger, owner: owner.hotkey.hotkey, secret: hashOfText(`chain ${seed}`), startMs },
      clock,
    });
    await ledger.register(owner.hotkey, { coldkey: owner.hotkey.hotkey });
    const network = new SimulatedNetwork({ options, clock, store, journal, ledger, manifest });
    await network.#openOrchestrator(owner);
    return network;
  }

  /** Messages that did not fit into a history that the syncer showed; empty where it shows one. */
  get notices(): readonly Notice[] {
    return this.#forked?.notices ?? [];
  }

  /** From the first tree head on the syncer hides the claims of one miner from whom `isDeceived` says. */
  async equivocate(leavesOut: string): Promise<void> {
    const { equation } = this.#options;
    const { session: syncer } = keysOf('owner');
    const leftOut = keysOf(leavesOut).session.signer;
    const { journal } = this;
    this.#forked = await ForkedBus.open({
      ...{ inner: this.#bus, journal, syncer, equation, leavesOut: leftOut, afterHeads: 1 },
    });
  }

  get run(): RunState {
    return this.#orchestrator!.run;
  }

  async #openOrchestrator({ hotkey, session }: ReturnType<typeof keysOf>): Promise<void> {
    const { clock, journal, store, ledger } = this;
    this.#orchestrator = await Orchestrator.open({
      ...{ journal, bus: this.#bus, store, ledger, clock, metrics: silentMetrics, signal: this.#ending.signal },
      log: this.#log('syncer'),
      syncer: session,
      anchorSigner: hotkey,
      artifactOf: hashArtifact,
      equation: this.#options.equation,
      issueGrant: (artifact) => ({ artifact, token: 'simulated', expiresAtMs: clock.nowMs() + 600_000 }),
      writeRelease: async (_, release, heads) => ({
        folder: `release-${release}`,
        files: heads.map((artifact, fragment) => ({ name: `fragment-${String(fragment).padStart(4, '0')}`, artifact })),
      }),
    });
  }

  #log(role: string): Log {
    return (this.#options.log ?? silentLog).child({ role });
  }

  async addValidator(name: string, behave: ValidatorBehaviour = {}, isDeceived = false): Promise<void> {
    const keys = keysOf(name);
    this.validators.push({ name, hotkey: keys.hotkey });
    const [heads, merges, versions] = [new HeadsHistory(), new MergeHistory(), new VersionHistory()];
    const histories = [heads, merges, versions];
    const client = await this.#connect(keys.session, { histories, isDeceived, signal: this.#roleSignal() });
    const context = this.#context(client, keys, 0);
    this.#start(name, () =>
      runValidator(
        { name, threads: 1, machineClass: 'simulated', text: { loaded: this.store } },
        {
          ...keys,
          client: behave.client?.(client, context) ?? client,
          ledgerSigner: keys.hotkey,
          ...{
            heads,
            merges,
            versions,
            clock: this.clock,
            log: this.#log(name),
            signal: client.signal,
            rssBytes: () => 0,
          },
        },
      ),
    );
    await this.clock.quiesce();
  }

  addMiner(options: MinerOptions): SimulatedMiner {
    const miner = this.#enrol(options);
    const signal = this.#roleSignal();
    this.#start(options.name, async () => {
      await this.clock.sleep(options.delayMs ?? 0, signal);
      await this.#mine(miner, options, { signal, connected: signal });
    });
    return miner;
  }

  /** A miner that is off until it is started, and may be started again after each end. */
  addMachine(options: MinerOptions): { readonly miner: SimulatedMiner; readonly life: MinerLife } {
    const miner = this.#enrol(options);
    let now: { readonly leave: AbortController; readonly power: AbortController } | null = null;
    const start = (): void => {
      if (now !== null) return;
      const [leave, power] = [new AbortController(), new AbortController()];
      const mine = { leave, power };
      now = mine;
      const connected = AbortSignal.any([this.#ending.signal, power.signal]);
      const signal = AbortSignal.any([connected, leave.signal]);
      const ended = (): void => {
        power.abort();
        if (now === mine) now = null;
      };
      this.#start(options.name, () =>
        this.#mine(miner, options, { signal, connected })
          .catch((error) => {
            // Whoever has no power fails at whatever it was doing; who leaves before he has joined, at joining.
            if (!signal.aborted) throw error;
          })
          .finally(ended),
      );
    };
    const crash = (): void => {
      now?.power.abort();
      now = null;
    };
    const isUp = (): boolean => now !== null && !now.leave.signal.aborted;
    const life: MinerLife = {
      get isUp() {
        return isUp();
      },
      start,
      stop: () => now?.leave.abort(),
      crash,
    };
    return { miner, life };
  }

  #enrol({ name, behave }: MinerOptions): SimulatedMiner {
    const { hotkey } = keysOf(name);
    const miner: SimulatedMiner = { name, hotkey, tokens: 0, told: {} };
    if (behave !== undefined) this.attackers.add(hotkey.hotkey);
    this.miners.push(miner);
    return miner;
  }

  /** `connected` ends later than `signal`, or with it. */
  async #mine(
    miner: SimulatedMiner,
    { name, stepMs, behave, isDeceived = false, machine }: MinerOptions,
    { signal, connected }: { readonly signal: AbortSignal; readonly connected: AbortSignal },
  ): Promise<void> {
    const keys = keysOf(name);
    const { clock } = this;
    const plain = await this.#connect(keys.session, { histories: [], isDeceived, signal: connected });
    const client = machine === undefined ? plain : linkedClient(plain, { clock, machine });
    const context = this.#context(client, keys, stepMs, miner.told);
    const simulated = {
      ...{ clock, signal: connected, stepMs: machine === undefined ? stepMs : machine.stepMs.bind(machine) },
      onTokens: (tokens: number) => {
        miner.tokens += tokens;
      },
    };
    await runMiner(
      {
        ...{ name, threads: 1, stateDir: '', cacheBytes: 0, statesDir: '' },
        capabilities: { threads: 1, memoryGib: 1, machineClass: 'simulated' },
      },
      {
        ...keys,
        client: behave?.client?.(client, context) ?? client,
        ledgerSigner: keys.hotkey,
        openLearner: async (parts) => {
          const honest = openSimulatedLearner({ manifest: this.manifest, loaded: this.store, ...parts }, simulated);
          return behave?.learner?.(honest, context) ?? honest;
        },
        ...{ clock, log: this.#log(name), metrics: silentMetrics, rssBytes: () => 0 },
        signal,
      },
    );
  }

  #context(
    client: RunClient,
    { hotkey, session }: ReturnType<typeof keysOf>,
    stepMs: number,
    told: Record<string, number> = {},
  ): BehaviourContext {
    const { store, manifest, clock } = this;
    const pause = (): Promise<void> => clock.sleep(stepMs, client.signal);
    const submitRaw = async (payload: string): Promise<SubmitResult> => {
      const result = JSON.parse(
        await this.#bus.request(topics.submit, payload, { timeoutMs: 10_000, signal: client.signal }),
      ) as SubmitResult;
      if (result.outcome === 'reject') told[result.code] = (told[result.code] ?? 0) + 1;
      return result;
    };
    return { client, hotkey, session, store, submitRaw, manifest, pause, friends: this.attackers };
  }

  async #connect(
    session: SessionSigner,
    {
      histories,
      isDeceived,
      signal,
    }: { readonly histories: readonly History[]; readonly isDeceived: boolean; readonly signal: AbortSignal },
  ): Promise<RunClient> {
    const bus: Bus = isDeceived && this.#forked !== null ? this.#forked : this.#bus;
    return connectRun({
      ...{ bus, store: this.store, ledger: this.ledger, clock: this.clock, log: silentLog, session },
      signal,
      equation: this.#options.equation,
      onFold: (state, entry) => {
        for (const history of histories) history.onFold(state, entry);
      },
    });
  }

  /** One for each role, as each process has its own: Node then still warns of a role that leaves listeners behind. */
  #roleSignal(): AbortSignal {
    return AbortSignal.any([this.#ending.signal]);
  }

  #start(name: string, role: () => Promise<unknown>): void {
    this.#roles.push(
      role().then(
        () => {},
        (error) => {
          if (!this.#ending.signal.aborted) this.failures.push({ name, error });
        },
      ),
    );
  }

  /** Virtual time passes. */
  async pass(ms: number, isOver?: () => boolean): Promise<void> {
    await this.clock.run(this.clock.nowMs() + ms, isOver);
  }

  async neuron(hotkey: HotkeySigner): Promise<Neuron | null> {
    return (await this.ledger.metagraph()).find((neuron) => neuron.hotkey === hotkey.hotkey) ?? null;
  }

  async close(): Promise<void> {
    this.#ending.abort(new Error('the simulation is over'));
    await this.clock.quiesce();
    await Promise.race([Promise.all(this.#roles), this.clock.run(this.clock.nowMs() + 60_000)]);
    await this.#orchestrator?.close();
    await this.#bus.close();
    await this.ledger.close();
  }
}
