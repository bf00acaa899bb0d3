/** @file Rules of the fold: releases and their evaluations, phases, tempos and tree heads. */
import { toDecimal } from '../protocol/names.ts';
import { hotkeyState } from './membership.ts';
import { countedTokens, isPhaseDone, isReleaseDue, manifestOf, treeHeadOf } from './queries.ts';
import { delegationIn, ignore, type Rule, reject, short } from './rule.ts';
import { decayOf } from './scores.ts';

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
    if (body.treeHead === root) return null;
    return reject('WRONG_TREE_HEAD', `expected tree head ${short(root)}, got ${short(body.treeHead)}`);
  },
  apply(state, body, { id, seq, timeMs }) {
    state.releases.push({ id, body, seq, atMs: timeMs });
    for (const fragment of state.fragments) fragment.mergesSinceRelease = 0;
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

export const phaseChangeRule: Rule<'phase-change'> = {
  signers: ['syncer'],
  admit(state, { phase }) {
    if (phase !== state.phase + 1) return ignore('WRONG_PHASE', `the run is in phase ${state.phase}, got ${phase}`);
    if (isPhaseDone(state)) return null;
    const { phases, fragments } = manifestOf(state);
    const counted = state.phaseCellTokens[state.phase]! / fragments.count;
    return reject('PHASE_OPEN', `${counted} of ${phases[state.phase]!.targetTokens} tokens of the phase are merged`);
  },
  apply(state, { phase }) {
    state.phase = phase;
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
    const hotkeys = [...state.hotkeys.keys()].sort().map((hotkey) => hotkeyState(state, hotkey));
    const work = hotkeys
      .filter((each) => each.tempoCellTokens > 0 || each.tempoVerdicts > 0)
      .map((each) => ({ hotkey: each.hotkey, cellTokens: each.tempoCellTokens, verdicts: each.tempoVerdicts }));
    const decay = decayOf(manifestOf(state).rewards.halfLifeTempos, index < 0 ? 1 : tempo - index);
    for (const each of hotkeys) {
      each.score = each.score * decay + each.tempoCellTokens;
      each.verdictScore = each.verdictScore * decay + each.tempoVerdicts;
      each.tempoCellTokens = 0;
      each.tempoVerdicts = 0;
    }
    const closed = index < 0 ? [] : [{ tempo: index, block: since, work }];
    state.tempo = { index: tempo, block, history: [...history, ...closed].slice(-keptTempos) };
  },
};

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
