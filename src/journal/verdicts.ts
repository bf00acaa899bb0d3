/**
 * @file Rules of the fold: verdicts of committees and rechecks, and disputes. Two verdicts that agree decide. Where a
 * committee does not agree, where a recheck contradicts it, where somebody is accused of numbers that nobody can compute, or
 * where a refused miner appeals, all validators judge and stake decides; who said what bytes disprove is barred.
 */
import type { EventBody, VerdictCode } from '../protocol/messages.ts';
import { fromDecimal, type Hash, type Hotkey } from '../protocol/names.ts';
import { noteSuspicion } from './audits.ts';
import { appealMs, manifestOf, verdictMsOf } from './queries.ts';
import { delegationIn, ignore, learnerIdIn, type Refusal, type Rule, reject, seconds, short } from './rule.ts';
import {
  acceptClaim,
  bar,
  isUndecided,
  overturnAcceptance,
  refuseClaim,
  type Settlement,
  voidClaim,
} from './settlement.ts';
import { hotkeyState } from './standing.ts';
import type { Claim, ClaimVerdict, Dispute, HotkeyState, RunState } from './state.ts';

/** What these say follows from the bytes alone: two honest validators cannot differ. */
const certain: ReadonlySet<string> = new Set<VerdictCode>(['MALFORMED', 'OVERSIZED', 'HEADER', 'NOT_FINITE', 'TRACE']);
/** What these say is true of a moment: bytes come and go, fragments move on. Whoever says so has not lied. */
const passing: ReadonlySet<string> = new Set<VerdictCode>(['MISSING', 'STALE', 'LOST', 'FORFEITED']);
/** After so many accusations that no jury shared, a validator is barred: each made all validators work. */
const maxUnsharedAccusations = 3;
/** A gain test whose numbers lie beyond (nats a token) says nothing; and so many tests say something. */
const sensibleGain = 10;
const pooledTests = 8;

export const verdictRule: Rule<'verdict'> = {
  signers: ['validator'],
  admit(state, body, context) {
    const claim = state.claims.get(body.claim);
    const { hotkey } = delegationIn(context);
    if (claim === undefined) return reject('UNKNOWN_CLAIM', `there is no claim ${short(body.claim)}`);
    if (state.hotkeys.get(hotkey)?.barred) return reject('BARRED', `${hotkey} may no longer judge`);
    if (claim.beacon === null || claim.revealedAtMs === null)
      return ignore('NOT_REVEALED', `claim ${short(body.claim)} is ${claim.status}`);
    if ((body.outcome === 'accept') !== (body.code === 'OK'))
      return reject('MALFORMED', `a claim is accepted with code OK and only so, got ${body.outcome} ${body.code}`);
    return admitAccused(claim, body, hotkey) ?? admitRound[body.round](claim, hotkey);
  },
  apply(state, { claim: id, ...body }, context) {
    const claim = state.claims.get(id)!;
    const verdict: ClaimVerdict = { ...body, hotkey: delegationIn(context).hotkey, atMs: context.timeMs };
    applyRound[body.round](state, claim, verdict);
    if (body.accused.length > 0 && body.round !== 'ruling') openDispute(state, claim, 'accusation', context.timeMs);
  },
};

/** Only who has said something of the claim can be accused of it, and only by who came after. */
function admitAccused(claim: Claim, { round, accused }: EventBody<'verdict'>, hotkey: Hotkey): Refusal | null {
  if (accused.length === 0) return null;
  if (accused.includes(hotkey)) return reject('CONFLICT', 'a validator does not accuse itself');
  if (new Set(accused).size !== accused.length) return reject('MALFORMED', 'a validator is accused once');
  const said = round === 'committee' ? [] : saidOf(claim).map((verdict) => verdict.hotkey);
  const stranger = accused.find((each) => !said.includes(each));
  if (stranger === undefined) return null;
  return reject('MALFORMED', `${stranger} has published nothing about claim ${short(claim.id)} that a ${round} checks`);
}

