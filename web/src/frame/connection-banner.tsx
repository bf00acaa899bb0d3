/** @file Says honestly how fresh the page is: live, polled, a snapshot, or cut off since a moment that is named. */

import { secondsLeft } from '../api/clock.ts';
import { connection, reconnectNow } from '../api/live.ts';
import { snapshotMadeAtMs } from '../api/source.ts';
import { clockTime, dateTime } from '../format/time.ts';

const words = {
  opening: 'connecting',
  live: 'live',
  polling: 'polling',
  lost: 'offline',
  snapshot: 'snapshot',
} as const;

export function ConnectionWord() {
  const { kind } = connection.value;
  return (
    <span class={`connection connection-${kind}`}>
      <span class="connection-dot" aria-hidden="true" />
      {words[kind]}
    </span>
  );
}

export function ConnectionBanner() {
  const state = connection.value;
  return (
    <div role="status" aria-live="polite" aria-atomic="true">
      {state.kind === 'lost' && (
        <div class="banner banner-warn">
          <p>
            <strong>
              Connection lost{state.dataAtMs === null ? '' : `, showing data of ${clockTime(state.dataAtMs)}`}.
            </strong>{' '}
            {lostReason(state.dataAtMs)} <span aria-hidden="true">{retryWord(secondsLeft(state.retryAtMs))}</span>
          </p>
          <button type="button" class="button" onClick={reconnectNow}>
            Try now
          </button>
        </div>
      )}
      {state.kind === 'polling' && (
        <div class="banner">
          <p>No live events come through (a proxy may hold them back): this page asks every ten seconds instead.</p>
        </div>
      )}
      {state.kind === 'snapshot' && snapshotMadeAtMs.value !== null && (
        <div class="banner">
          <p>
            A snapshot of {dateTime(snapshotMadeAtMs.value)}: files, no server. Ages are counted to that moment, and
            everything can be verified in this browser.
          </p>
        </div>
      )}
    </div>
  );
}

/** The run's API is its syncer's: where it does not answer, nothing is merged, and learners go on with what they have. */
function lostReason(dataAtMs: number | null): string {
  if (!navigator.onLine) return 'This machine is offline; the run goes on without this page.';
  const since = dataAtMs === null ? '' : ` since ${clockTime(dataAtMs)}`;
  return `The syncer does not answer here${since}. If it is away, learners keep training what they have leased, and merging goes on when it is back.`;
}

const retryWord = (seconds: number): string => (seconds <= 0 ? 'Trying again…' : `Next try in ${seconds} s.`);
