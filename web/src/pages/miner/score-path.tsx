/**
 * @file Why a score is what it is, drawn: tokens paid in each tempo, what the half-life leaves of them today, their sum, its share of
 * the weights, and what the ledger paid. The same sums as `accrete explain`.
 */
import type { ComponentChildren } from 'preact';
import type { ApiMiner } from '../../../../src/protocol/api/participants.ts';
import { useAnswer } from '../../api/answers.ts';
import { percent, short, tao } from '../../format/numbers.ts';
import { Card } from '../../parts/card.tsx';
import { EmptyState } from '../../parts/states.tsx';

const shownTempos = 48;

export function ScorePath({ miner }: { miner: ApiMiner }) {
  const run = useAnswer('run', { everyMs: 60_000 }).data;
  const overview = useAnswer('overview', { everyMs: 2_000 }).data;
  return (
    <Card title="Why the score is what it is">
      {run === null || overview === null ? null : (
        <>
          <Bars miner={miner} halfLife={run.halfLifeTempos} nowTempo={overview.ledger.tempo} />
          <ol class="path">
            <Step name="Open tempo" value={`${short(miner.openTempo.tokens)} tokens`}>
              {miner.openTempo.isCleared ? 'paid at its end' : 'waits for a replay to pass in this tempo'}
              {miner.openTempo.heldTokens > 0
                ? `; ${short(miner.openTempo.heldTokens)} of earlier tempos are held until one passes`
                : ''}
            </Step>
            <Step name="Score" value={`${short(miner.score)} tokens`}>
              all tempos, halved every {run.halfLifeTempos} tempos
              {miner.verdictScore > 0 ? `; ${miner.verdictScore.toFixed(1)} verdicts count beside it` : ''}
            </Step>
            <Step name="Weight" value={percent(miner.weight, 2)}>
              of all scores: {percent(1 - run.verdictShare, 0)} goes by tokens, {percent(run.verdictShare, 0)} by
              settled verdicts
            </Step>
            <Step
              name="On the ledger"
              value={miner.ledger === null ? 'not registered' : percent(miner.ledger.incentive, 2)}
            >
              {miner.ledger === null
                ? 'nothing can be paid before it is'
                : `incentive of uid ${miner.ledger.uid} at the last epoch, after consensus`}
            </Step>
            <Step name="Paid so far" value={tao(miner.emissionRao)}>
              {miner.rewardShare === null
                ? 'the first epoch is still to come'
                : `${percent(miner.rewardShare, 2)} of all pay for ${percent(miner.workShare, 2)} of all work${gapWord(miner)}`}
            </Step>
          </ol>
        </>
      )}
    </Card>
  );
}

function Step({ name, value, children }: { name: string; value: string; children: ComponentChildren }) {
  return (
    <li>
      <span class="path-name">{name}</span>
      <b>{value}</b>
      <span class="faint">{children}</span>
    </li>
  );
}

/** Where pay and work part, the usual reason is time; the numbers beside tell when it is another. */
function gapWord({ rewardShare, workShare, claims, openTempo }: ApiMiner): string {
  const gap = (rewardShare ?? 0) - workShare;
  if (Math.abs(gap) < 0.01) return '';
  if (gap > 0) return ': work of others is not paid yet, or was not paid';
  if (claims.voided > 0) return ': part of it was voided';
  return openTempo.tokens + openTempo.heldTokens > 0
    ? ': the newest work is not paid yet'
    : ': pay follows work by a tempo, and fades with the half-life';
}

function Bars({ miner: { tempos }, halfLife, nowTempo }: { miner: ApiMiner; halfLife: number; nowTempo: number }) {
  const shown = tempos.slice(-shownTempos);
  if (shown.length === 0)
    return (
      <EmptyState title="No tempo closed yet">
        Merged work is scored when the tempo in which it lies ends and its replays have passed.
      </EmptyState>
    );
  const most = Math.max(1, ...shown.map((t) => t.tokens + t.heldTokens));
  return (
    <>
      <div class="tempo-bars" aria-hidden="true">
        {shown.map((t) => {
          const left = halfLife > 0 ? 2 ** (-Math.max(0, nowTempo - 1 - t.tempo) / halfLife) : 0;
          return (
            <span
              key={t.tempo}
              class="tempo-bar"
              title={`tempo ${t.tempo}: ${short(t.tokens)} tokens, ${percent(left, 0)} of them count today`}
            >
              {t.heldTokens > 0 && <span class="tempo-held" style={{ height: `${(100 * t.heldTokens) / most}%` }} />}
              <span class="tempo-paid" style={{ height: `${(100 * t.tokens) / most}%` }}>
                <span style={{ height: `${100 * left}%` }} />
              </span>
            </span>
          );
        })}
      </div>
      <p class="faint tempo-legend">
        Tempos {shown[0]!.tempo} to {shown.at(-1)!.tempo}. Pale: tokens scored then; full: what of them counts today;
        hatched: what still waited for a replay at its end.
      </p>
      <details>
        <summary>as a table</summary>
        <table class="table narrow">
          <thead>
            <tr>
              <th class="number">Tempo</th>
              <th class="number">Tokens</th>
              <th class="number">Held</th>
              <th class="number">Verdicts</th>
              <th class="number">Share</th>
              <th class="number">Paid</th>
            </tr>
          </thead>
          <tbody>
            {[...shown].reverse().map((t) => (
              <tr key={t.tempo}>
                <td class="number">{t.tempo}</td>
                <td class="number">{short(t.tokens)}</td>
                <td class="number">{short(t.heldTokens)}</td>
                <td class="number">{t.verdicts}</td>
                <td class="number">{percent(t.share, 2)}</td>
                <td class="number">{tao(t.emissionRao)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </details>
    </>
  );
}