/** Verdicts that name numbers: of the committee, and of the recheck. */
const saidOf = ({ verdicts, rechecked }: Claim): ClaimVerdict[] => [
  ...verdicts,
  ...(rechecked === null ? [] : [rechecked]),
];

type ByRound<F> = { readonly [R in EventBody<'verdict'>['round']]: F };

const admitRound: ByRound<(claim: Claim, hotkey: Hotkey) => Refusal | null> = {
  committee(claim, hotkey) {
    if (!claim.beacon!.committee.includes(hotkey))
      return reject('NOT_COMMITTEE', `${hotkey} was not drawn for claim ${short(claim.id)}`);
    if (claim.verdicts.some((verdict) => verdict.hotkey === hotkey))
      return ignore('DUPLICATE', `${hotkey} has judged claim ${short(claim.id)}`);
    if (claim.dispute !== null) return ignore('SETTLED', `claim ${short(claim.id)} is before all validators`);
    return isUndecided(claim) ? null : ignore('SETTLED', `claim ${short(claim.id)} is ${claim.status}`);
  },
  recheck(claim, hotkey) {
    if (claim.beacon!.recheck !== hotkey)
      return reject('NOT_COMMITTEE', `${hotkey} was not drawn to recheck claim ${short(claim.id)}`);
    if (claim.rechecked !== null) return ignore('DUPLICATE', `claim ${short(claim.id)} is rechecked`);
    const isAccepted = claim.status === 'accepted' || claim.status === 'merging' || claim.status === 'merged';
    return isAccepted ? null : ignore('SETTLED', `claim ${short(claim.id)} is ${claim.status}`);
  },
  ruling(claim, hotkey) {
    if (claim.dispute?.closedAtMs !== null) return ignore('SETTLED', `claim ${short(claim.id)} is in no dispute`);
    if (!claim.beacon!.candidates.some((candidate) => candidate.hotkey === hotkey))
      return reject('NOT_COMMITTEE', `${hotkey} is not of the jury of claim ${short(claim.id)}`);
    if (!claim.dispute.rulings.some((ruling) => ruling.hotkey === hotkey)) return null;
    return ignore('DUPLICATE', `${hotkey} has ruled on claim ${short(claim.id)}`);
  },
};

const applyRound: ByRound<(state: RunState, claim: Claim, verdict: ClaimVerdict) => void> = {
  committee(state, claim, verdict) {
    claim.verdicts.push(verdict);
    settle(state, claim, verdict.atMs);
  },
  recheck(state, claim, verdict) {
    claim.rechecked = verdict;
    state.openRechecks.delete(claim.id);
    if (verdict.outcome === 'accept') countVerdict(state, verdict, 'accept');
    else if (certain.has(verdict.code)) openDispute(state, claim, 'disagreement', verdict.atMs);
  },
  ruling(state, claim, verdict) {
    claim.dispute!.rulings.push(verdict);
    const jury = juryOf(state, claim);
    const isClear =
      majorityOf(
        jury,
        tally(state, claim, ({ outcome }) => [outcome]),
      ) !== null;
    const isWhole = [...jury.keys()].every((hotkey) => claim.dispute!.rulings.some((each) => each.hotkey === hotkey));
    // Who lied needs the whole jury, or its time: the outcome alone says nothing of that.
    if (isWhole || (isClear && claim.dispute!.reason === 'appeal')) closeDispute(state, claim, verdict.atMs);
  },
};

/** Two verdicts that agree decide, or the only one of a committee of one; all in and none agreeing goes to all. */
function settle(state: RunState, claim: Claim, timeMs: number): void {
  const size = claim.beacon!.committee.length;
  const needed = Math.min(2, size);
  const agreeing = (outcome: string) => claim.verdicts.filter((verdict) => verdict.outcome === outcome).length;
  const deciding = claim.verdicts.find(({ outcome }) => agreeing(outcome) >= needed);
  if (deciding === undefined) {
    if (claim.verdicts.length === size) openDispute(state, claim, 'disagreement', timeMs);
    return;
  }
  for (const verdict of claim.verdicts) countVerdict(state, verdict, deciding.outcome);
  decide(state, claim, { ...deciding, timeMs });
  noteGain(state, claim);
  noteResemblance(state, claim);
  const contradicts = ({ outcome, code }: ClaimVerdict): boolean =>
    outcome !== deciding.outcome && (certain.has(code) || certain.has(deciding.code));
  if (claim.verdicts.some(contradicts)) openDispute(state, claim, 'disagreement', timeMs);
}

