/**
 * @file A whole run in this process: the real orchestrator, clients, bus, store, journal and embedded ledger on a clock that
 * a test moves. Only the training is left out: miners claim seeded numbers, validators say what the test wants.
 */
import { InProcessBus } from '../../src/bus/in-process.ts';
import type { Bus } from '../../src/bus/port.ts';
import { nativeEquation } from '../../src/cli/native-ed25519.ts';
import { auditsOwed } from '../../src/journal/audits.ts';
import { MemoryJournal } from '../../src/journal/memory.ts';
import type { Journal } from '../../src/journal/port.ts';
import { openClaims, openLeases } from '../../src/journal/queries.ts';
import type { Claim, Learner } from '../../src/journal/state.ts';
import { openEmbeddedLedger } from '../../src/ledger/embedded.ts';
import { MemoryLedgerStorage } from '../../src/ledger/file.ts';
import type { Ledger } from '../../src/ledger/port.ts';
import { encodeFragment } from '../../src/merge/codecs/fragment-file.ts';
import { emptyFragment } from '../../src/merge/fragment-values.ts';
import type { HotkeySigner, SessionSigner } from '../../src/protocol/keys.ts';
import type { ArtifactRef } from '../../src/protocol/manifest.ts';
import type { Envelope, EventBody } from '../../src/protocol/messages.ts';
import { type Hash, learnerIdOf } from '../../src/protocol/names.ts';
import type { TraceLine } from '../../src/protocol/trace.ts';
import { connectRun, type RunClient, type RunClientOptions, type SubmitResult } from '../../src/roles/client.ts';
import { enterRun } from '../../src/roles/enter.ts';
import { TraceBook } from '../../src/roles/miner/trace-book.ts';
import { initRun, type NewRun } from '../../src/roles/orchestrator/run-init.ts';
import { Orchestrator, type OrchestratorDeps, startJournal } from '../../src/roles/orchestrator/shell.ts';
import { type RunModel, runModelOf } from '../../src/roles/run-model.ts';
import { VirtualClock } from '../../src/simulate/virtual-clock.ts';
import { MemoryStore } from '../../src/store/memory.ts';
import { hashArtifact } from '../../src/store/node-hash.ts';
import type { Store } from '../../src/store/port.ts';
import { utf8 } from '../../src/util/bytes.ts';
import { type Clock, silentLog, silentMetrics } from '../../src/util/clock.ts';
import {
  countRanges,
  normalizeRanges,
  type Range,
  subtractRanges,
  takeFromRanges,
  unionRanges,
} from '../../src/util/ranges.ts';
import { Rng } from '../../src/util/rng.ts';
import { testHotkey, testSession } from './run-fixture.ts';
import { tinyCorpus } from './tiny-corpus.ts';

const startMs = 1_700_000_000_000;
export const networkOwner = testHotkey('owner');
export const networkSyncer = testSession('syncer');

export function newTinyRun(changes: Partial<NewRun> = {}): NewRun {
  const { catalog, readFile } = tinyCorpus();
  return {
    name: 'test',
    preset: 'tiny',
    seed: '1',
    createdAtMs: startMs,
    learners: 2,
    ledger: { chainId: 'test-chain', netuid: 1 },
    owner: networkOwner,
    syncer: networkSyncer,
    catalog,
    readCatalogFile: readFile,
    store: new MemoryStore(),
    artifactOf: hashArtifact,
    ...changes,
  };
}

export interface NetworkParts {
  readonly run?: Partial<NewRun>;
  readonly ledgerStorage?: MemoryLedgerStorage;
}

export class LocalNetwork {
  readonly clock = new VirtualClock(startMs);
  readonly bus: Bus = new InProcessBus();
  readonly journal: Journal = new MemoryJournal();
  readonly store: MemoryStore;
  readonly ledger: Ledger;
  readonly first: readonly Envelope[];
  orchestrator!: Orchestrator;
  /** Releases that were asked to be written. */
  readonly written: number[] = [];
  readonly granted: ArtifactRef[] = [];
  #ending = new AbortController();
  readonly #closing = new AbortController();

  private constructor(parts: Pick<LocalNetwork, 'store' | 'ledger' | 'first'>) {
    ({ store: this.store, ledger: this.ledger, first: this.first } = parts);
  }

