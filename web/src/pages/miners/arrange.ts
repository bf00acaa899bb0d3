/** @file Sorting and searching the list of miners, in this page. */
import type { ApiMinerRow } from '../../../../src/protocol/api/participants.ts';

export const columns = [
  'hotkey',
  'tokens',
  'quality',
  'work',
  'reward',
  'staleness',
  'uptime',
  'refused',
  'lastClaim',
] as const;
export type MinerColumn = (typeof columns)[number];

const refusedOf = ({ claims }: ApiMinerRow): number => claims.refused + claims.voided;
const keys: Readonly<Record<MinerColumn, (row: ApiMinerRow) => number | string>> = {
  hotkey: (row) => row.hotkey,
  tokens: (row) => row.verifiedTokens,
  quality: (row) => row.quality ?? -1,
  work: (row) => row.workShare,
  reward: (row) => row.rewardShare ?? -1,
  staleness: (row) => row.staleness ?? -1,
  uptime: (row) => row.uptime,
  refused: refusedOf,
  lastClaim: (row) => row.lastClaimAtMs ?? -1,
};

export function arrangeMiners(
  rows: readonly ApiMinerRow[],
  {
    sort,
    isAscending,
    search,
    isPresentOnly,
  }: { sort: MinerColumn; isAscending: boolean; search: string; isPresentOnly: boolean },
): ApiMinerRow[] {
  const wanted = search.toLowerCase();
  const isWanted = (row: ApiMinerRow): boolean =>
    (!isPresentOnly || row.learnersPresent > 0) &&
    (wanted === '' ||
      row.hotkey.toLowerCase().startsWith(wanted) ||
      row.learners.some((name) => name.includes(wanted)));
  const key = keys[sort];
  const direction = isAscending ? 1 : -1;
  return rows.filter(isWanted).sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    // Equal ones by hotkey, so that rows do not dance.
    return x === y ? (a.hotkey < b.hotkey ? -1 : 1) : x < y ? -direction : direction;
  });
}
