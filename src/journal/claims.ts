/**
 * @file Rules of the fold: a claim from commit to verdicts. A commit takes its cells for good; a claim that is refused or
 * voided loses them, and they are not leased again.
 */
import { drawGainTested, drawRechecked } from '../protocol/draw.ts';
import type { EventBody } from '../protocol/messages.ts';
import { fromDecimal } from '../protocol/names.ts';
import {
  countRanges,
  intersectRanges,
  isNormalRanges,
  normalizeRanges,
  type Range,
  subtractRanges,
  unionRanges,
} from '../util/ranges.ts';
import { extendSegments } from './audit-draw.ts';
import { admitCandidates, drawCommitteeAndNext } from './draws.ts';
import { indexClaim, indexLease, setStatus } from './indexes.ts';
import { closeLease, giveBack } from './leasing.ts';
import { manifestOf, openLeases, phaseOf, revealMsOf, stalenessOf, verdictMsOf } from './queries.ts';
import {
  type EventContext,
  ignore,
  learnerIdIn,
  learnerIn,
  type Refusal,
  type Rule,
  reject,
  seconds,
  short,
} from './rule.ts';
import { undecided, voidClaim } from './settlement.ts';
import { hotkeyState } from './standing.ts';
import type { Claim, Learner, RunState } from './state.ts';

/** The beacon is the first block after the block that follows the commit. */
export const beaconDelayBlocks = 2;

type Commit = EventBody<'claim-commit'>;

export const claimCommitRule: Rule<'claim-commit'> = {
  signers: ['miner'],
  admit(state, body, context) {
    const learner = learnerIn(state, context);
    if (!learner?.present) return reject('NOT_JOINED', 'this learner is not in the run: join first');
    return admitRound(state, learner, body) ?? admitTrace(state, learner, body) ?? admitCells(state, learner, body);
  },
  apply(state, body, context) {
    const learner = learnerIn(state, context)!;
    coverLeases(state, learner, body, context.timeMs);
    const { fragment, trace, phase } = body;
    const cells = state.claimedCells[phase]!;
    cells[fragment] = unionRanges(cells[fragment]!, body.sequences);
    learner.claimedThrough[fragment] = body.steps[1];
    learner.claimedOuterStep[fragment] = body.outerStep;
    learner.innerSteps = trace.lines[1];
    learner.traceHead = trace.head;
    learner.lastClaimAtMs = context.timeMs;
    learner.isSilent = false;
    learner.claims.committed++;
    const oldest = Math.min(...learner.claimedThrough);
    learner.segments = learner.segments.filter((segment) => segment.lines[1] > oldest);
    addClaim(state, learner, body, context);
    extendSegments(state, learner, context.id);
  },
};

/** Is this fragment, version and outer step open for the learner? */
function admitRound(state: RunState, learner: Learner, body: Commit): Refusal | null {
  const { fragments, sync } = manifestOf(state);
  const { outerStep, fragment, baseVersion } = body;
  if (fragment !== outerStep % fragments.count)
    return reject(
      'WRONG_FRAGMENT',
      `outer step ${outerStep} is about fragment ${outerStep % fragments.count} of ${fragments.count}, got ${fragment}`,
    );
  const newest = state.nextOuterStep - 1;
  if (outerStep > newest) return ignore('NOT_DUE', `outer step ${outerStep} is not open; the newest is ${newest}`);
  const before = learner.claimedOuterStep[fragment]!;
  if (outerStep <= before)
    return ignore('DUPLICATE', `fragment ${fragment} is claimed up to outer step ${before}, got ${outerStep}`);
  const rounds = Math.floor((newest - outerStep) / fragments.count);
  const { version } = state.fragments[fragment]!;
  if (baseVersion > version)
    return reject(
      'WRONG_VERSION',
      `fragment ${fragment} is at version ${version}, the claim starts from ${baseVersion}`,
    );
  const staleness = Math.max(rounds, version - baseVersion);
  if (staleness > sync.maxStaleness)
    return ignore('STALE', `the claim is ${staleness} versions late, at most ${sync.maxStaleness} are merged`);
  return null;
}

