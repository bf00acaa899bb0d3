/** @file Rules of the fold: the run itself, delegations, and learners who come and go. */
import { runIdOf } from '../protocol/hash.ts';
import { learnerIdOf } from '../protocol/names.ts';
import { decodeSs58 } from '../protocol/ss58.ts';
import { traceGenesis } from '../protocol/trace.ts';
import { forgetDelegations, indexMove } from './indexes.ts';
import { breakTrace } from './pay.ts';
import { layOutPhases } from './phases.ts';
import { manifestOf, runOf } from './queries.ts';
import { delegationIn, ignore, learnerIdIn, learnerIn, type Rule, reject, short } from './rule.ts';
import { hotkeyState } from './standing.ts';
import { delegationKeyOf } from './state.ts';

export const runRule: Rule<'run'> = {
  signers: ['hotkey'],
  admit(state, { manifest, start, frozen }, { sender, message }) {
    if (state.run !== null) return ignore('DUPLICATE', 'the run event is the first of a journal and only there');
    const id = runIdOf(manifest);
    if (message.run !== id)
      return reject('WRONG_RUN', `the manifest hashes to ${short(id)}, the message names ${short(message.run)}`);
    if (sender.kind !== 'hotkey' || sender.hotkey !== manifest.owner)
      return reject('NOT_OWNER', `the run must be signed by its owner ${manifest.owner}`);
    if (start.length !== manifest.fragments.count)
      return reject('MALFORMED', `expected ${manifest.fragments.count} start fragments, got ${start.length}`);
    if ((frozen !== undefined) === (manifest.recipe.frozen !== undefined)) return null;
    return reject(
      'MALFORMED',
      'frozen: an artifact of frozen tensors goes with a recipe that freezes, and only with it',
    );
  },
  apply(state, { manifest, start, frozen }, { seq, timeMs }) {
    state.run = { id: runIdOf(manifest), manifest, start, ...(frozen === undefined ? {} : { frozen }) };
    state.phases.push({ seq, atMs: timeMs, outerStep: 0 });
    layOutPhases(state, manifest.phases.length);
    for (const artifact of start)
      state.fragments.push({
        version: 0,
        artifact,
        momentum: null,
        lastMergeMs: null,
        contributors: [],
        mergesSinceRelease: 0,
        merges: 0,
        recentNorms: [],
        pendingMerge: null,
      });
  },
};

export const delegateRule: Rule<'delegate'> = {
  signers: ['hotkey'],
  admit(state, body, { sender }) {
    if (sender.kind !== 'hotkey' || sender.hotkey !== body.hotkey)
      return reject('NOT_YOURS', `a delegation of ${body.hotkey} must be signed by that hotkey`);
    if (decodeSs58(body.hotkey) === null) return reject('MALFORMED', 'the hotkey is not an SS58 address');
    if (body.role === 'syncer' && body.hotkey !== manifestOf(state).owner)
      return reject('NOT_OWNER', 'only the owner of the run names its syncer');
    const key = delegationKeyOf(body.role, body.hotkey, body.name);
    const before = state.delegations.get(key);
    if (before !== undefined && body.issuedAtMs <= before.issuedAtMs)
      return ignore('DUPLICATE', `the delegation in force was issued at ${before.issuedAtMs}, this one is not newer`);
    const holder = state.sessions.get(body.sessionKey);
    if (holder === undefined || holder === key) return null;
    return reject('KEY_IN_USE', 'this session key already acts for another delegation');
  },
  apply(state, body) {
    const key = delegationKeyOf(body.role, body.hotkey, body.name);
    const before = state.delegations.get(key);
    if (before !== undefined) state.sessions.delete(before.sessionKey);
    state.delegations.set(key, body);
    state.sessions.set(body.sessionKey, key);
    forgetDelegations(state, body.role);
  },
};

export const joinRule: Rule<'join'> = {
  signers: ['miner'],
  admit(state, { atMs }, context) {
    const learner = learnerIn(state, context);
    if (learner === undefined || atMs > learner.lastAtMs) return null;
    return ignore('DUPLICATE', `this learner's last join or leave was at ${learner.lastAtMs}, this one is not newer`);
  },
  apply(state, { atMs, ...capabilities }, context) {
    const id = learnerIdIn(context);
    const { hotkey, name } = delegationIn(context);
    hotkeyState(state, hotkey);
    const learner = state.learners.get(id);
    if (learner === undefined) {
      const fragments = manifestOf(state).fragments.count;
      state.learners.set(id, {
        id,
        hotkey,
        name,
        joinedAtMs: context.timeMs,
        joinedSeq: context.seq,
        present: true,
        lastAtMs: atMs,
        capabilities,
        innerSteps: 0,
        traceHead: traceGenesis(runOf(state).id, learnerIdOf(hotkey, name)),
        claimedThrough: new Array<number>(fragments).fill(0),
        claimedOuterStep: new Array<number>(fragments).fill(-1),
        segments: [],
        joinedAtStep: 0,
        isSilent: false,
        auditable: [],
        segmentFrom: 0,
        waiting: new Set(),
        unpaidCellTokens: 0,
        leases: new Set(),
        cellTokens: 0,
        claims: { committed: 0, accepted: 0, refused: 0, voided: 0, merged: 0 },
        lastCode: null,
        lastSentence: '',
        lastClaimAtMs: null,
      });
      indexMove(state, state.learners.get(id)!);
      return;
    }
    Object.assign(learner, { present: true, joinedSeq: context.seq, lastAtMs: atMs, capabilities, segments: [] });
    learner.isSilent = false;
    // What it had not claimed before it stopped is lost with its memory.
    learner.claimedThrough.fill(learner.innerSteps);
    // Its state begins anew; what was traced after the last root cannot be audited any more.
    breakTrace(state, learner);
    indexMove(state, learner);
  },
};

export const leaveRule: Rule<'leave'> = {
  signers: ['miner'],
  admit(state, { atMs }, context) {
    const learner = learnerIn(state, context);
    if (!learner?.present) return ignore('NOT_JOINED', 'this learner is not in the run');
    if (atMs > learner.lastAtMs) return null;
    return ignore('DUPLICATE', `this learner's last join or leave was at ${learner.lastAtMs}, this one is not newer`);
  },
  apply(state, { atMs }, context) {
    const learner = learnerIn(state, context)!;
    learner.present = false;
    learner.lastAtMs = atMs;
    indexMove(state, learner);
  },
};

export const serveRule: Rule<'serve'> = {
  signers: ['validator'],
  admit(state, { atMs }, context) {
    const servedAtMs = state.hotkeys.get(delegationIn(context).hotkey)?.servedAtMs ?? -1;
    if (atMs > servedAtMs) return null;
    return ignore('DUPLICATE', `this validator said so at ${servedAtMs}, this one is not newer`);
  },
  apply(state, { atMs, machineClass }, context) {
    Object.assign(hotkeyState(state, delegationIn(context).hotkey), { servedAtMs: atMs, machineClass });
  },
};