function countVerdict(state: RunState, { hotkey, outcome }: ClaimVerdict, settled: ClaimVerdict['outcome']): void {
  const validator = hotkeyState(state, hotkey);
  if (validator.barred !== null) return;
  if (outcome === settled) {
    validator.tempoVerdicts++;
    validator.settledVerdicts++;
  } else validator.overruledVerdicts++;
}

function decide(state: RunState, claim: Claim, settlement: Settlement & Pick<ClaimVerdict, 'outcome'>): void {
  if (settlement.outcome === 'accept') acceptClaim(state, claim, settlement.timeMs);
  else if (settlement.outcome === 'reject') refuseClaim(state, claim, settlement);
  else voidClaim(state, claim, settlement);
}

/**
 * Pools a hotkey's gain tests: Σ gain ± √Σ error². Eight or more whose sum is not two errors above zero, while those of
 * most others are, is evidence of no gain: it draws a replay and costs nothing by itself. Others are counted, not summed:
 * one claim of absurd numbers would drown them.
 */
function noteGain(state: RunState, claim: Claim): void {
  const standing = hotkeyState(state, claim.hotkey);
  for (const { measurements } of claim.verdicts) {
    const [gain, error] = [measurements.gain, measurements.gainError].map((x) =>
      x === undefined ? NaN : fromDecimal(x),
    );
    if (!(Math.abs(gain!) <= sensibleGain && error! >= 0 && error! <= sensibleGain)) continue;
    standing.gainSum += gain!;
    standing.gainVariance += error! ** 2;
    standing.gainTests++;
  }
  if (standing.gainTests < pooledTests || isGaining(standing)) return;
  const others = [...state.hotkeys.values()].filter((each) => each !== standing && each.gainTests >= pooledTests);
  if (others.filter(isGaining).length * 2 <= others.length) return;
  noteSuspicion(standing, { reason: 'no-gain', claim: null });
  Object.assign(standing, { gainSum: 0, gainVariance: 0, gainTests: 0 });
}

const isGaining = ({ gainSum, gainVariance }: HotkeyState): boolean => gainSum > 2 * Math.sqrt(gainVariance);

/** The larger of two validators' measurements counts: a copy is a copy whoever sees it. */
function noteResemblance(state: RunState, claim: Claim): void {
  const bound = fromDecimal(manifestOf(state).audit.copyResemblance);
  const resembles = claim.verdicts.some(({ measurements: { resemblance } }) => {
    return resemblance !== undefined && fromDecimal(resemblance) > bound;
  });
  if (resembles) noteSuspicion(hotkeyState(state, claim.hotkey), { reason: 'resemblance', claim: claim.id });
}

/** Once for each claim. */
function openDispute(state: RunState, claim: Claim, reason: Dispute['reason'], timeMs: number): void {
  if (claim.dispute !== null) return;
  claim.dispute = { reason, openedAtMs: timeMs, rulings: [], closedAtMs: null };
  state.openDisputes.add(claim.id);
}

