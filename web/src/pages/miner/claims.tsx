/** @file A miner's claims, newest first; each opens to its verdicts: codes, numbers, sentences, and what to do. */
import { useSignal } from '@preact/signals';
import type { ApiClaim, ApiClaimRow } from '../../../../src/protocol/api/claims.ts';
import { useAnswer } from '../../api/answers.ts';
import { measured, percent, short, shortHotkey, whole } from '../../format/numbers.ts';
import { dateTime, duration } from '../../format/time.ts';
import { Badge, claimTone, codeTone, type Tone } from '../../parts/badge.tsx';
import { Card } from '../../parts/card.tsx';
import { Choice } from '../../parts/choice.tsx';
import { Measurements } from '../../parts/measurements.tsx';
import { Age, Copyable, HashText } from '../../parts/names.tsx';
import { EmptyState, Show } from '../../parts/states.tsx';
import { hrefOf, query, replaceQuery } from '../../router.ts';

type Status = 'all' | 'open' | 'refused' | 'merged';
const statuses = [
  ['all', 'all'],
  ['open', 'waiting'],
  ['refused', 'refused'],
  ['merged', 'merged'],
] as const;

/** As the API's filter; a snapshot's one list is filtered here. */
const isOf: Readonly<Record<Status, (row: ApiClaimRow) => boolean>> = {
  all: () => true,
  open: ({ status }) => !['refused', 'voided', 'merged'].includes(status),
  refused: ({ status }) => status === 'refused' || status === 'voided',
  merged: ({ status }) => status === 'merged',
};

export function MinerClaims({ hotkey, codes }: { hotkey: string; codes: Readonly<Record<string, number>> }) {
  const status = statuses.find(([id]) => id === query.value.get('claims'))?.[0] ?? 'all';
  const cursors = useSignal<readonly string[]>([]);
  const cursor = cursors.value.at(-1);
  const answer = useAnswer('minerClaims', {
    params: { hotkey },
    query: { limit: 50, ...(status !== 'all' && { status }), ...(cursor !== undefined && { cursor }) },
    everyMs: 3_000,
  });
  const choose = (next: Status): void => {
    cursors.value = [];
    replaceQuery({ claims: next === 'all' ? null : next, claim: null });
  };
  return (
    <Card title="Claims" aside={<Choice label="Which claims" options={statuses} value={status} onChange={choose} />}>
      <CodeLine codes={codes} />
      <Show of={answer} lines={6}>
        {({ rows, nextCursor, total }) => {
          const shown = rows.filter(isOf[status]);
          return (
            <>
              {shown.length === 0 ? <NoClaims status={status} /> : <ClaimTable rows={shown} />}
              {(cursor !== undefined || nextCursor !== null) && (
                <div class="pager">
                  <button
                    type="button"
                    class="button"
                    disabled={cursor === undefined}
                    onClick={() => (cursors.value = cursors.value.slice(0, -1))}
                  >
                    Newer
                  </button>
                  <span class="faint">{whole(total)} in all</span>
                  <button
                    type="button"
                    class="button"
                    disabled={nextCursor === null}
                    onClick={() => nextCursor !== null && (cursors.value = [...cursors.value, nextCursor])}
                  >
                    Older
                  </button>
                </div>
              )}
            </>
          );
        }}
      </Show>
    </Card>
  );
}

function CodeLine({ codes }: { codes: Readonly<Record<string, number>> }) {
  const entries = Object.entries(codes).sort(([, a], [, b]) => b - a);
  if (entries.length === 0) return null;
  return (
    <p class="code-line">
      {entries.map(([code, count]) => (
        <span key={code}>
          <Badge tone={codeTone(code)}>{code}</Badge> {whole(count)}
        </span>
      ))}
    </p>
  );
}

const NoClaims = ({ status }: { status: Status }) =>
  status === 'all' ? (
    <EmptyState title="No claims yet">The learner trains; its first claim comes when a fragment falls due.</EmptyState>
  ) : (
    <EmptyState title={status === 'refused' ? 'Nothing was refused' : 'None of this kind'} />
  );

function ClaimTable({ rows }: { rows: readonly ApiClaimRow[] }) {
  const open = query.value.get('claim');
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keys.
    <section class="table-scroll" tabIndex={0} aria-label="Claims, newest first">
      <table class="table">
        <thead>
          <tr>
            <th>Claim</th>
            <th class="number">Outer step</th>
            <th>Fragment</th>
            <th class="number">Inner steps</th>
            <th class="number">Tokens</th>
            <th>Status</th>
            <th>Code</th>
            <th class="number">Stale</th>
            <th class="number">Merge share</th>
            <th class="number">Norm</th>
            <th class="number">When</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <ClaimRow key={row.claim} row={row} isOpen={open === row.claim} />
          ))}
        </tbody>
      </table>
    </section>
  );
}

