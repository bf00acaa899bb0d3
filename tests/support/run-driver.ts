/** @file Drives a test run with commands drawn by a property test: mostly what honest roles do, sometimes lies. */
import { auditableSegments, drawAudit, slotBlock } from '../../src/journal/audit-draw.ts';
import { drawForClaim } from '../../src/journal/claims.ts';
import { proposeMerge, segmentHash, treeHeadOf } from '../../src/journal/fold.ts';
import {
  countedTokens,
  mergesInSegment,
  nextLeaseRange,
  openClaims,
  openLeases,
  validatorsOf,
} from '../../src/journal/queries.ts';
import type { Audit, Claim, Learner } from '../../src/journal/state.ts';
import { hashOfText } from '../../src/protocol/hash.ts';
import type { HotkeySigner, SessionSigner } from '../../src/protocol/keys.ts';
import type { RunManifest } from '../../src/protocol/manifest.ts';
import type { Admission, EventBody } from '../../src/protocol/messages.ts';
import { type Hash, type Hotkey, type LearnerId, learnerIdOf, toDecimal } from '../../src/protocol/names.ts';
import { normalizeRanges, type Range, subtractRanges, takeFromRanges, unionRanges } from '../../src/util/ranges.ts';
import { TestRun, testArtifact, testHotkey, testManifest, testSession } from './run-fixture.ts';

export interface Member {
  readonly hotkey: HotkeySigner;
  readonly session: SessionSigner;
  readonly id: LearnerId;
}

export interface Command {
  readonly op: number;
  readonly a: number;
  readonly b: number;
}

const pick = <T>(items: readonly T[], n: number): T | undefined => items[n % Math.max(1, items.length)];

/** A run with three learners (two of one hotkey) and three validators. */
export class DrivenRun extends TestRun {
  readonly miners: readonly Member[];
  readonly validators: readonly Member[];
  #block = 100;
  #label = 0;

  constructor(changes: Partial<RunManifest> = {}, { validators = 3 }: { readonly validators?: number } = {}) {
    super(testManifest(changes));
    const member = (hotkey: string, name: string, role: 'miner' | 'validator'): Member => {
      const signer = testHotkey(hotkey);
      const session = testSession(`${hotkey}/${name}`);
      this.delegate(signer, role, name, session);
      return { hotkey: signer, session, id: learnerIdOf(signer.hotkey, name) };
    };
    this.miners = [member('m0', 'a', 'miner'), member('m0', 'b', 'miner'), member('m1', 'a', 'miner')];
    this.validators = Array.from({ length: validators }, (_, i) => member(`v${i}`, 'v', 'validator'));
  }

