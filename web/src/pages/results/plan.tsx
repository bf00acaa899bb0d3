/** @file A plan: tokens over days, what limits it, what would change it, and what it moves, keeps and costs. */
import { bytes, percent, plural, short, whole } from '../../format/numbers.ts';
import { type Bar, Bars } from '../../parts/bars.tsx';
import { Card, Fact } from '../../parts/card.tsx';
import { Chart } from '../../parts/chart.tsx';
import type { ChartLine } from '../../parts/chart-data.ts';
import type { PlanResult } from './result-file.ts';
import { ResultTable } from './table.tsx';

/** Of validators' work over training (the design's bar). */
const validatorBar = 0.2;

export function Planned({ result }: { result: PlanResult }) {
  const { phases, journal, validators, store, tokensADay } = result;
  const isEnding = phases.every(({ endDays }) => endDays !== null);
  return (
    <>
      <dl class="facts">
        {phases.map(({ name, targetTokens, endDays }) => (
          <Fact key={name} name={`Phase ${name}`} note={`${short(targetTokens)} tokens`}>
            {endDays === null ? 'never ends' : `day ${endDays.toFixed(1)}`}
          </Fact>
        ))}
        <Fact name="Tokens a day" note={`utilisation ${percent(result.utilisation)}`}>
          {short(tokensADay)}
        </Fact>
        <Fact name="Paid" note="of the merged work">
          {percent(tokensADay === 0 ? 0 : result.paidTokensADay / tokensADay)}
        </Fact>
        <Fact
          name="Journal a day"
          note={`${bytes(journal.bytesADay)}${journal.bytes === null ? '' : `; ${bytes(journal.bytes)} to the end`}`}
        >
          {plural(journal.eventsADay, 'entry', 'entries')}
        </Fact>
        <Fact name="Store" note={`${bytes(store.bytesInADay)} in, ${bytes(store.bytesOutADay)} out a day`}>
          {bytes(store.bytes)}
        </Fact>
        <Fact name="Validators needed" note={`${whole(validators.count)} are there`}>
          {whole(validators.needed)}
        </Fact>
      </dl>
      <Card title="What limits it, the worst first" wide>
        <ul class="result-list">
          {result.limits.map((limit) => (
            <li key={limit}>{limit}</li>
          ))}
        </ul>
      </Card>
      <div class="cards">
        <Card title={`${result.run} by ${result.fleet}: tokens over days`} wide>
          {isEnding ? (
            <Chart title="Tokens" axis="days" format={short} lines={linesOf(result)} />
          ) : (
            <p>It does not end with this fleet.</p>
          )}
        </Card>
        <Sensitivities result={result} />
        <Machines result={result} />
        <Work result={result} />
        <Card title="What the store holds" wide>
          <Bars label="Bytes in the store" bars={storeBars(result)} />
        </Card>
      </div>
    </>
  );
}

/** A straight line for each phase: the steady state has no other. */
function linesOf({ phases }: PlanResult): ChartLine[] {
  let [day, tokens] = [0, 0];
  return phases.map(({ name, targetTokens, endDays }) => {
    const [from, before] = [day, tokens];
    [day, tokens] = [endDays ?? day, tokens + targetTokens];
    return {
      label: name,
      atMs: [from, day].map((each) => each * 86_400_000),
      countedTokens: [before, tokens],
      value: [before, tokens],
    };
  });
}

function Sensitivities({ result: { sensitivities, phases, tokensADay, paidTokensADay } }: { result: PlanResult }) {
  const now = phases.at(-1)?.endDays ?? null;
  const isPaid = tokensADay > 0 && paidTokensADay === tokensADay;
  const bars = sensitivities.map(({ change, endDays, paidShare }): Bar => {
    const paid = isPaid && paidShare === 1 ? '' : `, ${percent(paidShare, 0)} paid`;
    return {
      name: change,
      value: endDays ?? 0,
      text: `${endDays === null ? 'never ends' : `${days(endDays)}`}${paid}`,
      tone: endDays === null ? 'warn' : now !== null && endDays < 0.99 * now ? 'good' : 'plain',
      ...(now === null ? {} : { mark: { value: now, text: '' } }),
    };
  });
  return (
    <Card title="What would change it most" aside="days to the end; the mark is this plan" wide>
      <Bars label="Days to the end with one thing changed" bars={bars} />
    </Card>
  );
}

const days = (value: number): string => `${value < 10 ? value.toFixed(1) : whole(value)} days`;

function Machines({ result: { kinds } }: { result: PlanResult }) {
  return (
    <Card title="Machines, each" aside="tokens a day of all of a kind" wide>
      <Bars
        label="Merged tokens a day by kind"
        bars={kinds.map(({ kind, tokensADay, isPaid }) => ({
          name: kind,
          value: tokensADay,
          text: `${short(tokensADay)} tokens a day${tokensADay === 0 ? '' : isPaid ? '' : ', not paid'}`,
          tone: isPaid ? 'plain' : 'warn',
        }))}
      />
      <ResultTable
        label="Machines by kind"
        head={['Kind', 'Machines', 'Tokens/s', 'There', 'Claims up a day', 'Audits ask a day', 'Down a day', 'Join']}
        rows={kinds.map((kind) => [
          kind.kind,
          whole(kind.machines),
          short(kind.tokensPerSecond),
          percent(kind.availability),
          bytes(kind.claimBytesADay),
          bytes(kind.auditBytesADay),
          bytes(kind.bytesDownADay),
          `${whole(kind.joinSeconds)} s`,
        ])}
      />
    </Card>
  );
}

function Work({ result: { validators } }: { result: PlanResult }) {
  const { replaySecondsADay, gainSecondsADay, checkSecondsADay, fetchSecondsADay, shareOfTraining } = validators;
  const parts = {
    replays: replaySecondsADay,
    'gain tests': gainSecondsADay,
    checks: checkSecondsADay,
    fetching: fetchSecondsADay,
  };
  return (
    <Card title="Validators' work" aside={`${bytes(validators.bytesDownADay)} down a day each`} wide>
      <Bars
        label="Hours of one validator for a day of the run"
        bars={Object.entries(parts).map(([name, seconds]) => ({
          name,
          value: seconds,
          text: `${short(seconds / 3_600)} hours for a day`,
        }))}
      />
      <Bars
        label="Share of the training time"
        bars={[
          {
            name: 'of training',
            value: shareOfTraining,
            text: percent(shareOfTraining),
            mark: { value: validatorBar, text: `bar ${percent(validatorBar, 0)}` },
            tone: shareOfTraining > validatorBar ? 'warn' : 'good',
          },
        ]}
      />
    </Card>
  );
}

function storeBars({ store: { parts } }: PlanResult): Bar[] {
  const names = {
    current: 'states and momentum of now',
    superseded: 'superseded versions',
    claims: 'claims',
    auditStates: 'states of audits',
  } as const;
  return Object.entries(names).map(([part, name]) => {
    const value = parts[part as keyof typeof names];
    return { name, value, text: bytes(value) };
  });
}
