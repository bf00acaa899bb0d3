/**
 * @file A long journal of a run with many miners, made quickly and without training: every entry is signed and admitted by
 * the fold, artifacts are names without bytes. Same options, same journal. For what reads journals, and how fast it does.
 */
import { createPrivateKey, sign } from 'node:crypto';
import { drawForClaim } from '../../src/journal/claims.ts';
import { admit, applyEvent, proposeMerge, segmentHash, treeHeadOf } from '../../src/journal/fold.ts';
import { duePhaseChange } from '../../src/journal/phases.ts';
import { countedTokens, isReleaseDue, mergesInSegment, openLeases } from '../../src/journal/queries.ts';
import { emptyState, type Learner, type RunState } from '../../src/journal/state.ts';
import { ed25519PublicKey } from '../../src/protocol/ed25519.ts';
import { hashOfText, runIdOf } from '../../src/protocol/hash.ts';
import {
  type HotkeySigner,
  hotkeyFromSeed,
  parseSigner,
  type SessionSigner,
  type Signer,
} from '../../src/protocol/keys.ts';
import { manifestSchema, type RunManifest } from '../../src/protocol/manifest.ts';
import type { EventBody, EventKind, JournalEntry } from '../../src/protocol/messages.ts';
import {
  type Hash,
  type Hotkey,
  type LearnerId,
  learnerIdOf,
  type SessionKey,
  toDecimal,
} from '../../src/protocol/names.ts';
import { messageId, type OpenedEntry, type OpenedMessage, signedBytes } from '../../src/protocol/signing.ts';
import { toHex } from '../../src/util/bytes.ts';
import { normalizeRanges, type Range, subtractRanges, takeFromRanges, unionRanges } from '../../src/util/ranges.ts';
import { Rng } from '../../src/util/rng.ts';
import { auditHotkey, type CheckedRun, judgeClaim, recheckClaims } from './large-journal-checks.ts';
import { testArtifact, testManifest } from './run-fixture.ts';

export interface LargeJournalOptions {
  /** Entries, at least: the outer step that is open then is finished. */
  readonly events: number;
  /** Default 256. */
  readonly miners?: number;
  /** Default 8. */
  readonly validators?: number;
  readonly seed?: string;
}

export interface LargeJournal {
  readonly entries: readonly JournalEntry[];
  /** The fold of all entries. */
  readonly state: RunState;
}

interface Member {
  readonly hotkey: HotkeySigner;
  readonly name: string;
  readonly session: SessionSigner;
}

const fragmentCount = 8;
/** Learners that claim in one outer step. */
const cohort = 31;
const claimSteps = 2;
const batchSequences = 2;
const sequenceLength = 512;
const outerStepMs = 45_000;
const outerStepsPerTempo = 16;
/** DER of PKCS #8 for Ed25519 (RFC 8410), up to the 32 key bytes. */
const pkcs8Prefix = Buffer.from('302e020100300506032b657004220420', 'hex');
const startMs = 1_700_000_000_000;

export function makeLargeJournal(options: LargeJournalOptions): LargeJournal {
  const maker = new JournalMaker(options);
  while (maker.entries.length < options.events) maker.outerStep();
  return { entries: maker.entries, state: maker.state };
}

/** OpenSSL signs twenty times faster than pure JavaScript. */
function nativeSession(label: string): SessionSigner {
  const seed = Buffer.from(hashOfText(label), 'hex');
  const key = createPrivateKey({ key: Buffer.concat([pkcs8Prefix, seed]), format: 'der', type: 'pkcs8' });
  const sessionKey = toHex(ed25519PublicKey(seed)) as SessionKey;
  return { sessionKey, signer: `ed25519:${sessionKey}`, sign: (bytes) => new Uint8Array(sign(null, bytes, key)) };
}

function manifestFor({ events }: LargeJournalOptions, owner: Hotkey): RunManifest {
  const base = testManifest();
  // About six and a half events a claim; the run passes into its second phase halfway.
  const tokens = (events / 6.5) * claimSteps * batchSequences * sequenceLength;
  const phase = { ...base.phases[0]!, sequenceLength, targetTokens: Math.max(1, Math.floor(tokens / 3)) };
  return manifestSchema.parse({
    ...base,
    name: 'large',
    owner,
    createdAtMs: startMs,
    phases: [
      { ...phase, name: 'base' },
      { ...phase, name: 'long', targetTokens: Math.max(1, Math.floor(tokens)) },
    ],
    recipe: { ...base.recipe, batchSequences },
    fragments: { count: fragmentCount },
    sync: {
      ...base.sync,
      innerStepsPerOuterStep: claimSteps,
      maxStaleness: 3,
      deadlineMs: outerStepMs * 2,
      leaseSequences: claimSteps * batchSequences * 4,
      leaseMs: outerStepMs * 10_000,
      stateRootEverySteps: claimSteps,
    },
    evaluation: { ...base.evaluation, recheckShare: '0.05' },
    audit: { ...base.audit, perTempo: 1, window: 8, answerMs: 60_000 },
    ledger: { ...base.ledger, tempoBlocks: 360, blockMs: 2_000 },
    release: { everyMerges: 2, keepReleases: 3, attestations: 1 },
  });
}