  /** Null where the command makes no sense now. */
  do({ op, a, b }: Command): Admission | null {
    this.nowMs += 50;
    const commands = [
      () => this.join(pick(this.miners, a)!),
      () => this.join(pick(this.miners, a)!),
      () => this.lease(pick(this.miners, a)!),
      () => this.lease(pick(this.miners, a)!),
      () => this.due(),
      () => this.due(),
      () => this.commit(pick(this.miners, a)!, b),
      () => this.commit(pick(this.miners, a)!, b),
      () => this.commit(pick(this.miners, a)!, b),
      () => this.beacon(pick(this.#claims('committed'), a)),
      () => this.beacon(pick(this.#claims('committed'), a)),
      () => this.reveal(pick(openClaims(this.state), a)),
      () => this.reveal(pick(openClaims(this.state), a)),
      () => this.verdict(pick(this.#claims('revealed'), a), b),
      () => this.verdict(pick(this.#claims('revealed'), a), b),
      () => this.verdict(pick(this.#claims('revealed'), a), b),
      () => this.merge(),
      () => this.merge(),
      () => this.publish(),
      () => this.publish(),
      () => this.returnLease(a, b),
      () => (b % 4 === 0 ? this.leave(pick(this.miners, a)!) : null),
      () => this.milestone(b),
      () => this.wait(b),
      () => this.replay(a),
      () => this.recheck(a, b),
      () => this.rule(a, b),
      () => this.rule(a + 1, b),
      () => this.appeal(pick([...this.state.claims.values()], a)),
      () => this.disputeClose(a),
      () => this.serve(pick(this.validators, a)!),
      () => this.challenge(pick(this.miners, a)!.hotkey.hotkey),
      () => this.challenge(pick(this.miners, a)!.hotkey.hotkey),
      () => this.answer(this.#audit('open', a)),
      () => this.answer(this.#audit('open', a)),
      () => this.redo(this.#audit('answered', a), b % 5 === 0 ? 'fail' : 'pass'),
      () => this.redo(this.#audit('answered', a), b % 5 === 0 ? 'fail' : 'pass'),
      () => this.auditClose(this.#audit(b % 2 === 0 ? 'open' : 'answered', a)),
      () => this.releasePublished(a),
      () => this.attest(pick(this.validators, a)!, b),
    ];
    return commands[op % commands.length]!();
  }

  #claims(status: Claim['status']): Claim[] {
    return openClaims(this.state).filter((claim) => claim.status === status);
  }

  join({ session }: Member): Admission {
    return this.send('join', { atMs: this.nowMs, threads: 2, memoryGib: 4, machineClass: 'test' }, session);
  }

  leave({ session }: Member): Admission {
    return this.send('leave', { atMs: this.nowMs }, session);
  }

  lease({ hotkey, id }: Member): Admission {
    const { phase, nextLease } = this.state;
    const range = nextLeaseRange(this.state, phase, this.manifest.sync.leaseSequences);
    const name = id.split('/')[1]!;
    const deadlineMs = this.nowMs + this.manifest.sync.leaseMs;
    return this.send('lease', {
      lease: nextLease,
      hotkey: hotkey.hotkey,
      name,
      phase,
      range,
      scheduleTokens: [0, 10],
      deadlineMs,
    });
  }

  due(): Admission {
    const outerStep = this.state.nextOuterStep;
    const body = { outerStep, fragment: outerStep % 3, deadlineMs: this.nowMs + this.manifest.sync.deadlineMs };
    return this.send('fragment-due', body);
  }

  /** An honest claim of what the learner can claim now; some values of `lie` falsify it. */
  claimBody(member: Member, lie = 0): EventBody<'claim-commit'> | null {
    const learner = this.state.learners.get(member.id);
    const outerStep = this.state.nextOuterStep - 1;
    if (learner === undefined || outerStep < 0) return null;
    const fragment = outerStep % 3;
    const steps = 2 + (lie % 2);
    const fresh = this.#freshSequences(learner, steps * this.manifest.recipe.batchSequences);
    if (fresh === null) return null;
    const from = learner.claimedThrough[fragment]!;
    const known = learner.segments
      .filter((segment) => segment.lines[1] > from && segment.phase === this.state.phase)
      .flatMap((segment) => segment.sequences);
    const to = learner.innerSteps + steps;
    const label = `claim ${this.#label++}`;
    const body: EventBody<'claim-commit'> = {
      outerStep,
      fragment,
      baseVersion: this.state.fragments[fragment]!.version,
      steps: [from, to],
      phase: this.state.phase,
      sequences: unionRanges(normalizeRanges(known), fresh),
      artifact: testArtifact(label),
      trace: {
        artifact: testArtifact(`${label} trace`),
        lines: [learner.innerSteps, to],
        previousHead: learner.traceHead,
        head: hashOfText(label),
      },
    };
    return falsify(body, lie);
  }

  #freshSequences(learner: Learner, count: number): Range[] | null {
    const free = openLeases(this.state, learner.id)
      .filter((lease) => lease.phase === this.state.phase)
      .flatMap((lease) => subtractRanges([lease.range], lease.covered));
    const [taken] = takeFromRanges(normalizeRanges(free), count);
    return taken.length === 0 ? null : taken;
  }

  commit(member: Member, lie: number): Admission | null {
    const body = this.claimBody(member, lie);
    return body === null ? null : this.send('claim-commit', body, member.session);
  }

  beaconBody(claim: Claim): EventBody<'claim-beacon'> {
    this.#block = Math.max(this.#block + 1, this.state.tempo.block);
    const commitBlock = this.#block;
    const blockHash = hashOfText(`block ${commitBlock}`);
    const candidates = this.candidates();
    const drawn = drawForClaim(this.state, claim, { blockHash, candidates });
    return { claim: claim.id, commitBlock, block: commitBlock + 2, blockHash, candidates, ...drawn };
  }

  /** All validators that may judge, with their stakes, in order. */
  candidates(): EventBody<'claim-beacon'>['candidates'] {
    return validatorsOf(this.state, this.nowMs).map((hotkey) => ({ hotkey, stakeRao: this.stakeOf(hotkey) }));
  }

  /** Of v0, v1, v2: 3,000, 4,000, 5,000 rao; any two are a majority. */
  stakeOf(hotkey: string): number {
    return 1_000 * (3 + this.validators.findIndex((each) => each.hotkey.hotkey === hotkey));
  }

  validatorOf(hotkey: string): Member {
    return this.validators.find((each) => each.hotkey.hotkey === hotkey)!;
  }

  beacon(claim: Claim | undefined): Admission | null {
    return claim === undefined ? null : this.send('claim-beacon', this.beaconBody(claim));
  }

  reveal(claim: Claim | undefined): Admission | null {
    if (claim === undefined) return null;
    const member = this.miners.find(({ id }) => id === claim.learner)!;
    return this.send('claim-reveal', { claim: claim.id }, member.session);
  }

  /** Of the next committee member; mostly acceptance. */
  verdict(claim: Claim | undefined, b: number): Admission | null {
    if (claim === undefined) return null;
    const hotkey = pick(claim.beacon!.committee, claim.verdicts.length)!;
    return this.say(claim, this.validatorOf(hotkey), 'committee', saidBy(b));
  }

  /** Any verdict of any validator. */
  say(
    claim: Claim,
    { session }: Member,
    round: EventBody<'verdict'>['round'],
    said: Partial<EventBody<'verdict'>> = {},
  ): Admission {
    const accepted = { outcome: 'accept', code: 'OK', sentence: '', measurements: {}, details: null } as const;
    return this.send('verdict', { ...accepted, accused: [], ...said, claim: claim.id, round }, session);
  }

  recheck(a: number, b: number): Admission | null {
    const claim = pick(this.#at(this.state.openRechecks), a);
    if (claim === undefined) return null;
    const accused = b % 7 === 0 ? claim.beacon!.committee.slice(0, 1) : [];
    return this.say(claim, this.validatorOf(claim.beacon!.recheck!), 'recheck', { ...saidBy(b + 5), accused });
  }

  rule(a: number, b: number): Admission | null {
    const claim = pick(this.#at(this.state.openDisputes), a);
    if (claim === undefined) return null;
    const accused = b % 9 === 0 ? claim.verdicts.slice(0, 1).map(({ hotkey }) => hotkey) : [];
    return this.say(claim, pick(this.validators, b)!, 'ruling', { ...saidBy(b % 3 === 0 ? 0 : 2), accused });
  }

  #at(ids: Iterable<Hash>): Claim[] {
    return [...ids].map((id) => this.state.claims.get(id)!);
  }

  appeal(claim: Claim | undefined): Admission | null {
    if (claim === undefined) return null;
    const { session } = this.miners.find(({ id }) => id === claim.learner)!;
    return this.send('appeal', { claim: claim.id }, session);
  }

  disputeClose(a: number): Admission | null {
    const claim = pick([...this.state.openDisputes], a);
    return claim === undefined ? null : this.send('dispute-close', { claim });
  }

  serve({ session }: Member): Admission {
    return this.send('serve', { atMs: this.nowMs, threads: 2, machineClass: 'test' }, session);
  }

  /** Of what evidence asks for, else of what the tempo owes; null if the beacon has nothing to draw from. */
  challengeBody(hotkey: Hotkey, blocks = 0): EventBody<'audit-challenge'> | null {
    const { state } = this;
    const standing = state.hotkeys.get(hotkey);
    if (standing === undefined) return null;
    const slot = standing.tempoAuditsDrawn;
    const newest = [...state.claims.values()].reduce((block, { beacon }) => Math.max(block, beacon?.block ?? 0), 0);
    const block = Math.max(newest, slotBlock(state, slot)) + blocks;
    const isReady = ({ claim }: { readonly claim: Hash | null }): boolean =>
      auditableSegments(state, hotkey, { block, claim }).length > 0;
    const asked = standing.suspicions.find(isReady) ?? { reason: 'drawn' as const, claim: null };
    const place = { ...asked, hotkey, tempo: Math.max(0, state.tempo.index), slot };
    const beacon = { block, blockHash: hashOfText(`block ${block}`), candidates: this.candidates() };
    const drawn = drawAudit(state, { ...place, ...beacon });
    if (drawn === null) return null;
    const { learner, segment, committee } = drawn;
    const deadlineMs = this.nowMs + this.manifest.audit.answerMs;
    const where = { audit: state.nextAudit, name: learner.name, steps: segment.steps };
    return { ...place, ...beacon, ...where, committee: [...committee], deadlineMs };
  }

  challenge(hotkey: Hotkey, changes: Partial<EventBody<'audit-challenge'>> = {}): Admission | null {
    const body = this.challengeBody(hotkey);
    return body === null ? null : this.send('audit-challenge', { ...body, ...changes });
  }

  #audit(status: Audit['status'], a: number): Audit | undefined {
    return pick(
      [...this.state.openAudits].map((id) => this.state.audits.get(id)!).filter((audit) => audit.status === status),
      a,
    );
  }

  answer(audit: Audit | undefined): Admission | null {
    if (audit === undefined) return null;
    const { session } = this.miners.find(({ id }) => id === audit.learner)!;
    const start = audit.isFirst ? null : testArtifact(`state ${audit.body.steps[0]}`);
    return this.send(
      'audit-answer',
      { audit: audit.id, start, end: testArtifact(`state ${audit.body.steps[1]}`) },
      session,
    );
  }

  /** Of the committee's next, or the one given. */
  redo(audit: Audit | undefined, outcome: 'pass' | 'fail', member?: Member): Admission | null {
    if (audit === undefined) return null;
    const { session } = member ?? this.validatorOf(pick(audit.body.committee, audit.verdicts.length)!);
    const code = outcome === 'pass' ? ('OK' as const) : ('REPLAY' as const);
    return this.send('audit-verdict', { audit: audit.id, outcome, code, sentence: '', measurements: {} }, session);
  }

  auditClose(audit: Audit | undefined): Admission | null {
    if (audit === undefined) return null;
    return this.send('audit-close', { audit: audit.id, code: audit.status === 'open' ? 'UNANSWERED' : 'UNCHECKED' });
  }

  releasePublished(release: number): Admission {
    const files = ['config.json', 'model.safetensors'].map((name) => ({ name, artifact: testArtifact(name) }));
    return this.send('release-published', { release, files });
  }

  attest({ session }: Member, release: number): Admission | null {
    const record = this.state.releases[release % Math.max(1, this.state.releases.length)];
    if (record === undefined) return null;
    const { stateHash } = record.body;
    const merges = mergesInSegment(this.state, record.body.release);
    return this.send('segment-attested', { release: record.body.release, stateHash, merges }, session);
  }

  merge(): Admission | null {
    return this.state.due === null ? null : this.send('merge', proposeMerge(this.state, this.state.due.outerStep));
  }

  publish(): Admission | null {
    const fragment = this.state.fragments.findIndex(({ pendingMerge }) => pendingMerge !== null);
    if (fragment < 0) return null;
    const { outerStep, fromVersion, claims } = this.state.fragments[fragment]!.pendingMerge!;
    const version = fromVersion + 1;
    return this.send('fragment-published', {
      outerStep,
      fragment,
      version,
      artifact: testArtifact(`fragment ${fragment} ${version}`),
      momentum: testArtifact(`momentum ${fragment} ${version}`),
      shares: claims.map(({ claim }) => ({
        claim,
        share: toDecimal(1 / claims.length),
        norm: toDecimal(1),
        clippedNorm: toDecimal(1),
      })),
      durationMs: 5,
    });
  }

  returnLease(a: number, b: number): Admission | null {
    const lease = pick([...this.state.leases.values()], a);
    if (lease === undefined) return null;
    const member = this.miners.find(({ id }) => id === lease.learner)!;
    if (b % 3 === 0) return this.send('lease-return', { lease: lease.id, reason: 'returned' }, member.session);
    return this.send('lease-return', { lease: lease.id, reason: b % 3 === 1 ? 'expired' : 'left' });
  }

  milestone(b: number): Admission {
    const { state } = this;
    if (b % 4 === 0) return this.send('tree-head', { ...treeHeadOf(state), block: state.tempo.block });
    if (b % 4 === 1)
      return this.send('phase-change', {
        phase: state.phase + 1,
        outerStep: state.nextOuterStep,
        cursor: state.cursor[state.phase]!,
      });
    if (b % 4 === 2) {
      const tempo = state.tempo.index + 1 + (b % 3);
      return this.send('tempo', { tempo, block: tempo * 10, blockHash: hashOfText(`tempo ${tempo}`) });
    }
    return this.send('release', {
      release: state.releases.length,
      parent: state.releases.at(-1)?.id ?? null,
      versions: state.fragments.map(({ version }) => version),
      countedTokens: toDecimal(countedTokens(state)),
      tokensBySource: {},
      treeHead: treeHeadOf(state).root,
      stateHash: segmentHash(state),
    });
  }

  wait(b: number): Admission | null {
    this.nowMs += (b % 4) * 6_000;
    const claim = pick(openClaims(this.state), b);
    if (claim === undefined) return null;
    const code = b % 2 === 0 ? 'STALE' : 'MISSING';
    return this.send('claim-void', { claim: claim.id, code, sentence: 'void' });
  }

  /** Somebody sends an old message again. */
  replay(a: number): Admission {
    return this.offer(this.place(pick(this.entries, a)!.entry.message));
  }
}

/** Mostly acceptance. */
function saidBy(b: number): Pick<EventBody<'verdict'>, 'outcome' | 'code'> {
  const said = (
    [
      { outcome: 'reject', code: 'HARMFUL' },
      { outcome: 'ignore', code: 'MISSING' },
      undefined,
      undefined,
      undefined,
      undefined,
      { outcome: 'reject', code: 'HEADER' },
    ] as const
  )[b % 8];
  return said ?? { outcome: 'accept', code: 'OK' };
}

function falsify(body: EventBody<'claim-commit'>, lie: number): EventBody<'claim-commit'> {
  const [from, to] = body.steps;
  switch (lie % 32) {
    case 20:
      return { ...body, fragment: (body.fragment + 1) % 3 };
    case 21:
      return { ...body, baseVersion: body.baseVersion + 1 };
    case 22:
      return { ...body, sequences: body.sequences.map(([a, b]): Range => [a + 12, b + 12]) };
    case 23:
      return { ...body, sequences: [[0, body.sequences.at(-1)![1]]] };
    case 24:
      return { ...body, steps: [Math.max(0, from - 1), to] };
    case 25:
      return { ...body, trace: { ...body.trace, previousHead: hashOfText('another') } };
    case 26:
      return { ...body, outerStep: body.outerStep + 3 };
    case 27:
      return { ...body, phase: body.phase + 1 };
    default:
      return body;
  }
}