export const appealRule: Rule<'appeal'> = {
  signers: ['miner'],
  admit(state, body, context) {
    const claim = state.claims.get(body.claim);
    if (claim === undefined) return reject('UNKNOWN_CLAIM', `there is no claim ${short(body.claim)}`);
    if (claim.learner !== learnerIdIn(context))
      return reject('NOT_YOURS', `claim ${short(claim.id)} belongs to ${claim.learner}`);
    if (claim.dispute !== null) return ignore('DUPLICATE', `claim ${short(claim.id)} was before all validators`);
    if (claim.status !== 'refused') return reject('NOT_REFUSED', `claim ${short(claim.id)} is ${claim.status}`);
    const isOpen = (id: Hash): boolean => {
      const other = state.claims.get(id)!;
      return other.hotkey === claim.hotkey && other.dispute!.reason === 'appeal';
    };
    if ([...state.openDisputes].some(isOpen))
      return ignore('APPEALED', 'another appeal of this hotkey is before all validators: wait for it');
    if (hotkeyState(state, claim.hotkey).tempoAppealsLost > 0)
      return ignore('APPEALED', 'all validators turned down an appeal of this hotkey in this tempo: wait for the next');
    const ageMs = context.timeMs - claim.settledAtMs!;
    if (ageMs <= appealMs) return null;
    return ignore('TOO_LATE', `refused ${seconds(ageMs)} ago; appeals are heard for ${seconds(appealMs)}`);
  },
  apply(state, body, { timeMs }) {
    openDispute(state, state.claims.get(body.claim)!, 'appeal', timeMs);
  },
};

export const disputeCloseRule: Rule<'dispute-close'> = {
  signers: ['syncer'],
  admit(state, body, { timeMs }) {
    const claim = state.claims.get(body.claim);
    if (claim === undefined) return reject('UNKNOWN_CLAIM', `there is no claim ${short(body.claim)}`);
    if (claim.dispute?.closedAtMs !== null) return ignore('SETTLED', `claim ${short(claim.id)} is in no dispute`);
    const leftMs = claim.dispute.openedAtMs + 2 * verdictMsOf(manifestOf(state)) - timeMs;
    return leftMs <= 0 ? null : ignore('TOO_SOON', `the jury has another ${seconds(leftMs)}`);
  },
  apply(state, body, { timeMs }) {
    closeDispute(state, state.claims.get(body.claim)!, timeMs);
  },
};

/** Candidates of the claim's draw that are not barred, with their stake. */
function juryOf(state: RunState, claim: Claim): Map<Hotkey, number> {
  const jury = claim.beacon!.candidates.filter(({ hotkey }) => !state.hotkeys.get(hotkey)?.barred);
  return new Map(jury.map(({ hotkey, stakeRao }) => [hotkey, stakeRao]));
}

/** Stake for each answer of the rulings that are in. */
function tally<T>(state: RunState, claim: Claim, answers: (ruling: ClaimVerdict) => readonly T[]): Map<T, number> {
  const jury = juryOf(state, claim);
  const stakes = new Map<T, number>();
  for (const ruling of claim.dispute!.rulings)
    for (const answer of answers(ruling))
      stakes.set(answer, (stakes.get(answer) ?? 0) + (jury.get(ruling.hotkey) ?? 0));
  return stakes;
}

/** The answer of more than half of the whole jury's stake: few that happen to be quick must not decide for all. */
function majorityOf<T>(jury: ReadonlyMap<Hotkey, number>, said: ReadonlyMap<T, number>): T | null {
  const total = [...jury.values()].reduce((sum, stake) => sum + stake, 0);
  for (const [answer, stake] of said) if (stake * 2 > total) return answer;
  return null;
}

function closeDispute(state: RunState, claim: Claim, timeMs: number): void {
  const dispute = claim.dispute!;
  dispute.closedAtMs = timeMs;
  state.openDisputes.delete(claim.id);
  const jury = juryOf(state, claim);
  const said = tally(state, claim, ({ outcome }) => [outcome]);
  const majority = majorityOf(jury, said);
  const settled = majority ?? (isDoubtOfHarm(claim, jury, said) ? 'accept' : null);
  const wasUndecided = isUndecided(claim);
  if (settled !== null) {
    // A doubt settles for the miner; it overrules nobody.
    if (majority !== null)
      for (const each of [...dispute.rulings, ...(wasUndecided ? claim.verdicts : [])])
        countVerdict(state, each, majority);
    const ruling = mainRuling(state, claim, settled);
    applyRuling(state, claim, { ...ruling, timeMs });
    barDisproved(state, claim, { settled, code: ruling.code, timeMs });
  } else if (wasUndecided) {
    const sentence = 'the committee did not agree, and neither did most of the stake of all validators';
    refuseClaim(state, claim, { code: 'DISAGREED', sentence, timeMs });
  }
  if (dispute.reason === 'appeal' && settled !== 'accept') hotkeyState(state, claim.hotkey).tempoAppealsLost++;
  barAccused(state, claim, jury, timeMs);
}

