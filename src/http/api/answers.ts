/** @file Who answers which route: one function each, from the same sources for a server and for snapshots. */
import type { ApiAnswer, ApiParams, ApiQuery, ApiRouteName } from '../../protocol/api/routes.ts';
import { answerClaim, answerMinerClaims } from './claim-answers.ts';
import { answerMiner, answerMiners } from './miner-answers.ts';
import { answerRecord, answerRelease, answerReleases, answerRewards } from './record-answers.ts';
import { answerOverview, answerRun } from './run-answers.ts';
import { type ApiSources, asOfIndex, NotThere, type Sources } from './sources.ts';
import { answerFragments, answerMerge, answerMerges, answerSeries } from './training-answers.ts';
import { answerValidators, answerWeights } from './validator-answers.ts';

type Answer<N extends ApiRouteName> = (
  sources: Sources,
  params: ApiParams<N>,
  query: ApiQuery<N>,
) => ApiAnswer<N> | Promise<ApiAnswer<N>>;

export const answers: { readonly [N in ApiRouteName]: Answer<N> } = {
  run: answerRun,
  overview: answerOverview,
  series: answerSeries,
  fragments: answerFragments,
  merges: (sources, _, query) => answerMerges(sources, query),
  merge: answerMerge,
  miners: (sources, _, query) => answerMiners(sources, query),
  miner: answerMiner,
  minerClaims: answerMinerClaims,
  claim: answerClaim,
  validators: answerValidators,
  weights: answerWeights,
  releases: answerReleases,
  release: answerRelease,
  record: answerRecord,
  rewards: answerRewards,
};

/** The sources with an index that is level with the fold. @throws NotThere before the first event */
export async function levelled(sources: ApiSources): Promise<Sources> {
  const head = await sources.level();
  const state = sources.run();
  if (state === null || state.run === null) throw new NotThere('no run has begun here yet; try again');
  return { ...sources, state, asOf: asOfIndex(head) };
}
