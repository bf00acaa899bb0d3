/** @file All miners: verified work beside what it earned. Only the rows in view are drawn, so that thousands scroll smoothly. */
import { useMemo } from 'preact/hooks';
import type { ApiMinerRow } from '../../../src/protocol/api/participants.ts';
import { percent, plural, short, whole } from '../format/numbers.ts';
import { Badge, codeTone } from '../parts/badge.tsx';
import { PageHead } from '../parts/card.tsx';
import { Choice } from '../parts/choice.tsx';
import { Age, MinerLink } from '../parts/names.tsx';
import { EmptyState, FaultState, LoadingState } from '../parts/states.tsx';
import { type Column, VirtualTable } from '../parts/virtual-table.tsx';
import { hrefOf, query, replaceQuery } from '../router.ts';
import { arrangeMiners, columns, type MinerColumn } from './miners/arrange.ts';
import { maxRows, useMiners } from './miners/rows.ts';

export default function Miners() {
  const list = useMiners();
  const { rows, total, fault } = list.value;
  const asked = query.value.get('sort');
  const sort = columns.find((column) => column === asked) ?? 'tokens';
  const isAscending = query.value.get('order') === 'asc';
  const search = query.value.get('search') ?? '';
  const isPresentOnly = query.value.get('present') === 'true';
  const most = useMemo(
    () => Math.max(1e-6, ...(rows ?? []).map((row) => Math.max(row.workShare, row.rewardShare ?? 0))),
    [rows],
  );
  const drawn = useMemo(() => columnsFor(most), [most]);
  const shown = rows === null ? [] : arrangeMiners(rows, { sort, isAscending, search, isPresentOnly });
  const onSort = (column: MinerColumn): void =>
    replaceQuery({ sort: column, order: (column === sort ? !isAscending : column === 'hotkey') ? 'asc' : null });
  return (
    <>
      <PageHead
        title="Miners"
        aside={
          <div class="controls">
            <label>
              <span class="visually-hidden">Search by hotkey or learner</span>
              <input
                class="field"
                type="search"
                placeholder="Hotkey or learner"
                maxLength={64}
                value={search}
                onInput={(event) => replaceQuery({ search: event.currentTarget.value.trim() })}
              />
            </label>
            <Choice
              label="Which miners"
              options={[
                ['all', 'all'],
                ['present', 'present'],
              ]}
              value={isPresentOnly ? 'present' : 'all'}
              onChange={(which) => replaceQuery({ present: which === 'present' ? 'true' : null })}
            />
          </div>
        }
      >
        Pay is linear in verified work: where the share of reward differs from the share of work, the miner's page says
        why.
      </PageHead>
      <p class="faint" role="status">
        {rows === null
          ? ''
          : `${plural(shown.length, 'miner')}${shown.length < total ? ` of ${whole(total)}` : ''}${total > maxRows ? ` (the ${whole(maxRows)} with the most tokens are listed)` : ''}`}
      </p>
      {rows === null ? (
        fault === null ? (
          <LoadingState lines={10} />
        ) : (
          <FaultState title="The list could not be read">{fault.message}. It is asked for again by itself.</FaultState>
        )
      ) : shown.length === 0 ? (
        <NoMiners isFiltered={total > 0} />
      ) : (
        <VirtualTable
          label="Miners"
          rows={shown}
          columns={drawn}
          keyOf={(row) => row.hotkey}
          sort={{ column: sort, isAscending, onSort }}
        />
      )}
    </>
  );
}

const NoMiners = ({ isFiltered }: { isFiltered: boolean }) =>
  isFiltered ? (
    <EmptyState title="No miner fits">The search looks at the beginning of a hotkey and at learners' names.</EmptyState>
  ) : (
    <EmptyState title="No miners yet">
      Nobody joined this run. <a href={hrefOf('join')}>What to type to be the first</a>
    </EmptyState>
  );

/** Both beside the largest share of work: of hundreds of miners each has a sliver of the whole. */
function ShareBars({ work, reward, most }: { work: number; reward: number | null; most: number }) {
  const widthOf = (share: number) => ({ width: `${Math.min(100, (100 * share) / most)}%` });
  return (
    <span class="share-bars" aria-hidden="true">
      <span style={widthOf(work)} />
      {reward !== null && <span style={widthOf(reward)} />}
    </span>
  );
}

const columnsFor = (most: number): readonly Column<ApiMinerRow, MinerColumn>[] => [
  {
    id: 'hotkey',
    title: 'Miner',
    width: '15rem',
    draw: (row) => (
      <>
        <span
          class={`presence${row.learnersPresent > 0 ? ' is-present' : ''}`}
          title={row.learnersPresent > 0 ? 'present' : 'away'}
        >
          <span class="visually-hidden">{row.learnersPresent > 0 ? 'present' : 'away'}</span>
        </span>
        <MinerLink
          hotkey={row.hotkey}
          name={row.learners.length === 1 ? row.learners[0] : plural(row.learners.length, 'learner')}
        />
      </>
    ),
  },
  { id: 'tokens', title: 'Verified tokens', width: '8rem', isNumber: true, draw: (row) => short(row.verifiedTokens) },
  { id: 'work', title: 'Share of work', width: '7rem', isNumber: true, draw: (row) => percent(row.workShare, 2) },
  { id: 'reward', title: 'of reward', width: '6rem', isNumber: true, draw: (row) => percent(row.rewardShare, 2) },
  {
    id: null,
    title: '',
    width: '6rem',
    draw: (row) => <ShareBars work={row.workShare} reward={row.rewardShare} most={most} />,
  },
  { id: 'quality', title: 'Quality', width: '6rem', isNumber: true, draw: (row) => percent(row.quality) },
  {
    id: 'refused',
    title: 'Refused',
    width: '5.5rem',
    isNumber: true,
    draw: (row) => whole(row.claims.refused + row.claims.voided),
  },
  {
    id: 'staleness',
    title: 'Staleness',
    width: '6rem',
    isNumber: true,
    draw: (row) => row.staleness?.toFixed(2) ?? '–',
  },
  { id: 'uptime', title: 'Uptime', width: '5.5rem', isNumber: true, draw: (row) => percent(row.uptime) },
  {
    id: 'lastClaim',
    title: 'Last claim',
    width: '7rem',
    isNumber: true,
    draw: (row) => <Age atMs={row.lastClaimAtMs} />,
  },
  {
    id: null,
    title: 'Last verdict',
    width: '9rem',
    draw: (row) =>
      row.lastCode === null ? (
        <span class="faint">none</span>
      ) : (
        <Badge tone={codeTone(row.lastCode)} title={row.lastSentence}>
          {row.lastCode}
        </Badge>
      ),
  },
];
