/** @file Rewards: what the ledger paid in each tempo, and what so many verified tokens a day would have earned, from the record. */
import { useSignal } from '@preact/signals';
import { useMemo } from 'preact/hooks';
import type { ApiRewards } from '../../../src/protocol/api/record.ts';
import { useAnswer } from '../api/answers.ts';
import { measured, percent, plural, short, tao } from '../format/numbers.ts';
import { duration } from '../format/time.ts';
import { Card, Fact, PageHead } from '../parts/card.tsx';
import { MinerLink } from '../parts/names.tsx';
import { EmptyState, Show } from '../parts/states.tsx';

const shownTempos = 100;

export default function Rewards() {
  const answer = useAnswer('rewards', { everyMs: 10_000 });
  return (
    <>
      <PageHead title="Rewards">
        The ledger pays at the end of every tempo: miners by verified work, validators by how their weights agree, the
        owner a fixed part. All of it can be computed again from the record.
      </PageHead>
      <Show of={answer} lines={8}>
        {(rewards) =>
          rewards.tempos.length === 0 ? (
            <EmptyState title="Nothing is paid yet">
              The ledger pays when a tempo ends and validators have set weights in it. The overview says when that is.
            </EmptyState>
          ) : (
            <div class="cards">
              <Calculator payout={rewards.payout} />
              <Totals totals={rewards.totals} />
              <Tempos tempos={rewards.tempos} />
              <Latest rows={rewards.latest} />
            </div>
          )
        }
      </Show>
    </>
  );
}

function Calculator({ payout }: { payout: ApiRewards['payout'] }) {
  const text = useSignal('1000000');
  const tokens = /^\d{1,15}$/.test(text.value.trim()) ? Number(text.value) : null;
  if (payout === null)
    return (
      <Card title="What would I have earned?">
        <EmptyState title="Not known yet">No tempo was paid in which tokens were scored.</EmptyState>
      </Card>
    );
  const rao = tokens === null ? null : (tokens / 1e6) * payout.minerRaoPerMillionTokens;
  return (
    <Card title="What would I have earned?">
      <label class="stacked">
        Verified tokens a day
        <input
          class="field"
          inputMode="numeric"
          maxLength={15}
          value={text.value}
          aria-invalid={tokens === null}
          onInput={(event) => (text.value = event.currentTarget.value)}
        />
      </label>
      <p class="result" role="status">
        {tokens === null ? 'A whole number of tokens, please.' : <b>{tao(rao)} a day</b>}
      </p>
      <p class="soft">
        By {plural(payout.tempos, 'paid tempo')} so far: {tao(payout.minerRaoPerMillionTokens)} per million verified
        tokens; all miners together had {short(payout.scoredTokensPerDay)} tokens and {tao(payout.minerRaoPerDay)} a
        day. A tempo takes {duration(payout.tempoMs)}. Counted {payout.note}.
      </p>
      {tokens !== null && tokens > payout.scoredTokensPerDay && (
        <p class="warn">
          That is more than all miners of this run did together: with your tokens in it, each would have been paid less.
        </p>
      )}
    </Card>
  );
}

function Totals({ totals }: { totals: ApiRewards['totals'] }) {
  const all = totals.minerRao + totals.validatorRao + totals.ownerRao;
  const part = (rao: number): string => percent(all === 0 ? null : rao / all);
  return (
    <Card title="Paid so far">
      <dl class="facts">
        <Fact name="Miners" note={part(totals.minerRao)}>
          {tao(totals.minerRao)}
        </Fact>
        <Fact name="Validators" note={part(totals.validatorRao)}>
          {tao(totals.validatorRao)}
        </Fact>
        <Fact name="Owner" note={part(totals.ownerRao)}>
          {tao(totals.ownerRao)}
        </Fact>
        <Fact name="For tokens">{short(totals.scoredTokens)}</Fact>
      </dl>
    </Card>
  );
}

function Tempos({ tempos }: { tempos: ApiRewards['tempos'] }) {
  const newest = useMemo(() => tempos.slice(-shownTempos).reverse(), [tempos]);
  const most = Math.max(1, ...newest.map((t) => t.minerRao + t.validatorRao + t.ownerRao));
  return (
    <Card title="Emission by tempo" wide aside={tempos.length > shownTempos ? `newest ${shownTempos}` : undefined}>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keys. */}
      <section class="table-scroll tall" tabIndex={0} aria-label="Tempos, newest first">
        <table class="table">
          <thead>
            <tr>
              <th class="number">Tempo</th>
              <td />
              <th class="number">Miners</th>
              <th class="number">Validators</th>
              <th class="number">Owner</th>
              <th class="number">Tokens scored</th>
              <th class="number">Per million</th>
            </tr>
          </thead>
          <tbody>
            {newest.map((tempo) => (
              <tr key={tempo.block}>
                <td class="number">{measured(tempo.tempo)}</td>
                <td class="emission-cell">
                  <span class="emission" aria-hidden="true">
                    {[tempo.minerRao, tempo.validatorRao, tempo.ownerRao].map((rao, i) => (
                      <span key={i} style={{ width: `${(rao / most) * 100}%` }} />
                    ))}
                  </span>
                </td>
                <td class="number">{tao(tempo.minerRao)}</td>
                <td class="number">{tao(tempo.validatorRao)}</td>
                <td class="number">{tao(tempo.ownerRao)}</td>
                <td class="number">{short(tempo.scoredTokens)}</td>
                <td class="number">
                  {tempo.minerRaoPerMillionTokens === null ? '–' : tao(tempo.minerRaoPerMillionTokens)}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </Card>
  );
}

function Latest({ rows }: { rows: ApiRewards['latest'] }) {
  return (
    <Card title="Newest tempo, by hotkey" wide>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keys. */}
      <section class="table-scroll tall" tabIndex={0} aria-label="Paid in the newest tempo">
        <table class="table">
          <thead>
            <tr>
              <th>Hotkey</th>
              <th class="number">As miner</th>
              <th class="number">As validator</th>
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <tr key={row.hotkey}>
                <td>
                  <MinerLink hotkey={row.hotkey} name={row.name} />
                </td>
                <td class="number">{row.minerRao === 0 ? '–' : `${measured(row.minerRao / 1e9)} τ`}</td>
                <td class="number">{row.validatorRao === 0 ? '–' : `${measured(row.validatorRao / 1e9)} τ`}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </Card>
  );
}