  /** A new run with its orchestrator up. */
  static async open(
    changes: Partial<OrchestratorDeps> = {},
    { run = {}, ledgerStorage = new MemoryLedgerStorage() }: NetworkParts = {},
  ): Promise<LocalNetwork> {
    const store = new MemoryStore();
    const first = await initRun(newTinyRun({ store, ...run }));
    let network: LocalNetwork | null = null;
    const { ledger: binding } = (first[0].body as EventBody<'run'>).manifest;
    const ledger = await openEmbeddedLedger({
      genesis: { ...binding, owner: networkOwner.hotkey, secret: 'ab'.repeat(32) as Hash, startMs },
      storage: ledgerStorage,
      clock: { nowMs: () => network?.clock.nowMs() ?? startMs },
    });
    network = new LocalNetwork({ store, ledger, first });
    await startJournal(network.journal, first, startMs);
    await network.start(changes);
    return network;
  }

  /** Starts the orchestrator (again) on the same journal, store and ledger. */
  async start(changes: Partial<OrchestratorDeps> = {}): Promise<void> {
    this.#ending = new AbortController();
    const { clock, bus, journal, store, ledger } = this;
    this.orchestrator = await Orchestrator.open({
      ...{ clock, bus, journal, store, ledger, log: silentLog, metrics: silentMetrics, signal: this.#ending.signal },
      syncer: networkSyncer,
      anchorSigner: null,
      artifactOf: hashArtifact,
      equation: nativeEquation,
      issueGrant: (artifact) => {
        this.granted.push(artifact);
        return { artifact, token: 'token', expiresAtMs: clock.nowMs() + 1_000 };
      },
      writeRelease: async (_, release) => {
        this.written.push(release);
        const file = { name: 'model.safetensors', artifact: hashArtifact(Buffer.from(`release ${release}`)) };
        return { folder: `release-${release}`, files: [file] };
      },
      ...changes,
    });
    await this.clock.quiesce();
  }

  /** Ends the orchestrator as a crash would: what it had begun is never heard of again. */
  async stop(): Promise<void> {
    this.#ending.abort(new Error('killed'));
    await this.orchestrator.close();
    await this.clock.quiesce();
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error('the test is over'));
    await this.stop();
    await this.bus.close();
    await this.ledger.close();
  }

