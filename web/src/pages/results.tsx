/** @file Results of `accrete simulate` and `accrete plan`, from a file that is opened here and goes nowhere. */
import { useSignal } from '@preact/signals';
import { bytes, percent, plural, short, shortHotkey, whole } from '../format/numbers.ts';
import { Card, Fact, PageHead } from '../parts/card.tsx';
import { Chart } from '../parts/chart.tsx';
import type { ChartLine } from '../parts/chart-data.ts';
import { FaultState } from '../parts/states.tsx';
import { Goodput } from './results/goodput.tsx';
import { Planned } from './results/plan.tsx';
import {
  type AttackResult,
  maxResultBytes,
  parseResult,
  type Result,
  type SimulationResult,
  type TrainedResult,
} from './results/result-file.ts';
import { ResultTable } from './results/table.tsx';

export default function Results() {
  const result = useSignal<Result | null>(null);
  const fault = useSignal<string | null>(null);
  const take = (text: string): void => {
    const parsed = parseResult(text);
    result.value = 'result' in parsed ? parsed.result : null;
    fault.value = 'fault' in parsed ? parsed.fault : null;
  };
  const open = async (event: Event): Promise<void> => {
    const file = (event.currentTarget as HTMLInputElement).files?.[0];
    if (file === undefined) return;
    if (file.size > maxResultBytes) fault.value = 'the file is larger than 64 MiB';
    else take(await file.text());
  };
  return (
    <>
      <PageHead title="Simulations & plans">
        A file of <code>accrete simulate --fleet F --out FILE</code> or <code>accrete plan --out FILE</code>. It is read
        in this page and sent nowhere; its numbers are of a model, not of this run.
      </PageHead>
      <label class="result-file">
        Result file <input type="file" accept=".json,application/json" onChange={open} />
      </label>
      {fault.value !== null && <FaultState title="The file cannot be shown">{fault.value}</FaultState>}
      {result.value !== null && <Shown result={result.value} />}
    </>
  );
}

function Shown({ result }: { result: Result }) {
  return (
    <>
      {result.format === 'accrete-simulation/1' && <Simulation result={result} />}
      {result.format === 'accrete-trained/1' && <Trained result={result} />}
      {result.format === 'accrete-goodput/1' && <Goodput result={result} />}
      {result.format === 'accrete-plan/2' && <Planned result={result} />}
      <Card title="How it was made" wide>
        <p>
          <code>{result.command}</code>
        </p>
        <ul class="result-list">
          {('assumptions' in result ? result.assumptions : result.notes).map((note) => (
            <li key={note}>{note}</li>
          ))}
        </ul>
      </Card>
    </>
  );
}

/** Points at virtual hours of a run. */
function lineOf<S extends { readonly hour: number; readonly mergedTokens: number }>(
  samples: readonly S[],
  label: string,
  of: (sample: S) => number,
): ChartLine {
  return {
    label,
    atMs: samples.map(({ hour }) => hour * 3_600_000),
    countedTokens: samples.map(({ mergedTokens }) => mergedTokens),
    value: samples.map(of),
  };
}

function Simulation({ result }: { result: SimulationResult }) {
  const { samples, fairness, squareRule } = result;
  type Point = (typeof samples)[number];
  const line = (label: string, of: (sample: Point) => number) => lineOf(samples, label, of);
  const nothing: Point = { hour: 0, mergedTokens: 0, doneTokens: 0, up: 0, loss: 0 };
  const fromNothing = (label: string, of: (sample: Point) => number) => lineOf([nothing, ...samples], label, of);
  return (
    <>
      <dl class="facts">
        <Fact name="Learners">{whole(result.learners)}</Fact>
        <Fact name="Journal" note={bytes(result.journalBytes)}>
          {plural(result.events, 'entry', 'entries')}
        </Fact>
        <Fact name="Goodput" note={`uptime ${percent(result.uptime)}`}>
          {percent(result.goodput)}
        </Fact>
        <Fact name="Modelled loss" note="nats a token">
          {result.loss.toFixed(4)}
        </Fact>
        <Fact
          name="Effective earners"
          note={`of the work ${fairness.effectiveWorkers.toFixed(1)}; by tokens²/steps ${squareRule.effectiveEarners.toFixed(1)}`}
        >
          {fairness.effectiveEarners.toFixed(1)}
        </Fact>
      </dl>
      <div class="cards">
        {result.attack !== null && <Attacked attack={result.attack} />}
        <Card title={`${result.name}: tokens over ${hoursOf(result.hours)}`} wide>
          <Chart
            title="Tokens"
            axis="hours"
            format={short}
            lines={[fromNothing('done', (s) => s.doneTokens), fromNothing('merged', (s) => s.mergedTokens)]}
          />
        </Card>
        <Card title="Learners that are up" wide>
          <Chart title="Learners" axis="hours" format={wholeTicks} lines={[line('up', (s) => s.up)]} />
        </Card>
        <Card title="Loss, modelled" wide>
          <Chart title="Loss" axis="tokens" format={loss} lines={[line('loss', (s) => s.loss)]} />
        </Card>
        <Happened faults={result.faults} chaos={result.chaos} />
        <Card title="Work and pay" wide>
          <ResultTable
            label="Work and pay by hotkey"
            head={['Hotkey', 'Tokens done', 'Of work', 'Of pay', 'Pay over work', 'Tempos to first pay']}
            rows={fairness.earners
              .slice(0, 500)
              .map((earner) => [
                shortHotkey(earner.hotkey),
                short(earner.doneTokens),
                percent(earner.workShare, 2),
                percent(earner.paidShare, 2),
                earner.fairness === null ? '–' : earner.fairness.toFixed(3),
                earner.temposToFirstPay === null ? '–' : String(earner.temposToFirstPay),
              ])}
          />
        </Card>
      </div>
    </>
  );
}