class JournalMaker implements CheckedRun {
  readonly state = emptyState();
  readonly entries: JournalEntry[] = [];
  readonly rng: Rng;
  readonly #manifest: RunManifest;
  readonly #binding: { readonly chainId: string; readonly netuid: number; readonly run: Hash; readonly seenHead: null };
  readonly #syncer = nativeSession('large syncer');
  readonly #miners: Member[] = [];
  readonly #validators: Member[] = [];
  readonly #byHotkey = new Map<Hotkey, Member>();
  readonly #byLearner = new Map<LearnerId, Member>();
  readonly #allMiners: number;
  nowMs = startMs;
  block = 100;
  #turn = 0;
  #outerSteps = 0;

  constructor(options: LargeJournalOptions) {
    const { miners = 256, validators = 8, seed = 'large', events } = options;
    this.rng = new Rng(seed);
    this.#allMiners = miners;
    const owner = hotkeyFromSeed(Buffer.from(hashOfText(`${seed} owner`), 'hex'), 'ed25519');
    this.#manifest = manifestFor({ events }, owner.hotkey);
    const { chainId, netuid } = this.#manifest.ledger;
    this.#binding = { chainId, netuid, run: runIdOf(this.#manifest), seenHead: null };
    const start = Array.from({ length: fragmentCount }, (_, i) => testArtifact(`large start ${i}`, 4_000_000));
    this.must('run', { manifest: this.#manifest, start }, owner);
    this.#delegate({ hotkey: owner, name: 'syncer', session: this.#syncer }, 'syncer');
    for (let i = 0; i < validators; i++) this.#addValidator(`${seed} v${i}`, i);
    this.#release();
    for (let i = 0; i < Math.max(1, Math.min(miners, 32)); i++) this.#addMiner();
  }

  /** From `fragment-due` to `fragment-published`, and what falls due with it. */
  outerStep(): void {
    const outerStep = this.state.nextOuterStep;
    const fragment = outerStep % fragmentCount;
    this.pass(200);
    if (this.#outerSteps % outerStepsPerTempo === 0) this.#tempo();
    for (let i = 0; i < 4 && this.#miners.length < this.#allMiners; i++) this.#addMiner();
    if (this.rng.uniform() < 0.2) this.#leaveAndJoin();
    this.must('fragment-due', { outerStep, fragment, deadlineMs: this.nowMs + outerStepMs * 2 });
    const claims = this.#cohort().flatMap((member) => this.#commit(member, outerStep, fragment) ?? []);
    this.block += 3;
    for (const claim of claims) this.#beaconAndReveal(claim);
    this.pass(outerStepMs / 3);
    for (const claim of claims) judgeClaim(this, claim);
    this.#merge(outerStep, fragment);
    recheckClaims(this);
    for (const hotkey of new Set(claims.map((claim) => this.state.claims.get(claim)!.hotkey)))
      auditHotkey(this, hotkey);
    this.#milestones();
    this.#outerSteps++;
    this.block += Math.floor(outerStepMs / 2_000);
  }

  readonly pass = (ms: number): void => {
    this.nowMs += Math.floor(ms * (0.8 + 0.4 * this.rng.uniform()));
  };

  readonly validatorOf = (hotkey: Hotkey): SessionSigner => this.#byHotkey.get(hotkey)!.session;
  readonly learnerOf = (learner: LearnerId): SessionSigner => this.#byLearner.get(learner)!.session;

  get candidates() {
    return this.#validators.map(({ hotkey }, i) => ({ hotkey: hotkey.hotkey, stakeRao: 1e9 * (i + 2) }));
  }

  #cohort(): Member[] {
    const size = Math.min(cohort, this.#miners.length);
    return Array.from({ length: size }, () => this.#miners[this.#turn++ % this.#miners.length]!);
  }

  #addMiner(): void {
    const i = this.#miners.length;
    const hotkey = hotkeyFromSeed(Buffer.from(hashOfText(`large miner ${i}`), 'hex'), 'ed25519');
    const member = { hotkey, name: `m${i}`, session: nativeSession(`large session ${i}`) };
    this.#delegate(member, 'miner');
    this.#join(member);
    this.#miners.push(member);
    this.#byLearner.set(learnerIdOf(hotkey.hotkey, member.name), member);
  }

  #addValidator(label: string, i: number): void {
    const hotkey = hotkeyFromSeed(Buffer.from(hashOfText(label), 'hex'), 'ed25519');
    const member = { hotkey, name: `v${i}`, session: nativeSession(`${label} session`) };
    this.#delegate(member, 'validator');
    this.must('serve', { atMs: this.nowMs, threads: 8, machineClass: 'x64-native' }, member.session);
    this.#validators.push(member);
    this.#validators.sort((a, b) => (a.hotkey.hotkey < b.hotkey.hotkey ? -1 : 1));
    this.#byHotkey.set(hotkey.hotkey, member);
  }

  #delegate({ hotkey, name, session }: Member, role: 'syncer' | 'miner' | 'validator'): void {
    const times = { issuedAtMs: this.nowMs, expiresAtMs: this.nowMs + 1e12 };
    this.must('delegate', { hotkey: hotkey.hotkey, role, name, sessionKey: session.sessionKey, ...times }, hotkey);
  }

  #join({ session }: Member): void {
    const threads = 2 ** Math.floor(1 + 5 * this.rng.uniform());
    this.must('join', { atMs: this.nowMs, threads, memoryGib: threads * 4, machineClass: 'x64-native' }, session);
  }

  #leaveAndJoin(): void {
    const member = this.#miners[Math.floor(this.rng.uniform() * this.#miners.length)]!;
    this.pass(500); // it may have come this very moment
    this.must('leave', { atMs: this.nowMs }, member.session);
    for (const { id } of openLeases(this.state, learnerIdOf(member.hotkey.hotkey, member.name)))
      this.must('lease-return', { lease: id, reason: 'left' });
    this.pass(500);
    this.#join(member);
  }

