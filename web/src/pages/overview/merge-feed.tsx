/** @file The newest merges, as they happen. */
import { useAnswer } from '../../api/answers.ts';
import { measured, plural, short } from '../../format/numbers.ts';
import { duration } from '../../format/time.ts';
import { Card } from '../../parts/card.tsx';
import { Age } from '../../parts/names.tsx';
import { EmptyState, Show } from '../../parts/states.tsx';
import { hrefOf } from '../../router.ts';

export function MergeFeed() {
  const merges = useAnswer('merges', { query: { limit: 12 }, everyMs: 2_000 });
  return (
    <Card title="Newest merges" aside={<a href={hrefOf('merges')}>all merges</a>}>
      <Show of={merges} lines={6}>
        {({ rows }) =>
          rows.length === 0 ? (
            <EmptyState title="No merge yet">
              Learners train towards their first claims; the first fragment is merged once enough of them are accepted.
            </EmptyState>
          ) : (
            <ol class="feed">
              {rows.map((merge) => (
                <li key={merge.outerStep}>
                  <a href={hrefOf(`merges?open=${merge.outerStep}`)}>
                    <span class="feed-what">
                      <b>f{merge.fragment}</b> v{merge.version}
                    </span>
                    <span>
                      {plural(merge.claims, 'claim')} · {short(merge.tokens)} tokens
                    </span>
                    <span class="faint">
                      norm {measured(merge.maxClippedNorm)}
                      {merge.clipped > 0 ? ` · ${merge.clipped} clipped` : ''} · {duration(merge.durationMs)}
                    </span>
                    <span class="feed-age">
                      <Age atMs={merge.atMs} />
                    </span>
                  </a>
                </li>
              ))}
            </ol>
          )
        }
      </Show>
    </Card>
  );
}