/**
 * Half of the stake accepts, and the others only say that it does harm: honest validators differ in that, since each tests on
 * sequences of its own. With two validators every such difference is a tie; a miner must not pay for it.
 */
function isDoubtOfHarm(
  claim: Claim,
  jury: ReadonlyMap<Hotkey, number>,
  said: ReadonlyMap<ClaimVerdict['outcome'], number>,
): boolean {
  const total = [...jury.values()].reduce((sum, stake) => sum + stake, 0);
  const isHarmAlone = claim.dispute!.rulings.every(({ outcome, code }) => outcome === 'accept' || code === 'HARMFUL');
  return isHarmAlone && total > 0 && 2 * (said.get('accept') ?? 0) >= total;
}

/** Of the rulings with the settled outcome, the first of those whose code has most stake. */
function mainRuling(state: RunState, claim: Claim, settled: ClaimVerdict['outcome']): ClaimVerdict {
  const agreeing = claim.dispute!.rulings.filter(({ outcome }) => outcome === settled);
  const stakes = tally(state, claim, ({ outcome, code }) => (outcome === settled ? [code] : []));
  return agreeing.reduce((best, each) => (stakes.get(each.code)! > stakes.get(best.code)! ? each : best));
}

/** To a claim that stands otherwise. */
function applyRuling(state: RunState, claim: Claim, settlement: Settlement & Pick<ClaimVerdict, 'outcome'>): void {
  if (isUndecided(claim)) decide(state, claim, settlement);
  else if (claim.status === 'refused' && settlement.outcome === 'accept') {
    state.learners.get(claim.learner)!.claims.refused--;
    acceptClaim(state, claim, settlement.timeMs);
  } else if (isAccepted(claim) && settlement.outcome === 'reject') overturnAcceptance(state, claim, settlement);
}

const isAccepted = ({ status }: Claim): boolean => status === 'accepted' || status === 'merging' || status === 'merged';

/** Those whose word the bytes disprove. */
function barDisproved(
  state: RunState,
  claim: Claim,
  { settled, code, timeMs }: { readonly settled: string; readonly code: string; readonly timeMs: number },
): void {
  for (const verdict of [...saidOf(claim), ...claim.dispute!.rulings]) {
    const isCertain = certain.has(verdict.code) || (certain.has(code) && !passing.has(verdict.code));
    if (verdict.outcome !== settled && isCertain)
      bar(state, verdict.hotkey, `${lie(claim.id)} ${verdict.code} where the bytes say ${code}`, timeMs);
  }
}

/** Those whom most stake accuses of their numbers; who accuses alone, and again and again, goes too. */
function barAccused(state: RunState, claim: Claim, jury: ReadonlyMap<Hotkey, number>, timeMs: number): void {
  const total = [...jury.values()].reduce((sum, stake) => sum + stake, 0);
  const stakes = new Map<Hotkey, number>();
  for (const { hotkey, accused } of claim.dispute!.rulings)
    for (const each of accused) stakes.set(each, (stakes.get(each) ?? 0) + (jury.get(hotkey) ?? 0));
  const found = new Set([...stakes].filter(([, stake]) => stake * 2 > total).map(([hotkey]) => hotkey));
  for (const hotkey of [...found].sort())
    bar(state, hotkey, `${lie(claim.id)} numbers that the other validators could not compute`, timeMs);
  for (const { hotkey, accused } of [...saidOf(claim), ...claim.dispute!.rulings]) {
    if (accused.every((each) => found.has(each))) continue;
    const accuser = hotkeyState(state, hotkey);
    accuser.unsharedAccusations++;
    if (accuser.unsharedAccusations >= maxUnsharedAccusations)
      bar(state, hotkey, `accused others ${accuser.unsharedAccusations} times of what no jury found`, timeMs);
  }
}

const lie = (claim: Hash): string => `said of claim ${short(claim)}`;