  #lease(member: Member): void {
    const { nextLease: lease, phase } = this.state;
    const { leaseSequences, leaseMs } = this.#manifest.sync;
    const [taken] = takeFromRanges(this.state.pool[phase]!, leaseSequences);
    const from = this.state.cursor[phase]!;
    const range: Range = taken[0] ?? [from, from + leaseSequences];
    this.must('lease', {
      ...{ lease, hotkey: member.hotkey.hotkey, name: member.name, phase, range },
      scheduleTokens: [0, 10],
      deadlineMs: this.nowMs + leaseMs,
    });
  }

  #fresh(learner: Learner): readonly Range[] {
    const free = openLeases(this.state, learner.id)
      .filter(({ phase }) => phase === this.state.phase)
      .flatMap((lease) => subtractRanges([lease.range], lease.covered));
    return takeFromRanges(normalizeRanges(free), claimSteps * batchSequences)[0];
  }

  /** The claim's id. */
  #commit(member: Member, outerStep: number, fragment: number): Hash | null {
    const learner = this.state.learners.get(learnerIdOf(member.hotkey.hotkey, member.name))!;
    if (this.#fresh(learner).length === 0) this.#lease(member);
    const fresh = this.#fresh(learner);
    const { phase } = this.state;
    const from = learner.claimedThrough[fragment]!;
    const to = learner.innerSteps + claimSteps;
    const known = learner.segments
      .filter((segment) => segment.lines[1] > from && segment.phase === phase)
      .flatMap((segment) => segment.sequences);
    const label = `${member.name} ${to}`;
    this.pass(30);
    return this.must(
      'claim-commit',
      {
        ...{ outerStep, fragment, phase, steps: [from, to] },
        baseVersion: Math.max(0, this.state.fragments[fragment]!.version - (this.rng.uniform() < 0.15 ? 1 : 0)),
        sequences: unionRanges(normalizeRanges(known), fresh),
        artifact: testArtifact(`artifact ${label}`, 1_000_000),
        trace: {
          artifact: testArtifact(`trace ${label}`, 2_000),
          lines: [learner.innerSteps, to],
          previousHead: learner.traceHead,
          head: hashOfText(`head ${label}`),
        },
      },
      member.session,
    );
  }

  #beaconAndReveal(id: Hash): void {
    const claim = this.state.claims.get(id)!;
    const blockHash = hashOfText(`large block ${this.block}`);
    const { candidates } = this;
    const drawn = drawForClaim(this.state, claim, { blockHash, candidates });
    this.pass(20);
    this.must('claim-beacon', {
      claim: id,
      commitBlock: this.block - 2,
      block: this.block,
      blockHash,
      candidates,
      ...drawn,
    });
    this.pass(100);
    this.must('claim-reveal', { claim: id }, this.#byLearner.get(claim.learner)!.session);
  }

  #merge(outerStep: number, fragment: number): void {
    this.pass(outerStepMs / 2);
    const merge = proposeMerge(this.state, outerStep);
    if (merge.claims.length === 0) {
      this.nowMs += outerStepMs * 3;
      return;
    }
    this.must('merge', merge);
    this.pass(900);
    const version = merge.fromVersion + 1;
    this.must('fragment-published', {
      ...{ outerStep, fragment, version },
      artifact: testArtifact(`large fragment ${fragment} ${version}`, 4_000_000),
      momentum: testArtifact(`large momentum ${fragment} ${version}`, 4_000_000),
      shares: merge.claims.map(({ claim }) => {
        const norm = 0.5 + this.rng.uniform() * (this.rng.uniform() < 0.03 ? 9 : 1);
        const rest = { norm: toDecimal(norm), clippedNorm: toDecimal(Math.min(norm, 4)) };
        return { claim, share: toDecimal(1 / merge.claims.length), ...rest };
      }),
      durationMs: 300 + Math.floor(600 * this.rng.uniform()),
    });
  }

  #tempo(): void {
    const tempo = this.state.tempo.index + 1;
    this.block = Math.max(this.block, this.state.tempo.block + 1);
    this.must('tempo', { tempo, block: this.block, blockHash: hashOfText(`large tempo ${tempo}`) });
    this.must('tree-head', { ...treeHeadOf(this.state), block: this.block });
  }

  #milestones(): void {
    const change = duePhaseChange(this.state);
    if (change !== null) this.must('phase-change', change);
    if (isReleaseDue(this.state)) this.#release();
  }

  #release(): void {
    const { state } = this;
    const release = state.releases.length;
    const stateHash = segmentHash(state);
    const tokens = countedTokens(state);
    this.must('release', {
      ...{ release, parent: state.releases.at(-1)?.id ?? null, stateHash },
      versions: state.fragments.map(({ version }) => version),
      countedTokens: toDecimal(tokens),
      tokensBySource: { text: Math.floor(tokens) },
      treeHead: treeHeadOf(state).root,
    });
    const files = ['README.md', 'config.json', 'model.safetensors'].map((name) => ({
      name,
      artifact: testArtifact(`${name} ${release}`, name === 'model.safetensors' ? 32_000_000 : 2_000),
    }));
    this.must('release-published', { release, files });
    for (const [i, { session }] of this.#validators.slice(0, 2).entries()) {
      this.pass(4_000);
      this.#evaluate(release, i, session);
      if (release > 0)
        this.must('segment-attested', { release, stateHash, merges: mergesInSegment(state, release) }, session);
    }
  }

  #evaluate(release: number, i: number, session: SessionSigner): void {
    const loss = 3 + 6 * Math.exp(-release / 12) + 0.02 * i + 0.05 * this.rng.uniform();
    this.must(
      'evaluation',
      {
        release,
        losses: {
          'held-out': toDecimal(loss),
          'held-out/prose': toDecimal(loss - 0.2),
          'held-out/facts': toDecimal(loss + 0.4),
          'held-out-other': toDecimal(loss + 0.7),
          'held-out-other/code': toDecimal(loss + 0.7),
        },
        sequences: 32,
        routers: {
          entropy: toDecimal(Math.min(1, 0.8 + 0.01 * release)),
          imbalance: toDecimal(1.2 + 0.5 * this.rng.uniform()),
          deadExperts: release < 5 ? 2 : 0,
        },
      },
      session,
    );
  }

  /** Appends a signed event; its message's id. */
  readonly must = <K extends EventKind>(kind: K, body: EventBody<K>, signer: Signer = this.#syncer): Hash => {
    const signature = toHex(signer.sign(signedBytes(kind, body, this.#binding)));
    const envelope = {
      version: 1,
      kind,
      run: this.#binding.run,
      signer: signer.signer,
      seenHead: null,
      body,
      signature,
    } as const;
    const message = {
      kind,
      body,
      signer: parseSigner(signer.signer)!,
      id: messageId(envelope),
      envelope,
    } as OpenedMessage;
    const { size: seq, headHash: prevHash } = this.state;
    const opened: OpenedEntry = { entry: { seq, prevHash, timeMs: this.nowMs, message: envelope }, message };
    const admission = admit(this.state, opened);
    if (admission.outcome !== 'accept') throw new Error(`${kind} was refused: ${admission.code} ${admission.sentence}`);
    applyEvent(this.state, opened);
    this.entries.push(opened.entry);
    return message.id;
  };
}
