/** @file Rules of the fold: releases and their evaluations, tempos and tree heads. */
import { toDecimal } from '../protocol/names.ts';
import { isCleared } from './audits.ts';
import { closeTempo } from './pay.ts';
import { countedTokens, isReleaseDue, manifestOf, mergesInSegment, treeHeadOf } from './queries.ts';
import { delegationIn, ignore, type Rule, reject, short } from './rule.ts';
import { segmentHash } from './segment-hash.ts';
import { hotkeyState } from './standing.ts';
import type { TempoRecord } from './state.ts';

const keptTempos = 256;

/** Release 0 is the start checkpoint; the later ones follow merges of every fragment. */
export const releaseRule: Rule<'release'> = {
  signers: ['syncer'],
  admit(state, body) {
    if (body.release !== state.releases.length)
      return ignore('WRONG_RELEASE', `expected release ${state.releases.length}, got ${body.release}`);
    const parent = state.releases.at(-1)?.id ?? null;
    if (body.parent !== parent) return reject('WRONG_PARENT', `expected parent ${parent}, got ${body.parent}`);
    if (state.releases.length > 0 && !isReleaseDue(state))
      return ignore('NOT_READY', 'every fragment must be merged, and none half merged, since the last release');
    const versions = state.fragments.map(({ version }) => version);
    if (versions.join() !== body.versions.join())
      return reject('WRONG_VERSION', `expected versions ${versions.join(' ')}, got ${body.versions.join(' ')}`);
    const counted = toDecimal(countedTokens(state));
    if (body.countedTokens !== counted)
      return reject('WRONG_COUNT', `expected ${counted} counted tokens, got ${body.countedTokens}`);
    const { root } = treeHeadOf(state);
    if (body.treeHead !== root)
      return reject('WRONG_TREE_HEAD', `expected tree head ${short(root)}, got ${short(body.treeHead)}`);
    const stateHash = segmentHash(state);
    if (body.stateHash === stateHash) return null;
    return reject('WRONG_STATE', `expected state ${short(stateHash)}, got ${short(body.stateHash)}`);
  },
  apply(state, body, { id, seq, timeMs }) {
    const { merges, phase } = state;
    state.releases.push({ id, body, seq, atMs: timeMs, merges, phase, files: [], attestedBy: [] });
    for (const fragment of state.fragments) fragment.mergesSinceRelease = 0;
  },
};

export const releasePublishedRule: Rule<'release-published'> = {
  signers: ['syncer'],
  admit(state, { release, files }) {
    const record = state.releases[release];
    if (record === undefined) return reject('UNKNOWN_RELEASE', `there is no release ${release}`);
    if (record.files.length > 0) return ignore('DUPLICATE', `the files of release ${release} are published`);
    const isOrdered = files.every(({ name }, i) => i === 0 || files[i - 1]!.name < name);
    return isOrdered ? null : reject('MALFORMED', 'files are named once each, in order');
  },
  apply(state, { release, files }) {
    state.releases[release]!.files = files;
  },
};

export const segmentAttestedRule: Rule<'segment-attested'> = {
  signers: ['validator'],
  admit(state, { release, stateHash, merges }, context) {
    const { hotkey } = delegationIn(context);
    if (state.hotkeys.get(hotkey)?.barred) return reject('BARRED', `${hotkey} may no longer judge`);
    const record = state.releases[release];
    if (record === undefined) return reject('UNKNOWN_RELEASE', `there is no release ${release}`);
    if (record.attestedBy.includes(hotkey)) return ignore('DUPLICATE', `${hotkey} has attested release ${release}`);
    if (release === 0) return reject('UNKNOWN_RELEASE', 'release 0 closes no segment');
    if (!((state.hotkeys.get(hotkey)?.drawnStakeRao ?? 0) > 0))
      return reject('NO_STAKE', `no draw of the run has named ${hotkey} with stake: anybody could say it`);
    if (record.body.stateHash !== stateHash)
      return reject('WRONG_STATE', `expected state ${short(record.body.stateHash)}, got ${short(stateHash)}`);
    const expected = mergesInSegment(state, release);
    return merges === expected ? null : reject('WRONG_COUNT', `expected ${expected} merges, got ${merges}`);
  },
  apply(state, { release }, context) {
    state.releases[release]!.attestedBy.push(delegationIn(context).hotkey);
  },
};

export const evaluationRule: Rule<'evaluation'> = {
  signers: ['validator'],
  admit(state, { release }, context) {
    const { hotkey } = delegationIn(context);
    if (release >= state.releases.length) return reject('UNKNOWN_RELEASE', `there is no release ${release}`);
    if (!state.evaluations.some((known) => known.release === release && known.hotkey === hotkey)) return null;
    return ignore('DUPLICATE', `${hotkey} has evaluated release ${release}`);
  },
  apply(state, { release, losses, sequences, routers }, context) {
    const { hotkey } = delegationIn(context);
    const rest = routers === undefined ? {} : { routers };
    state.evaluations.push({ release, hotkey, losses, sequences, ...rest, atMs: context.timeMs });
  },
};

export const tempoRule: Rule<'tempo'> = {
  signers: ['syncer'],
  admit(state, { tempo, block }) {
    if (tempo <= state.tempo.index) return ignore('DUPLICATE', `the journal is in tempo ${state.tempo.index}`);
    if (block >= state.tempo.block) return null;
    return reject('WRONG_BLOCK', `tempo ${state.tempo.index} began at block ${state.tempo.block}, got ${block}`);
  },
  apply(state, { tempo, block }) {
    const { index, block: since, history } = state.tempo;
    const { halfLifeTempos } = manifestOf(state).rewards;
    const passed = index < 0 ? 1 : tempo - index;
    const hotkeys = [...state.hotkeys.keys()].sort().map((hotkey) => hotkeyState(state, hotkey));
    const work = hotkeys.map((each) =>
      closeTempo(state, each, { isCleared: isCleared(state, each), halfLifeTempos, passed }),
    );
    const isWork = ({ cellTokens, heldCellTokens, verdicts }: Work): boolean =>
      cellTokens > 0 || heldCellTokens > 0 || verdicts > 0;
    const closed = index < 0 ? [] : [{ tempo: index, block: since, work: work.filter(isWork) }];
    state.tempo = { index: tempo, block, history: [...history, ...closed].slice(-keptTempos) };
  },
};

type Work = TempoRecord['work'][number];

export const treeHeadRule: Rule<'tree-head'> = {
  signers: ['syncer'],
  admit(state, body) {
    const { size, root } = treeHeadOf(state);
    const last = state.treeHeads.at(-1);
    if (last !== undefined && body.block < last.block)
      return reject('WRONG_BLOCK', `the last tree head was of block ${last.block}, got ${body.block}`);
    if (body.size === size && body.root === root) return null;
    return reject(
      'WRONG_TREE_HEAD',
      `expected ${size} entries and root ${short(root)}, got ${body.size}, ${short(body.root)}`,
    );
  },
  apply(state, { size, root, block }, { seq }) {
    state.treeHeads.push({ size, root, block, seq });
  },
};
