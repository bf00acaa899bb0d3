/**
 * @file A whole fleet on a virtual clock: the real steps of syncer, miners and validators over the real fold, with a model in the
 * place of training and sizes in the place of bytes. One seed gives one journal, byte for byte.
 */

import { tempoAt } from '../../journal/queries.ts';
import { forgetOver } from '../../journal/segment-hash.ts';
import type { Ed25519Equation } from '../../protocol/ed25519.ts';
import type { RunManifest } from '../../protocol/manifest.ts';
import type { EventBody } from '../../protocol/messages.ts';
import { type Hash, type Hotkey, type LearnerId, learnerIdOf } from '../../protocol/names.ts';
import type { OpenedEntry } from '../../protocol/signing.ts';
import { batchTermsOf } from '../../roles/learner/schedule-position.ts';
import type { MinerRules } from '../../roles/miner/events.ts';
import { minerRulesOf } from '../../roles/miner/shell.ts';
import { assert } from '../../util/errors.ts';
import { Rng } from '../../util/rng.ts';
import { AttackedFleet } from './attacked-fleet.ts';
import { EventQueue } from './event-queue.ts';
import { type FaultCounts, liveThrough, noFaults, troubleSites } from './faults.ts';
import type { FleetAttack } from './fleet-attacks.ts';
import { type FleetFault, type FleetFaultKind, type Life, scheduleFaults } from './fleet-chaos.ts';
import { type Fleet, type MachineKind, speedOf } from './fleet-file.ts';
import { FleetJournal } from './fleet-journal.ts';
import { hotkeyOf, type SignatureMode, type SimulatedHotkey, type SimulatedSession, sessionOf } from './fleet-keys.ts';
import { FleetLedger } from './fleet-ledger.ts';
import { FleetMiner } from './fleet-miner.ts';
import { FleetSyncer } from './fleet-syncer.ts';
import { FleetValidator } from './fleet-validator.ts';
import { Machine, Site } from './machine.ts';
import { Pulses } from './pulses.ts';
import { syntheticManifest } from './run-manifest.ts';
import { type FleetSizes, sizesOf } from './sizes.ts';
import { SyntheticRoots } from './synthetic-roots.ts';

export interface FleetRunOptions {
  readonly fleet: Fleet;
  readonly hours: number;
  readonly seed: string;
  readonly mode: SignatureMode;
  readonly equation: Ed25519Equation;
  /** Of this many machines of each kind, the first does not do what it claims. */
  readonly freeloaders?: number;
  /** What a share of the machines' owners does instead. */
  readonly attack?: { readonly attack: FleetAttack; readonly share: number };
  /** Faults beside those of the fleet's file. */
  readonly chaos?: readonly FleetFault[];
  readonly tickMs?: number;
  /** Keeps claims that are over in memory, for who asks for them; so does a run that is attacked. */
  readonly keepsClaims?: boolean;
  readonly onLine?: (line: string) => void;
  readonly onHour?: (hour: number) => void;
}

/** One point of the curves that a result is drawn from. */
export interface Sample {
  readonly hour: number;
  readonly mergedTokens: number;
  readonly doneTokens: number;
  readonly up: number;
  readonly training: number;
  readonly events: number;
}

export const startMs = 1_700_000_000_000;
const ownerOf = (kind: MachineKind, index: number): number => Math.floor(index / kind.learnersPerHotkey);
const hourMs = 3_600_000;
const sampleMs = 600_000;
const watchMs = 1_000;
const partMs = 10_000;
const validatorTickMs = 5_000;
const stakeRao = 1_000_000_000;
const tenYears = 10 * 365 * 86_400_000;

export class FleetRun {
  readonly queue = new EventQueue(startMs);
  readonly journal: FleetJournal;
  readonly manifest: RunManifest;
  readonly sizes: FleetSizes;
  readonly ledger = new FleetLedger();
  readonly miners: FleetMiner[] = [];
  readonly validators: FleetValidator[] = [];
  readonly counts: FaultCounts = noFaults();
  readonly chaosCounts = new Map<FleetFaultKind, number>();
  readonly samples: Sample[] = [];
  /** By tempo of the journal, what each hotkey truly did in it. */
  readonly doneByTempo: Map<Hotkey, number>[] = [];
  readonly stepsByTempo: Map<Hotkey, number>[] = [];
  /** Virtual time in which somebody trained, in seconds, of all that passed. */
  readonly watched = { seconds: 0, withTraining: 0 };
  journalBytes = 0;
  doneTokens = 0;
  readonly attacked: AttackedFleet | null;
  readonly #options: FleetRunOptions;
  readonly #syncer: FleetSyncer;
  readonly #rules: MinerRules;
  readonly #lives: Life[] = [];
  readonly #ofLearner = new Map<LearnerId, FleetMiner>();
  readonly #ofHotkey = new Map<Hotkey, FleetValidator>();
  readonly #sites = new Map<string, { readonly site: Site; readonly miners: FleetMiner[] }>();
  readonly #learnersSeen: Pulses<LearnerId>;
  readonly #roots: SyntheticRoots;

