/**
 * @file The ledger beside a long synthetic journal, as the read API sees it: each closed tempo paid by what the journal scored in
 * it, and the matrix of the last. No chain is run: consensus is what the journal gives, and dividends follow stake.
 */
import type { EpochView, LedgerView, MatrixView } from '../../src/http/api/sources.ts';
import { manifestOf } from '../../src/journal/queries.ts';
import { weightsOf } from '../../src/journal/scores.ts';
import type { RunState } from '../../src/journal/state.ts';
import type { Hotkey } from '../../src/protocol/names.ts';

const emissionRao = 1e9;
const [minerShare, validatorShare, ownerShare] = [0.41, 0.41, 0.18];
const maxWeight = 65_535;

/** Of the run as it stands. */
export function largeLedgerOf(state: RunState): LedgerView {
  const validators = [...state.delegations.values()].flatMap((each) =>
    each.role === 'validator' ? [each.hotkey] : [],
  );
  const miners = [...new Set([...state.learners.values()].map(({ hotkey }) => hotkey))].sort();
  const stakes = new Map(validators.sort().map((hotkey, i) => [hotkey, 1e9 * (i + 2)]));
  const epochs = epochsOf(state, stakes);
  const last = epochs.at(-1);
  const neurons = [...stakes.keys(), ...miners].map((hotkey, uid) => {
    const paid = last?.paid.get(hotkey);
    const incentive = (paid?.minerRao ?? 0) / Math.max(1, last?.minerRao ?? 1);
    return {
      ...{ uid, hotkey, stakeRao: stakes.get(hotkey) ?? 0, incentive, validatorPermit: stakes.has(hotkey) },
      emissionRao: (paid?.minerRao ?? 0) + (paid?.validatorRao ?? 0),
    };
  });
  return {
    block: (last?.block ?? state.tempo.block) + 12,
    ...{ neurons, epochs, matrix: last === undefined ? null : matrixOf(state, neurons, last), commitment: null },
    anchored: new Set(state.treeHeads.map(({ root }) => root)),
  };
}

function epochsOf(state: RunState, stakes: ReadonlyMap<Hotkey, number>): EpochView[] {
  const allStake = [...stakes.values()].reduce((sum, stake) => sum + stake, 0);
  const { tempoBlocks } = manifestOf(state).ledger;
  return state.tempo.history.slice(-512).map(({ tempo, work }) => {
    const scored = work.reduce((sum, { cellTokens }) => sum + cellTokens, 0);
    const paid = new Map<Hotkey, { minerRao: number; validatorRao: number }>();
    for (const { hotkey, cellTokens } of work)
      if (cellTokens > 0)
        paid.set(hotkey, { minerRao: (emissionRao * minerShare * cellTokens) / scored, validatorRao: 0 });
    for (const [hotkey, stake] of stakes)
      paid.set(hotkey, { minerRao: 0, validatorRao: (emissionRao * validatorShare * stake) / allStake });
    return {
      ...{ tempo, block: (tempo + 1) * tempoBlocks, paid },
      minerRao: scored > 0 ? emissionRao * minerShare : 0,
      validatorRao: emissionRao * validatorShare,
      ownerRao: emissionRao * ownerShare,
    };
  });
}

/** Every validator sets what the journal gives, its own reading of it a little off. */
function matrixOf(state: RunState, neurons: LedgerView['neurons'], { block, tempo }: EpochView): MatrixView {
  const journal = weightsOf(state);
  const allStake = neurons.reduce((sum, { stakeRao }) => sum + stakeRao, 0);
  const rowOf = (validator: number): [number, number][] =>
    neurons.flatMap(({ uid, hotkey }): [number, number][] => {
      const weight = journal.get(hotkey) ?? 0;
      const reading = 1 + 0.02 * Math.sin(validator * 7 + uid);
      return weight > 0 ? [[uid, Math.max(1, Math.round(maxWeight * Math.min(1, weight) * reading))]] : [];
    });
  return {
    ...{ block, tempo },
    neurons: neurons.map(({ uid, hotkey, stakeRao, incentive, validatorPermit }) => ({
      ...{ hotkey, stakeRao, incentive, consensus: Math.min(1, journal.get(hotkey) ?? 0) },
      dividends: stakeRao / allStake,
      validatorTrust: validatorPermit ? 0.99 : 0,
      setAtBlock: validatorPermit ? block - 40 : null,
      weights: validatorPermit
        ? rowOf(uid).map(([to, weight]): [number, number] => [to, Math.min(maxWeight, weight)])
        : [],
    })),
  };
}