  connect(session: SessionSigner | null, changes: Partial<RunClientOptions> = {}): Promise<RunClient> {
    const { clock, bus, store, ledger } = this;
    // One for each client, as each process has its own.
    const signal = AbortSignal.any([this.#closing.signal]);
    const options = { bus, store, ledger, clock, log: silentLog, signal, session, equation: nativeEquation };
    return connectRun({ ...options, ...changes });
  }

  async miner(label: string): Promise<LocalMiner> {
    const hotkey = testHotkey(label);
    const session = testSession(label);
    const client = await this.connect(session);
    await enterRun({ client, role: 'miner', name: label, hotkey, session, ledgerSigner: hotkey, clock: this.clock });
    const miner = new LocalMiner(this, client, hotkey, label);
    await miner.join();
    return miner;
  }

  async validator(label: string): Promise<LocalValidator> {
    const hotkey = testHotkey(label);
    const session = testSession(label);
    const client = await this.connect(session);
    await enterRun({
      client,
      role: 'validator',
      name: label,
      hotkey,
      session,
      ledgerSigner: hotkey,
      clock: this.clock,
    });
    await this.ledger.addStake(hotkey, { amountRao: 1_000_000_000 });
    return new LocalValidator(this, client, hotkey);
  }

  /** Time passes, and everybody given gives signs of life. */
  async pass(ms: number, ...alive: readonly (LocalMiner | LocalValidator)[]): Promise<void> {
    for (let left = ms; left > 0; left -= 1_000) {
      for (const each of alive) await each.beat();
      await this.clock.advance(Math.min(1_000, left));
    }
  }
}

export interface MadeClaim {
  readonly body: EventBody<'claim-commit'>;
  readonly bytes: Uint8Array;
  readonly traceBytes: Uint8Array;
}

/** Where miners and validators are: a network of tests, or of a benchmark. */
export interface Place {
  readonly clock: Clock;
  readonly store: Store;
}

export class LocalMiner {
  readonly network: Place;
  readonly client: RunClient;
  readonly hotkey: HotkeySigner;
  readonly name: string;
  readonly model: RunModel;

  constructor(network: Place, client: RunClient, hotkey: HotkeySigner, name: string) {
    this.network = network;
    this.client = client;
    this.hotkey = hotkey;
    this.name = name;
    this.model = runModelOf(client.manifest);
  }

  get record(): Learner {
    return this.client.state.learners.get(learnerIdOf(this.hotkey.hotkey, this.name))!;
  }

  async join(): Promise<SubmitResult> {
    const atMs = this.network.clock.nowMs();
    return this.client.submit('join', { atMs, threads: 1, memoryGib: 1, machineClass: 'test' });
  }

  beat(): Promise<void> {
    return this.client.heartbeat({ role: 'miner', ...pulse(this.network.clock) });
  }

  /** A claim of the newest outer step, honest in all but its numbers. */
  async make(options: { readonly norm?: number } = {}): Promise<MadeClaim> {
    const { state, manifest } = this.client;
    const wanted = manifest.sync.innerStepsPerOuterStep * manifest.recipe.batchSequences;
    if (countRanges(this.#unused()) < wanted) await this.client.requestLease();
    const { record } = this;
    const outerStep = state.nextOuterStep - 1;
    const fragment = outerStep % manifest.fragments.count;
    const leases = openLeases(state, record.id);
    const [fresh] = takeFromRanges(this.#unused(), wanted);
    const book = new TraceBook(record.traceHead, record.innerSteps);
    const every = manifest.sync.stateRootEverySteps;
    for (const line of traceLines(record.innerSteps, fresh, manifest.recipe.batchSequences)) {
      const stateRoot = (line.step + 1) % every === 0 ? hashArtifact(this.stateAfter(line.step)).root : null;
      book.add({ ...line, stateRoot, leases: leases.map(({ id }) => id) });
    }
    const trace = book.interval();
    const from = record.claimedThrough[fragment]!;
    const known = record.segments.filter(({ lines }) => lines[1] > from).flatMap(({ sequences }) => sequences);
    const bytes = this.#encode(fragment, outerStep, options.norm ?? 1);
    return {
      bytes,
      traceBytes: trace.bytes,
      body: {
        outerStep,
        fragment,
        baseVersion: state.fragments[fragment]!.version,
        steps: [from, trace.claim.lines[1]],
        phase: state.phase,
        sequences: unionRanges(normalizeRanges(known), fresh),
        artifact: hashArtifact(bytes),
        trace: trace.claim,
      },
    };
  }

  /** Stands for its whole state after a step. */
  stateAfter(step: number): Uint8Array {
    return utf8(`state of ${this.name} after step ${step}`);
  }

  /** Shows the states that its open audits ask for. */
  async answerAudits(): Promise<void> {
    const { state } = this.client;
    for (const audit of [...state.openAudits].map((id) => state.audits.get(id)!)) {
      if (audit.learner !== this.record.id || audit.status !== 'open') continue;
      const [from, to] = audit.body.steps;
      const states = [audit.isFirst ? null : this.stateAfter(from - 1), this.stateAfter(to - 1)];
      for (const bytes of states) if (bytes !== null) await this.network.store.put(hashArtifact(bytes), bytes);
      const [start, end] = states.map((bytes) => (bytes === null ? null : hashArtifact(bytes)));
      await this.client.submit('audit-answer', { audit: audit.id, start: start!, end: end! });
    }
  }

  /** What its open leases still hold. */
  #unused(): Range[] {
    const leases = openLeases(this.client.state, this.record.id);
    return normalizeRanges(leases.flatMap(({ range, covered }) => subtractRanges([range], covered)));
  }

  #encode(id: number, outerStep: number, norm: number): Uint8Array {
    const fragment = this.model.plan.fragments[id]!;
    const rng = new Rng(`${this.name} ${outerStep}`);
    const values = emptyFragment(fragment);
    values.params.set(values.params.map(() => (norm * rng.normal()) / Math.sqrt(fragment.elementCount)));
    return encodeFragment(this.client.manifest.codec, fragment, values).bytes;
  }

  commit({ body }: MadeClaim): Promise<SubmitResult> {
    return this.client.submit('claim-commit', body);
  }

  async upload({ body, bytes, traceBytes }: MadeClaim): Promise<void> {
    const store: Store = this.network.store;
    const grant = await this.client.requestGrant(body.artifact, 'claim', bytes);
    await store.put(body.artifact, bytes, { grant });
    const traceGrant = await this.client.requestGrant(body.trace.artifact, 'trace', traceBytes);
    await store.put(body.trace.artifact, traceBytes, { grant: traceGrant });
  }

  reveal(claim: Hash): Promise<SubmitResult> {
    return this.client.submit('claim-reveal', { claim });
  }

  /** From lease to reveal. */
  async claim(): Promise<Hash> {
    const made = await this.make();
    const { id, outcome, code, sentence } = await this.commit(made);
    if (outcome !== 'accept') throw new Error(`a claim was refused: ${code} ${sentence}`);
    await this.upload(made);
    await this.reveal(id);
    return id;
  }
}

/** Lines of whole batches, each the next `batch` sequences. */
function traceLines(firstStep: number, fresh: readonly Range[], batch: number): Omit<TraceLine, 'leases'>[] {
  const lines: Omit<TraceLine, 'leases'>[] = [];
  for (let rest = fresh; rest.length > 0; ) {
    const [taken, left] = takeFromRanges(rest, batch);
    const step = firstStep + lines.length;
    const numbers = { scheduleTokens: 0, learningRate: '0.001' as TraceLine['learningRate'] };
    lines.push({ step, sequences: taken, ...numbers, start: null, takenIn: [], claimed: [], stateRoot: null });
    rest = left;
  }
  return lines;
}

const pulse = (clock: Clock) => ({
  innerSteps: 0,
  loss: null,
  tokensPerSecond: null,
  rssBytes: 0,
  atMs: clock.nowMs(),
});

export class LocalValidator {
  readonly network: Place;
  readonly client: RunClient;
  readonly hotkey: HotkeySigner;

  constructor(network: Place, client: RunClient, hotkey: HotkeySigner) {
    this.network = network;
    this.client = client;
    this.hotkey = hotkey;
  }

  beat(): Promise<void> {
    return this.client.heartbeat({ role: 'validator', ...pulse(this.network.clock) });
  }

  /** Claims that wait for this validator. */
  owed(): Claim[] {
    return openClaims(this.client.state).filter(
      (claim) => claim.status === 'revealed' && claim.beacon!.committee.includes(this.hotkey.hotkey),
    );
  }

  async acceptAll(): Promise<void> {
    for (const { id } of this.owed())
      await this.client.submit('verdict', {
        ...{
          claim: id,
          round: 'committee',
          outcome: 'accept',
          code: 'OK',
          sentence: '',
          measurements: {},
          details: null,
          accused: [],
        },
      });
  }
}

/** Every audit that waits for the validator passes. */
export async function passAudits({ client, hotkey }: LocalValidator): Promise<void> {
  for (const { id } of auditsOwed(client.state, hotkey.hotkey)) {
    const body = { audit: id, outcome: 'pass', code: 'OK', sentence: '', measurements: {} } as const;
    await client.submit('audit-verdict', body);
  }
}

export interface RunningNetwork {
  readonly network: LocalNetwork;
  readonly a: LocalMiner;
  readonly b: LocalMiner;
  readonly validators: readonly LocalValidator[];
  /** Both miners claim the open outer step; validators accept; the merge is begun. */
  round(): Promise<void>;
}

/** A network with two miners and two validators that are known by their heartbeats. */
export async function openRunning(
  changes: Partial<OrchestratorDeps> = {},
  parts: NetworkParts = {},
): Promise<RunningNetwork> {
  const network = await LocalNetwork.open(changes, parts);
  const [a, b] = [await network.miner('a'), await network.miner('b')];
  const validators = [await network.validator('v'), await network.validator('w')];
  await network.pass(3_000, a, b, ...validators);
  const round = async (): Promise<void> => {
    for (const miner of [a, b]) await miner.claim();
    await network.pass(1_000, a, b, ...validators);
    for (const validator of validators) await validator.acceptAll();
  };
  return { network, a, b, validators, round };
}

/** A store that takes everything and never gives anything back. */
export function unreadable(store: Store): Store {
  return {
    put: (...args) => store.put(...args),
    stat: (root) => store.stat(root),
    remove: (root) => store.remove(root),
    get: () => new Promise<never>(() => {}),
  };
}
