/** @file Rules of the fold: leases. Every position of an order is in the pool, leased, covered, or never leased yet. */
import { learnerIdOf } from '../protocol/names.ts';
import { subtractRanges, unionRanges } from '../util/ranges.ts';
import { indexLease } from './indexes.ts';
import { manifestOf, nextLeaseRange } from './queries.ts';
import { delegationIn, ignore, learnerIdIn, type Rule, reject, seconds } from './rule.ts';
import type { Lease, RunState } from './state.ts';

export const leaseRule: Rule<'lease'> = {
  signers: ['syncer'],
  admit(state, body, { timeMs }) {
    const learner = state.learners.get(learnerIdOf(body.hotkey, body.name));
    if (!learner?.present) return ignore('NOT_JOINED', `${body.hotkey}/${body.name} is not in the run`);
    if (body.lease !== state.nextLease)
      return ignore('WRONG_LEASE', `expected lease ${state.nextLease}, got ${body.lease}`);
    if (body.phase !== state.phase) return reject('WRONG_PHASE', `the run is in phase ${state.phase}`);
    const [from, to] = nextLeaseRange(state, body.phase, manifestOf(state).sync.leaseSequences);
    if (body.range[0] !== from || body.range[1] !== to)
      return reject('WRONG_RANGE', `expected sequences ${from} to ${to}, got ${body.range[0]} to ${body.range[1]}`);
    if (body.scheduleTokens[0] > body.scheduleTokens[1] || body.deadlineMs <= timeMs)
      return reject('MALFORMED', 'a lease goes forward in the schedule and ends in the future');
    return null;
  },
  apply(state, body, { seq, timeMs }) {
    const learner = state.learners.get(learnerIdOf(body.hotkey, body.name))!;
    const { phase, range } = body;
    if (range[0] === state.cursor[phase]) state.cursor[phase] = range[1];
    else state.pool[phase] = subtractRanges(state.pool[phase]!, [range]);
    state.leases.set(body.lease, {
      id: body.lease,
      learner: learner.id,
      phase,
      range,
      scheduleTokens: body.scheduleTokens,
      seq,
      issuedAtMs: timeMs,
      deadlineMs: body.deadlineMs,
      activeAtMs: timeMs,
      covered: [],
      status: 'open',
    });
    learner.leases.add(body.lease);
    indexLease(state, state.leases.get(body.lease)!, 1);
    state.nextLease++;
  },
};

export const leaseReturnRule: Rule<'lease-return'> = {
  signers: ['miner', 'syncer'],
  admit(state, { lease: id, reason }, context) {
    const lease = state.leases.get(id);
    if (lease === undefined) return reject('UNKNOWN_LEASE', `there is no lease ${id}`);
    if (lease.status !== 'open') return ignore('LEASE_CLOSED', `lease ${id} is ${lease.status}`);
    const byMiner = delegationIn(context).role === 'miner';
    if (byMiner !== (reason === 'returned'))
      return reject('WRONG_ROLE', `a lease is ${reason} by the ${reason === 'returned' ? 'learner' : 'syncer'}`);
    if (byMiner && lease.learner !== learnerIdIn(context))
      return reject('NOT_YOURS', `lease ${id} belongs to ${lease.learner}`);
    if (reason === 'left') {
      const learner = state.learners.get(lease.learner)!;
      const hasGone = !learner.present || learner.joinedSeq > lease.seq;
      return hasGone ? null : reject('NOT_EXPIRED', `${lease.learner} has not left`);
    }
    if (reason === 'returned') return null;
    const expiresAtMs = Math.max(lease.deadlineMs, lease.activeAtMs + manifestOf(state).sync.leaseMs);
    if (context.timeMs >= expiresAtMs) return null;
    return reject('NOT_EXPIRED', `lease ${id} runs for another ${seconds(expiresAtMs - context.timeMs)}`);
  },
  apply(state, { lease: id, reason }) {
    giveBack(state, state.leases.get(id)!, reason);
  },
};

/** What no committed trace line covers goes to the pool of its phase. */
export function giveBack(state: RunState, lease: Lease, status: 'returned' | 'expired' | 'left'): void {
  const uncovered = subtractRanges([lease.range], lease.covered);
  state.pool[lease.phase] = unionRanges(state.pool[lease.phase]!, uncovered);
  closeLease(state, lease, status);
}

export function closeLease(state: RunState, lease: Lease, status: Lease['status']): void {
  indexLease(state, lease, -1);
  lease.status = status;
  state.learners.get(lease.learner)!.leases.delete(lease.id);
}