function ClaimRow({ row, isOpen }: { row: ApiClaimRow; isOpen: boolean }) {
  return (
    <>
      <tr class={isOpen ? 'is-open' : undefined}>
        <td>
          <button
            type="button"
            class="disclosure"
            aria-expanded={isOpen}
            onClick={() => replaceQuery({ claim: isOpen ? null : row.claim })}
          >
            <HashText hash={row.claim} />
          </button>
        </td>
        <td class="number">
          <a class="plain" href={hrefOf(`merges?open=${row.outerStep}`)}>
            {whole(row.outerStep)}
          </a>
        </td>
        <td>f{row.fragment}</td>
        <td class="number">
          {whole(row.steps[0])}–{whole(row.steps[1])}
        </td>
        <td class="number">{short(row.tokens)}</td>
        <td>
          <Badge tone={claimTone(row.status)}>{row.status}</Badge>
          {row.isDisputed && <Badge tone="warn">disputed</Badge>}
        </td>
        <td class="nowrap">{row.code ?? <span class="faint">undecided</span>}</td>
        <td class="number">{row.staleness ?? '–'}</td>
        <td class="number">{percent(row.mergeShare)}</td>
        <td class="number">
          {measured(row.norm)}
          {row.clippedNorm !== null && row.norm !== null && row.clippedNorm < row.norm ? (
            <span class="warn"> → {measured(row.clippedNorm)}</span>
          ) : (
            ''
          )}
        </td>
        <td class="number soft">
          <Age atMs={row.committedAtMs} />
        </td>
      </tr>
      {isOpen && (
        <tr class="detail-row">
          <td colSpan={11}>
            <ClaimDetail claim={row.claim} />
          </td>
        </tr>
      )}
    </>
  );
}

const outcomeTones: Readonly<Record<string, Tone>> = { accept: 'good', ignore: 'plain', reject: 'bad' };

function ClaimDetail({ claim }: { claim: string }) {
  const answer = useAnswer('claim', { params: { claim }, everyMs: 3_000 });
  return (
    <Show of={answer} lines={3}>
      {(data) => (
        <div class="claim-detail">
          <p>{data.sentence}</p>
          {data.advice !== null && <p class="advice">What to do: {data.advice}</p>}
          <TimeLine claim={data} />
          <ul class="lines">
            {data.verdicts.map((verdict) => (
              <li key={`${verdict.validator}${verdict.round}`}>
                <p>
                  <Badge tone={outcomeTones[verdict.outcome] ?? 'plain'}>{verdict.outcome}</Badge> <b>{verdict.code}</b>{' '}
                  by <code title={verdict.validator}>{shortHotkey(verdict.validator)}</code>, {verdict.round}
                  {verdict.agrees === false && <Badge tone="warn">overruled</Badge>}
                </p>
                <p class="soft">{verdict.sentence}</p>
                <Measurements of={verdict.measurements} />
              </li>
            ))}
            {data.verdicts.length === 0 && <li class="faint">No verdict yet.</li>}
          </ul>
          <p class="faint">
            On version {data.baseVersion} · leases {data.leases.join(', ') || 'none'} ·{' '}
            {data.beacon === null
              ? 'no beacon yet'
              : `beacon of block ${whole(data.beacon.block)}${data.beacon.gainTested ? ', drawn for a gain test' : ''}`}{' '}
            · <Copyable text={data.claim} label="claim" />
          </p>
        </div>
      )}
    </Show>
  );
}

function TimeLine({ claim }: { claim: ApiClaim }) {
  const marks = [
    ['committed', claim.committedAtMs],
    ['revealed', claim.revealedAtMs],
    ['settled', claim.settledAtMs],
    ['merged', claim.mergedAtMs],
  ] as const;
  return (
    <ol class="timeline">
      {marks.map(([name, atMs], i) => {
        const before = marks[i - 1]?.[1] ?? null;
        return (
          <li key={name} class={atMs === null ? 'faint' : undefined} title={atMs === null ? undefined : dateTime(atMs)}>
            {name} {atMs === null ? '–' : before === null ? dateTime(atMs) : `+${duration(atMs - before)}`}
          </li>
        );
      })}
    </ol>
  );
}