/** Do its lines go on where the learner's committed trace ended, and its steps where the fragment was last claimed? */
function admitTrace(state: RunState, learner: Learner, { steps, trace, fragment }: Commit): Refusal | null {
  const { innerStepsPerOuterStep } = manifestOf(state).sync;
  const [from, to] = trace.lines;
  if (from !== learner.innerSteps || trace.previousHead !== learner.traceHead)
    return reject(
      'WRONG_TRACE',
      `the committed trace ends at line ${learner.innerSteps} with head ${short(learner.traceHead)}; the claim goes on from ${from}, ${short(trace.previousHead)}`,
    );
  if (to - from < innerStepsPerOuterStep)
    return ignore('TOO_SOON', `${to - from} inner steps since the last claim, at least ${innerStepsPerOuterStep}`);
  const claimed = learner.claimedThrough[fragment]!;
  if (steps[1] !== to || steps[0] < claimed)
    return reject(
      'WRONG_STEPS',
      `fragment ${fragment} is claimed through step ${claimed} and the trace ends at ${to}; the claim says ${steps[0]} to ${steps[1]}`,
    );
  return null;
}

/** Are its sequences the learner's, trained no more than once for this fragment, and no more than its steps can hold? */
function admitCells(state: RunState, learner: Learner, body: Commit): Refusal | null {
  const { sequences, phase, fragment, steps, trace } = body;
  if (!isNormalRanges(sequences)) return reject('MALFORMED', 'sequences must be sorted, disjoint and not touching');
  if (phase > state.phase) return reject('WRONG_PHASE', `the run is in phase ${state.phase}, the claim in ${phase}`);
  const twice = countRanges(intersectRanges(sequences, state.claimedCells[phase]![fragment]!));
  if (twice > 0)
    return reject(
      'DOUBLE_COUNT',
      `${twice} of ${countRanges(sequences)} sequences were claimed for fragment ${fragment}`,
    );
  const fresh = freshSequences(learner, body);
  const leased = openLeases(state, learner.id)
    .filter((lease) => lease.phase === phase)
    .flatMap((lease) => subtractRanges([lease.range], lease.covered));
  const outside = countRanges(subtractRanges(fresh, normalizeRanges(leased)));
  if (outside > 0)
    return reject(
      'NOT_LEASED',
      `${outside} of ${countRanges(fresh)} new sequences are in no open lease of this learner`,
    );
  const { batchSequences } = manifestOf(state).recipe;
  const [newLimit, limit] = [trace.lines[1] - trace.lines[0], steps[1] - steps[0]].map((n) => n * batchSequences);
  if (countRanges(fresh) > newLimit! || countRanges(sequences) > limit!)
    return reject(
      'TOO_MANY',
      `${countRanges(sequences)} sequences (${countRanges(fresh)} new) in ${steps[1] - steps[0]} steps (${trace.lines[1] - trace.lines[0]} new) of ${batchSequences}`,
    );
  return null;
}

/** The claim's sequences that no earlier commit of the learner covered: those of its new lines. */
function freshSequences(learner: Learner, { sequences, steps, phase }: Commit): Range[] {
  const known = learner.segments
    .filter((segment) => segment.phase === phase && segment.lines[1] > steps[0])
    .flatMap((segment) => segment.sequences);
  return subtractRanges(sequences, normalizeRanges(known));
}

function coverLeases(state: RunState, learner: Learner, body: Commit, timeMs: number): void {
  const fresh = freshSequences(learner, body);
  learner.segments.push({ lines: body.trace.lines, phase: body.phase, sequences: fresh });
  for (const lease of openLeases(state, learner.id)) {
    // Whoever claims for a later phase has read what it had of an earlier one. What no claim of that phase covered is void.
    if (lease.phase < body.phase) giveBack(state, lease, 'returned');
    const covered = lease.phase === body.phase ? intersectRanges(fresh, [lease.range]) : [];
    if (covered.length === 0) continue;
    indexLease(state, lease, -1);
    lease.covered = unionRanges(lease.covered, covered);
    indexLease(state, lease, 1);
    lease.activeAtMs = timeMs;
    if (countRanges(lease.covered) === lease.range[1] - lease.range[0]) closeLease(state, lease, 'done');
  }
}

