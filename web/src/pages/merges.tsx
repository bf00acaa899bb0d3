/** @file Every merge, newest first and live: claims, norms before and after clipping, shares, duration. */
import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import type { ApiMerge } from '../../../src/protocol/api/training.ts';
import { askOnce, useAnswer } from '../api/answers.ts';
import { measured, plural, short, whole } from '../format/numbers.ts';
import { duration } from '../format/time.ts';
import { PageHead } from '../parts/card.tsx';
import { Age } from '../parts/names.tsx';
import { EmptyState, Show } from '../parts/states.tsx';
import { query, replaceQuery } from '../router.ts';
import { MergeDetail } from './merges/detail.tsx';

const pageRows = 50;

export default function Merges() {
  const fragment = numberIn('fragment');
  const newest = useAnswer('merges', {
    query: { limit: pageRows, ...(fragment !== null && { fragment }) },
    everyMs: 1_500,
  });
  const older = useOlder(fragment);
  return (
    <>
      <PageHead
        title="Merges"
        aside={
          fragment !== null && (
            <button type="button" class="button" onClick={() => replaceQuery({ fragment: null })}>
              Fragment {fragment} only · show all
            </button>
          )
        }
      >
        A merge takes exactly the claims that were accepted before it, and the same claims give the same bits on every
        machine. Open one to see whose work it holds.
      </PageHead>
      <Show of={newest} lines={10}>
        {({ rows, total, nextCursor }) => {
          const isKept = fragment === null ? () => true : (row: ApiMerge) => row.fragment === fragment; // a snapshot has one list
          const last = rows.at(-1)?.outerStep ?? 0;
          const all = [...rows, ...older.rows.filter((row) => row.outerStep < last)].filter(isKept);
          if (all.length === 0)
            return (
              <EmptyState title="No merge yet">
                Learners train towards their first claims. The first merge comes once a quorum of them is accepted.
              </EmptyState>
            );
          const cursor = older.rows.length > 0 ? older.cursor : nextCursor;
          return (
            <>
              <p class="visually-hidden" role="status">
                {plural(total, 'merge')}
              </p>
              <MergeTable rows={all} />
              {cursor !== null && (
                <button
                  type="button"
                  class="button center"
                  disabled={older.isLoading}
                  onClick={() => older.load(cursor)}
                >
                  {older.isLoading ? 'Loading…' : `Older merges (${whole(total - all.length)} more)`}
                </button>
              )}
            </>
          );
        }}
      </Show>
    </>
  );
}

function numberIn(name: string): number | null {
  const text = query.value.get(name);
  return text !== null && /^\d{1,9}$/.test(text) ? Number(text) : null;
}

/** Pages before the newest, kept while the newest one changes above them. */
function useOlder(fragment: number | null) {
  const rows = useSignal<readonly ApiMerge[]>([]);
  const cursor = useSignal<string | null>(null);
  const isLoading = useSignal(false);
  const stop = useRef(new AbortController());
  useEffect(() => {
    stop.current = new AbortController();
    rows.value = [];
    return () => stop.current.abort();
  }, [fragment]);
  const load = async (from: string): Promise<void> => {
    isLoading.value = true;
    try {
      const query = { limit: 200, cursor: from, ...(fragment !== null && { fragment }) };
      const page = await askOnce({ name: 'merges', query }, stop.current.signal);
      rows.value = [...rows.value, ...page.rows];
      cursor.value = page.nextCursor;
    } catch {
      // The button is there to try again; the banner says that the connection is gone.
    } finally {
      isLoading.value = false;
    }
  };
  return { rows: rows.value, cursor: cursor.value, isLoading: isLoading.value, load };
}

function MergeTable({ rows }: { rows: readonly ApiMerge[] }) {
  const open = numberIn('open');
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keys.
    <section class="table-scroll bleed" tabIndex={0} aria-label="Merges, newest first">
      <table class="table merges">
        <thead>
          <tr>
            <th class="number">Outer step</th>
            <th>Fragment</th>
            <th class="number">Claims</th>
            <th class="number">Learners</th>
            <th class="number">Tokens</th>
            <th class="number">Largest norm</th>
            <th class="number">After clipping</th>
            <th class="number">Clipped</th>
            <th class="number">Staleness</th>
            <th class="number">Took</th>
            <th class="number">When</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((merge) => (
            <MergeRow key={merge.outerStep} merge={merge} isOpen={open === merge.outerStep} />
          ))}
        </tbody>
      </table>
    </section>
  );
}

function MergeRow({ merge, isOpen }: { merge: ApiMerge; isOpen: boolean }) {
  const toggle = (): void => replaceQuery({ open: isOpen ? null : String(merge.outerStep) });
  return (
    <>
      <tr class={isOpen ? 'is-open' : undefined}>
        <td class="number">
          <button type="button" class="disclosure" aria-expanded={isOpen} onClick={toggle}>
            {whole(merge.outerStep)}
          </button>
        </td>
        <td class="nowrap">
          <b>f{merge.fragment}</b> <span class="faint">v{merge.version}</span>
        </td>
        <td class="number">{whole(merge.claims)}</td>
        <td class="number">{whole(merge.learners)}</td>
        <td class="number">{short(merge.tokens)}</td>
        <td class="number">{measured(merge.maxNorm)}</td>
        <td class="number">{measured(merge.maxClippedNorm)}</td>
        <td class="number">
          {merge.clipped === 0 ? <span class="faint">0</span> : <b class="warn">{whole(merge.clipped)}</b>}
        </td>
        <td class="number">{merge.meanStaleness.toFixed(2)}</td>
        <td class="number">{duration(merge.durationMs)}</td>
        <td class="number soft">
          <Age atMs={merge.atMs} />
        </td>
      </tr>
      {isOpen && (
        <tr class="detail-row">
          <td colSpan={11}>
            <MergeDetail outerStep={merge.outerStep} />
          </td>
        </tr>
      )}
    </>
  );
}