const hoursOf = (hours: number): string => `${Number(hours.toFixed(2))} virtual hour${hours === 1 ? '' : 's'}`;
/** Of a scale: between two whole numbers there is no learner. */
const wholeTicks = (x: number): string => (Number.isInteger(x) ? whole(x) : '');
const loss = (nats: number): string => nats.toFixed(3);

/** What went wrong on purpose; nothing where nothing did. */
function Happened({ faults, chaos }: { faults: Readonly<Record<string, number>>; chaos: typeof faults }) {
  const rows = [
    ...Object.entries(faults).map(([kind, count]) => [wordsOf(kind), count] as const),
    ...Object.entries(chaos).map(([kind, count]) => [`${wordsOf(kind)}, by the chaos seed`, count] as const),
  ].filter(([, count]) => count > 0);
  if (rows.length === 0) return null;
  return (
    <Card title="What went wrong on purpose" wide>
      <ResultTable label="Faults" head={['Fault', 'Times']} rows={rows.map(([kind, count]) => [kind, whole(count)])} />
    </Card>
  );
}

/** `siteLosses`, `site-loss`: as words. */
const wordsOf = (kind: string): string =>
  kind.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`).replaceAll('-', ' ');

function Attacked({ attack }: { attack: AttackResult }) {
  const { name, about, miners, validators, earned, validatorsEarned, caughtBy, honestPay } = attack;
  const codes = Object.entries(caughtBy);
  return (
    <Card title={`Attacked: ${name}`} wide>
      <p>
        {[
          ...(miners > 0 ? [plural(miners, 'hotkey', 'hotkeys')] : []),
          ...(validators > 0 ? [plural(validators, 'validator', 'validators')] : []),
        ].join(' and ')}
        : {about}.
      </p>
      <dl class="facts result-facts">
        {earned !== null && (
          <Fact name="Attackers earned" note="of honest machines of the same speed">
            {percent(earned)}
          </Fact>
        )}
        {validatorsEarned !== null && (
          <Fact name="Their validators" note="of an honest one's pay">
            {percent(validatorsEarned)}
          </Fact>
        )}
        <Fact name="Honest share of pay" note={`with ${percent(attack.honestCapacity)} of the speed`}>
          {percent(attack.honestPaid)}
        </Fact>
        {honestPay !== null && (
          <Fact name="Pay over work" note="among honest hotkeys">
            {honestPay.map((x) => x.toFixed(2)).join(' to ')}
          </Fact>
        )}
      </dl>
      {codes.length === 0 ? (
        <p>Caught by nothing.</p>
      ) : (
        <ResultTable
          label="Codes said of the attackers"
          head={['Caught by', 'Times']}
          rows={codes.map(([code, count]) => [code, whole(count)])}
        />
      )}
    </Card>
  );
}

function Trained({ result }: { result: TrainedResult }) {
  const { samples } = result;
  const last = samples.at(-1);
  // Before the first merge the model of loss says nothing.
  const merged = samples.filter(({ mergedTokens }) => mergedTokens > 0);
  return (
    <>
      <dl class="facts">
        <Fact name="Learners" note="that truly train">
          {whole(result.learners)}
        </Fact>
        <Fact name="Journal" note={plural(result.merges, 'merge', 'merges')}>
          {plural(result.events, 'entry', 'entries')}
        </Fact>
        {last !== undefined && (
          <Fact name="Held-out loss" note={`modelled ${last.modelled.toFixed(4)}`}>
            {last.heldOut.toFixed(4)}
          </Fact>
        )}
        {last !== undefined && (
          <Fact name="Merged tokens" note={`${short(last.doneTokens)} done`}>
            {short(last.mergedTokens)}
          </Fact>
        )}
      </dl>
      <div class="cards">
        <Card title={`${result.name}: loss over merged tokens, ${hoursOf(result.hours)}`} wide>
          <Chart
            title="Loss"
            axis="tokens"
            format={loss}
            lines={[
              lineOf(samples, 'held-out, measured', (s) => s.heldOut),
              lineOf(merged, 'modelled', (s) => s.modelled),
            ]}
          />
        </Card>
        <Card title="Learners that are up" wide>
          <Chart title="Learners" axis="hours" format={wholeTicks} lines={[lineOf(samples, 'up', (s) => s.up)]} />
        </Card>
        <Happened faults={result.faults} chaos={result.chaos} />
      </div>
    </>
  );
}