function addClaim(state: RunState, learner: Learner, body: Commit, context: EventContext): void {
  const hotkey = hotkeyState(state, learner.hotkey);
  const id = context.id;
  const cellTokens = countRanges(body.sequences) * phaseOf(state, body.phase).sequenceLength;
  state.claims.set(id, {
    id,
    body,
    learner: learner.id,
    hotkey: learner.hotkey,
    name: learner.name,
    commitSeq: context.seq,
    committedAtMs: context.timeMs,
    versionAtCommit: state.fragments[body.fragment]!.version,
    cursorAtCommit: state.cursor[body.phase] ?? 0,
    tempoBlockAtCommit: state.tempo.block,
    ordinal: hotkey.claims,
    cellTokens,
    payableCellTokens: cellTokens,
    status: 'committed',
    revealedAtMs: null,
    beacon: null,
    verdicts: [],
    rechecked: null,
    dispute: null,
    isOverturned: false,
    settledAtMs: null,
    mergedAtMs: null,
    code: null,
    sentence: '',
  });
  hotkey.claims++;
  state.openClaims.add(id);
  indexClaim(state, state.claims.get(id)!);
}

export const claimRevealRule: Rule<'claim-reveal'> = {
  signers: ['miner'],
  admit(state, body, context) {
    const claim = undecided(state, body.claim);
    if ('outcome' in claim) return claim;
    if (claim.learner !== learnerIdIn(context))
      return reject('NOT_YOURS', `claim ${short(claim.id)} belongs to ${claim.learner}`);
    return claim.revealedAtMs === null ? null : ignore('DUPLICATE', `claim ${short(claim.id)} is revealed already`);
  },
  apply(state, body, { timeMs }) {
    const claim = state.claims.get(body.claim)!;
    claim.revealedAtMs = timeMs;
    if (claim.beacon !== null) setStatus(state, claim, 'revealed');
  },
};

export const claimBeaconRule: Rule<'claim-beacon'> = {
  signers: ['syncer'],
  admit(state, body, context) {
    const claim = undecided(state, body.claim);
    if ('outcome' in claim) return claim;
    return admitBlock(state, claim, body, context.timeMs) ?? admitDraw(state, claim, body, context.timeMs);
  },
  apply(state, body, { timeMs }) {
    const claim = state.claims.get(body.claim)!;
    const { claim: _, ...drawn } = body;
    claim.beacon = { ...drawn, atMs: timeMs };
    for (const { hotkey, stakeRao } of body.candidates) hotkeyState(state, hotkey).drawnStakeRao = stakeRao;
    // Whoever is drawn now judges by this draw; verdicts of an earlier one stay in the journal only.
    claim.verdicts.length = 0;
    setStatus(state, claim, claim.revealedAtMs === null ? 'beaconed' : 'revealed');
  },
};

function admitBlock(state: RunState, claim: Claim, body: EventBody<'claim-beacon'>, timeMs: number): Refusal | null {
  if (claim.dispute !== null) return ignore('SETTLED', `claim ${short(claim.id)} is before all validators`);
  if (body.commitBlock < claim.tempoBlockAtCommit)
    return reject(
      'WRONG_BLOCK',
      `the claim was committed in the tempo of block ${claim.tempoBlockAtCommit}, not at block ${body.commitBlock}`,
    );
  if (claim.beacon === null) {
    if (body.block === body.commitBlock + beaconDelayBlocks) return null;
    return reject('WRONG_BLOCK', `expected block ${body.commitBlock + beaconDelayBlocks}, got ${body.block}`);
  }
  const since = Math.max(claim.beacon.atMs, claim.revealedAtMs ?? Number.POSITIVE_INFINITY);
  const verdictMs = verdictMsOf(manifestOf(state));
  if (timeMs - since < verdictMs || claim.status !== 'revealed')
    return ignore('DUPLICATE', `claim ${short(claim.id)} has its beacon; verdicts have ${seconds(verdictMs)}`);
  if (body.block > claim.beacon.block) return null;
  return reject('WRONG_BLOCK', `a second draw needs a block after ${claim.beacon.block}, got ${body.block}`);
}