  constructor(options: FleetRunOptions) {
    const { fleet, seed, mode, equation } = options;
    this.#options = options;
    const owner = hotkeyOf('owner', mode);
    const syncer = sessionOf('syncer', mode);
    const learners = fleet.machines.reduce((sum, { count }) => sum + count, 0);
    this.manifest = syntheticManifest({
      ...{ preset: fleet.run.preset ?? 'tiny', overrides: fleet.run, owner: owner.hotkey, seed, learners },
      createdAtMs: startMs,
    });
    this.sizes = sizesOf(this.manifest);
    this.#roots = new SyntheticRoots(seed);
    this.journal = new FleetJournal({
      ...{ queue: this.queue, mode, equation, manifest: this.manifest },
      onBytes: (bytes) => {
        this.journalBytes += bytes;
      },
      ...(options.onLine === undefined ? {} : { onLine: options.onLine }),
    });
    const { sizes } = this;
    this.attacked =
      options.attack === undefined
        ? null
        : new AttackedFleet({
            ...options.attack,
            fleet,
            hours: options.hours,
            seed,
            run: this.journal.run,
            sizes,
            roots: this.#roots,
          });
    // Before the syncer's: its own events follow from an entry that all others have seen.
    this.journal.onEntry((opened) => this.#route(opened));
    this.#open(owner, syncer);
    this.#learnersSeen = new Pulses<LearnerId>(
      (id) => this.#ofLearner.get(id)?.isUp === true,
      () => this.queue.nowMs,
    );
    const validatorKeys = Array.from({ length: fleet.validators.count }, (_, i) => hotkeyOf(`validator-${i}`, mode));
    this.#syncer = new FleetSyncer({
      ...{ queue: this.queue, journal: this.journal, session: syncer, seed, sizes: this.sizes, roots: this.#roots },
      tickMs: options.tickMs ?? 1_000,
      mergeBytesPerSecond: fleet.mergeBytesPerSecond,
      learnersSeen: this.#learnersSeen,
      validatorsSeen: new Pulses<Hotkey>(
        () => true,
        () => this.queue.nowMs,
      ),
      stakeRao: new Map(validatorKeys.map(({ hotkey }) => [hotkey, stakeRao])),
    });
    this.#rules = minerRulesOf(this.manifest);
    this.#addMachines();
    for (const [i, hotkey] of validatorKeys.entries()) this.#addValidator(hotkey, i);
  }

  /** The first two entries: the run, and who leads it. */
  #open(owner: SimulatedHotkey, syncer: SimulatedSession): void {
    const start = this.sizes.fragmentBytes.map((bytes) => this.#roots.next(bytes));
    this.journal.submit(owner, 'run', { manifest: this.manifest, start });
    const body = { hotkey: owner.hotkey, role: 'syncer' as const, name: 'syncer', sessionKey: syncer.sessionKey };
    this.journal.submit(owner, 'delegate', { ...body, issuedAtMs: startMs, expiresAtMs: startMs + tenYears });
    assert(this.journal.run.size === 2, `the run did not begin: ${JSON.stringify([...this.journal.refusals])}`);
  }

  #addMachines(): void {
    const { fleet, seed } = this.#options;
    for (const kind of fleet.machines) {
      const rng = new Rng(`machines ${seed} ${kind.kind}`);
      const middle = speedOf(kind, this.sizes.activeParameters);
      for (let index = 0; index < kind.count; index++) {
        // The whole spread, however few there are: from the slowest to the fastest by their index.
        const place = kind.count === 1 ? 0.5 : index / (kind.count - 1);
        const tokensPerSecond = middle * kind.spread ** (place - 0.5);
        const { kind: own, parts } = this.attacked?.split(kind, ownerOf(kind, index)) ?? { kind, parts: 1 };
        for (let part = 0; part < parts; part++)
          this.#addMachine({ kind: own, label: kind.kind, index, part, rng, tokensPerSecond: tokensPerSecond / parts });
      }
    }
    const sites = new Map([...this.#sites.values()].map(({ site, miners }) => [site, miners]));
    const { queue, counts } = this;
    troubleSites(sites, { queue, faults: fleet.faults, seed, counts });
    scheduleFaults(this.#options.chaos ?? [], { queue, startMs, lives: this.#lives, sites, counts: this.chaosCounts });
  }

  /** `part`: of a machine that an attacker splits among hotkeys. */
  #addMachine(options: {
    readonly kind: MachineKind;
    readonly label: string;
    readonly index: number;
    readonly part: number;
    readonly rng: Rng;
    readonly tokensPerSecond: number;
  }): void {
    const { kind, label, index, part, rng, tokensPerSecond } = options;
    const { seed, mode, freeloaders = 0 } = this.#options;
    const { queue, attacked } = this;
    const owner = ownerOf(kind, index);
    const hotkey = hotkeyOf(`${label}-${owner}${part === 0 ? '' : `-part-${part}`}`, mode);
    const name = `learner-${index}`;
    const id = learnerIdOf(hotkey.hotkey, name);
    const { site, miners } = this.#siteOf(kind.site);
    const isAttacker = attacked?.isAttacker(label, owner) === true;
    const miner = new FleetMiner({
      ...{ name, hotkey, rules: this.#rules, queue, journal: this.journal, syncer: this.#syncer },
      session: sessionOf(id, mode),
      machine: new Machine({ kind, site, tokensPerSecond, queue, rng }),
      ...{ sizes: this.sizes, roots: this.#roots },
      isFreeloader: owner < freeloaders,
      ...(attacked === null ? {} : { work: attacked.workOf(id, hotkey.hotkey, isAttacker) }),
      onTokens: (tokens) => this.#count(hotkey.hotkey, tokens),
      onSilence: (learner) => this.#learnersSeen.ends(learner),
    });
    miners.push(miner);
    this.miners.push(miner);
    this.#ofLearner.set(id, miner);
    this.#lives.push({ miner, come: liveThrough(miner, { queue, startMs, index, seed, counts: this.counts }) });
  }

  #siteOf(name: string): { readonly site: Site; readonly miners: FleetMiner[] } {
    const found = this.#sites.get(name);
    if (found !== undefined) return found;
    const made = { site: new Site(name), miners: [] };
    this.#sites.set(name, made);
    return made;
  }

  #addValidator(hotkey: SimulatedHotkey, index: number): void {
    const { fleet, mode } = this.#options;
    const name = `validator-${index}`;
    const session = sessionOf(name, mode);
    const speeds = this.miners.map(({ options }) => options.machine.tokensPerSecond).sort((a, b) => a - b);
    const body = { hotkey: hotkey.hotkey, role: 'validator' as const, name, sessionKey: session.sessionKey };
    this.journal.submit(hotkey, 'delegate', { ...body, issuedAtMs: startMs, expiresAtMs: startMs + tenYears });
    this.journal.submit(session, 'serve', { atMs: startMs, threads: 1, machineClass: 'simulated' });
    const freeloaders = new Set(
      this.miners.filter(({ options }) => options.isFreeloader).map(({ options }) => options.hotkey.hotkey),
    );
    const validator = new FleetValidator({
      ...{ hotkey, session, queue: this.queue, journal: this.journal, sizes: this.sizes },
      tokensPerSecond: fleet.validators.tokensPerSecond ?? speeds[speeds.length >> 1]!,
      checkMs: 1_000 * fleet.validators.checkSeconds,
      isFreeloader: (miner) => freeloaders.has(miner),
      ...(this.attacked === null ? {} : { judging: this.attacked.judgingOf(hotkey.hotkey, index) }),
      setWeights: (weights) => this.ledger.setWeights(weights),
      block: () => this.#block,
    });
    this.validators.push(validator);
    this.#ofHotkey.set(hotkey.hotkey, validator);
  }

  get #block(): number {
    return Math.floor((this.queue.nowMs - startMs) / this.manifest.ledger.blockMs);
  }

  /** Until the hours are over. */
  run(): void {
    for (const _ of this.steps());
  }

  /** As `run`, in small parts of virtual time: between them others have their turn. */
  *steps(): Generator<void> {
    const { hours, onHour } = this.#options;
    this.#syncer.start();
    this.#every(sampleMs, () => this.#sample());
    this.#every(watchMs, () => this.#watch());
    for (const validator of this.validators) this.#every(validatorTickMs, () => validator.tick());
    const { tempoBlocks, blockMs } = this.manifest.ledger;
    let epoch = 0;
    this.#every(tempoBlocks * blockMs, () => {
      epoch++;
      this.attacked?.onEpoch(epoch, this.miners);
      this.ledger.pay(epoch, this.queue.nowMs);
    });
    for (let hour = 1; hour <= Math.ceil(hours); hour++) {
      const endMs = startMs + Math.min(hour, hours) * hourMs;
      while (this.queue.nowMs < endMs) {
        this.queue.run(Math.min(endMs, this.queue.nowMs + partMs));
        yield;
      }
      onHour?.(hour);
    }
    this.#sample();
    for (const miner of this.miners) miner.settle();
  }

  #every(ms: number, action: () => void): void {
    this.queue.after(ms, () => {
      action();
      this.#every(ms, action);
    });
  }

  #watch(): void {
    this.watched.seconds++;
    if (this.miners.some((miner) => miner.isTraining)) this.watched.withTraining++;
  }

  #sample(): void {
    const { run } = this.journal;
    this.samples.push({
      hour: (this.queue.nowMs - startMs) / hourMs,
      mergedTokens: run.cellTokens / this.manifest.fragments.count,
      doneTokens: this.doneTokens,
      up: this.miners.filter((miner) => miner.isUp).length,
      training: this.miners.filter((miner) => miner.isTraining).length,
      events: run.size,
    });
  }

  #count(hotkey: Hotkey, tokens: number): void {
    this.doneTokens += tokens;
    const tempo = tempoAt(this.manifest.ledger, this.#block);
    const done = (this.doneByTempo[tempo] ??= new Map());
    done.set(hotkey, (done.get(hotkey) ?? 0) + tokens);
    const steps = (this.stepsByTempo[tempo] ??= new Map());
    steps.set(hotkey, (steps.get(hotkey) ?? 0) + 1);
  }

  /** Tells each entry to whom it concerns. */
  #route({ message: { kind, body } }: OpenedEntry) {
    switch (kind) {
      case 'tempo':
        if (this.attacked === null && this.#options.keepsClaims !== true) forgetOver(this.journal.run);
        return;
      case 'lease': {
        const { lease, hotkey, name, phase, range, scheduleTokens } = body as EventBody<'lease'>;
        const miner = this.#ofLearner.get(learnerIdOf(hotkey, name));
        const batch = batchTermsOf(this.manifest, phase);
        return miner?.dispatch({ kind: 'lease-granted', lease: { lease, phase, range, scheduleTokens, batch } });
      }
      case 'lease-return': {
        const { lease } = body as EventBody<'lease-return'>;
        const holder = this.journal.run.leases.get(lease)!.learner;
        return this.#ofLearner.get(holder)?.dispatch({ kind: 'lease-ended', lease });
      }
      case 'fragment-due': {
        const { outerStep, fragment } = body as EventBody<'fragment-due'>;
        return this.#tellMiners((miner) => miner.dispatch({ kind, outerStep, fragment }));
      }
      case 'fragment-published': {
        const { fragment, version, artifact } = body as EventBody<'fragment-published'>;
        return this.#tellMiners((miner) => miner.dispatch({ kind, fragment, version, artifact }));
      }
      case 'claim-void':
        return this.#minerOf((body as EventBody<'claim-void'>).claim)?.onVoid((body as EventBody<'claim-void'>).claim);
      case 'claim-beacon':
      case 'claim-reveal':
        return this.#tellCommittee((body as EventBody<'claim-beacon'>).claim);
      case 'audit-challenge': {
        const { audit, hotkey, name } = body as EventBody<'audit-challenge'>;
        const answersStart = !this.journal.run.audits.get(audit)!.isFirst;
        return this.#ofLearner.get(learnerIdOf(hotkey, name))?.onAudit({ audit, answersStart });
      }
      case 'audit-answer':
      case 'audit-verdict': {
        const { committee } = this.journal.run.audits.get((body as EventBody<'audit-answer'>).audit)!.body;
        return this.#tellValidators(committee);
      }
      default:
    }
  }

  /** Whoever is cut off hears of it when it is over. */
  #tellMiners(tell: (miner: FleetMiner) => void): void {
    for (const miner of this.miners) {
      if (miner.isUp) tell(miner);
      else if (miner.isJoined) this.queue.at(miner.options.machine.site.cutUntilMs, () => tell(miner));
    }
  }

  #minerOf(claim: Hash): FleetMiner | undefined {
    return this.#ofLearner.get(this.journal.run.claims.get(claim)!.learner);
  }

  #tellCommittee(id: Hash): void {
    const claim = this.journal.run.claims.get(id)!;
    if (claim.status === 'revealed') this.#tellValidators(claim.beacon!.committee);
  }

  /** After the entry is folded everywhere. */
  #tellValidators(hotkeys: readonly Hotkey[]): void {
    for (const hotkey of hotkeys) {
      const validator = this.#ofHotkey.get(hotkey);
      if (validator !== undefined) this.queue.after(0, () => validator.dispatch({ kind: 'journaled' }));
    }
  }
}
