/** @file One merge: whose claims it took, what share each got, and what clipping did to their norms. */
import { useAnswer } from '../../api/answers.ts';
import { measured, percent, short } from '../../format/numbers.ts';
import { dateTime, duration } from '../../format/time.ts';
import { Badge } from '../../parts/badge.tsx';
import { HashText, MinerLink } from '../../parts/names.tsx';
import { Show } from '../../parts/states.tsx';

export function MergeDetail({ outerStep }: { outerStep: number }) {
  const answer = useAnswer('merge', { params: { outerStep }, everyMs: 3_600_000 }); // what was merged stays
  return (
    <Show of={answer} lines={3}>
      {(merge) => {
        const most = Math.max(...merge.parts.map((part) => part.norm), Number.MIN_VALUE);
        return (
          <div class="merge-detail">
            <p class="soft">
              Version {merge.fromVersion} → {merge.version} · {dateTime(merge.atMs)}
              {merge.openedAtMs === null ? '' : ` · open for ${duration(merge.mergedAtMs - merge.openedAtMs)}`} · result{' '}
              <HashText hash={merge.artifact.root} />
            </p>
            <table class="table">
              <thead>
                <tr>
                  <th>Learner</th>
                  <th class="number">Tokens</th>
                  <th class="number">Stale</th>
                  <th class="number">Share</th>
                  <th>Norm, before and after clipping</th>
                  <th>Claim</th>
                </tr>
              </thead>
              <tbody>
                {merge.parts.map((part) => (
                  <tr key={part.claim}>
                    <td>
                      <MinerLink hotkey={part.hotkey} name={part.name} />
                    </td>
                    <td class="number">{short(part.tokens)}</td>
                    <td class="number">{part.staleness}</td>
                    <td class="number">{percent(part.share)}</td>
                    <td>
                      <span class="norms">
                        <span class="norm-bar" aria-hidden="true">
                          <span class="norm-before" style={{ width: `${(100 * part.norm) / most}%` }} />
                          <span class="norm-after" style={{ width: `${(100 * part.clippedNorm) / most}%` }} />
                        </span>
                        <span class="nowrap">
                          {measured(part.norm)}
                          {part.isClipped ? <span class="warn"> → {measured(part.clippedNorm)}</span> : ''}
                        </span>
                      </span>
                    </td>
                    <td>
                      <HashText hash={part.claim} />{' '}
                      {part.code !== null && part.code !== 'OK' && <Badge tone="bad">{part.code}</Badge>}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        );
      }}
    </Show>
  );
}