function admitDraw(state: RunState, claim: Claim, body: EventBody<'claim-beacon'>, timeMs: number): Refusal | null {
  const { candidates, blockHash } = body;
  const wrong = admitCandidates(state, candidates, claim.hotkey, timeMs);
  if (wrong !== null) return wrong;
  const expected = drawForClaim(state, claim, { blockHash, candidates });
  const isDrawn =
    expected.committee.join() === body.committee.join() &&
    expected.recheck === body.recheck &&
    expected.gainTested === body.gainTested;
  if (isDrawn) return null;
  const { committee, recheck, gainTested } = expected;
  return reject('WRONG_DRAW', `the beacon draws ${committee.join(', ')}, then ${recheck}; gain test: ${gainTested}`);
}

/** What the beacon draws for a claim: its committee, who checks it again, and whether its gain is tested. */
export function drawForClaim(
  state: RunState,
  claim: Claim,
  { blockHash, candidates }: Pick<EventBody<'claim-beacon'>, 'blockHash' | 'candidates'>,
): Pick<EventBody<'claim-beacon'>, 'committee' | 'recheck' | 'gainTested'> {
  const { evaluation } = manifestOf(state);
  const draw = { blockHash, claim: claim.id };
  const [committee, next] = drawCommitteeAndNext({ ...draw, candidates, size: evaluation.committee });
  const isRechecked = drawRechecked({ ...draw, share: fromDecimal(evaluation.recheckShare) });
  const gainTested = drawGainTested({
    ...draw,
    isAlways: claim.ordinal < hotkeyState(state, claim.hotkey).testAllBelow,
    share: fromDecimal(evaluation.gainShare),
  });
  return { committee, recheck: isRechecked ? next : null, gainTested };
}

export const claimVoidRule: Rule<'claim-void'> = {
  signers: ['syncer'],
  admit(state, body, { timeMs }) {
    const claim = state.claims.get(body.claim);
    if (body.code === 'LOST') {
      if (claim?.status === 'accepted' || claim?.status === 'merging') return null;
      return ignore('SETTLED', `claim ${short(body.claim)} is ${claim?.status ?? 'unknown'}`);
    }
    if (claim?.status !== 'accepted') {
      const open = undecided(state, body.claim);
      if ('outcome' in open) return open;
    }
    if (body.code === 'STALE') {
      const staleness = stalenessOf(state, claim!);
      const { maxStaleness } = manifestOf(state).sync;
      if (staleness > maxStaleness) return null;
      return reject('NOT_STALE', `the claim is ${staleness} versions late, up to ${maxStaleness} are merged`);
    }
    if (body.code !== 'MISSING')
      return reject('MALFORMED', `a claim is voided as STALE, MISSING or LOST, not ${body.code}`);
    const ageMs = timeMs - claim!.committedAtMs;
    if (claim!.revealedAtMs === null && ageMs >= revealMsOf(manifestOf(state))) return null;
    return reject('NOT_MISSING', `the claim was committed ${seconds(ageMs)} ago or is revealed`);
  },
  apply(state, body, { timeMs }) {
    const claim = state.claims.get(body.claim)!;
    if (claim.status === 'merging') leaveMerge(state, claim);
    voidClaim(state, claim, { code: body.code, sentence: body.sentence, timeMs });
  },
};

/** The pending merge goes on without it; without any claim there is none. */
function leaveMerge(state: RunState, { id, body: { fragment } }: Claim): void {
  const head = state.fragments[fragment]!;
  const pending = head.pendingMerge!;
  const claims = pending.claims.filter(({ claim }) => claim !== id);
  head.pendingMerge = claims.length === 0 ? null : { ...pending, claims };
}
