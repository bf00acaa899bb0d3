/** @file Results of `accrete simulate` and `accrete plan`, from a file that is opened here and goes nowhere. */
import { useSignal } from '@preact/signals';
import { bytes, percent, plural, short, shortHotkey, whole } from '../format/numbers.ts';
import { Card, Fact, PageHead } from '../parts/card.tsx';
import { Chart } from '../parts/chart.tsx';
import { FaultState } from '../parts/states.tsx';
import {
  type GoodputResult,
  maxResultBytes,
  type PlanResult,
  parseResult,
  type Result,
  type SimulationResult,
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
      <p>
        <label>
          Result file <input type="file" accept=".json,application/json" onChange={open} />
        </label>
      </p>
      {fault.value !== null && <FaultState title="The file cannot be shown">{fault.value}</FaultState>}
      {result.value !== null && <Shown result={result.value} />}
    </>
  );
}

function Shown({ result }: { result: Result }) {
  return (
    <>
      {result.format === 'accrete-simulation/1' && <Simulation result={result} />}
      {result.format === 'accrete-goodput/1' && <Goodput result={result} />}
      {result.format === 'accrete-plan/1' && <Planned result={result} />}
      <Card title="How it was made" wide>
        <p>
          <code>{result.command}</code>
        </p>
        <ul>
          {('assumptions' in result ? result.assumptions : result.notes).map((note) => (
            <li key={note}>{note}</li>
          ))}
        </ul>
      </Card>
    </>
  );
}

function Simulation({ result }: { result: SimulationResult }) {
  const { samples, fairness, squareRule } = result;
  const line = (label: string, of: (sample: (typeof samples)[number]) => number) => ({
    label,
    // Virtual hours from midnight: a time axis reads them as a clock.
    atMs: samples.map(({ hour }) => hour * 3_600_000 + new Date(0).getTimezoneOffset() * 60_000),
    countedTokens: samples.map(({ mergedTokens }) => mergedTokens),
    value: samples.map(of),
  });
  const done = [line('done', (s) => s.doneTokens), line('merged', (s) => s.mergedTokens)];
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
        <Fact name="Modelled loss">{result.loss.toFixed(4)}</Fact>
        <Fact
          name="Effective earners"
          note={`of the work ${fairness.effectiveWorkers.toFixed(1)}; by tokens²/steps ${squareRule.effectiveEarners.toFixed(1)}`}
        >
          {fairness.effectiveEarners.toFixed(1)}
        </Fact>
      </dl>
      <Card title={`${result.name}: tokens over ${result.hours} virtual hours`} wide>
        <Chart title="Tokens" axis="time" format={short} lines={done} />
      </Card>
      <Card title="Learners that are up" wide>
        <Chart title="Learners" axis="time" format={whole} lines={[line('up', (s) => s.up)]} />
      </Card>
      <Card title="Loss, modelled" wide>
        <Chart title="Loss" axis="tokens" format={(x) => x.toFixed(3)} lines={[line('loss', (s) => s.loss)]} />
      </Card>
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
    </>
  );
}

function Goodput({ result }: { result: GoodputResult }) {
  return (
    <Card title={`Goodput of ${result.hours} virtual hours, beside Decoupled DiLoCo`} wide>
      <ResultTable
        label="Goodput by row"
        head={['Chips', 'Learners', 'Theirs', 'Ours', 'Uptime']}
        rows={result.rows.map((row) => [
          `${short(row.chips)}, ${row.kind}`,
          String(row.learners),
          `${row.published} %`,
          `${row.ours.toFixed(1)} %`,
          `${row.uptime.toFixed(2)} %`,
        ])}
      />
    </Card>
  );
}

function Planned({ result }: { result: PlanResult }) {
  const { kinds, phases, journal, validators } = result;
  return (
    <>
      <dl class="facts">
        {phases.map(({ name, targetTokens, endDays }) => (
          <Fact key={name} name={`Phase ${name}`} note={`${short(targetTokens)} tokens`}>
            {endDays === null ? 'never ends' : `day ${endDays.toFixed(1)}`}
          </Fact>
        ))}
        <Fact name="Tokens a day" note={`utilisation ${percent(result.utilisation)}`}>
          {short(result.tokensADay)}
        </Fact>
        <Fact name="Journal a day" note={bytes(journal.bytesADay)}>
          {plural(journal.eventsADay, 'entry', 'entries')}
        </Fact>
        <Fact name="Store">{bytes(result.storeBytes)}</Fact>
        <Fact name="Validators" note={`${percent(validators.shareOfTraining)} of the training time`}>
          {whole(validators.needed)}
        </Fact>
      </dl>
      <Card title={`${result.run} by ${result.fleet}`} wide>
        <ResultTable
          label="Machines by kind"
          head={['Kind', 'Machines', 'Tokens/s', 'There', 'Up a day', 'Down a day', 'Join', 'Tokens a day']}
          rows={kinds.map((kind) => [
            kind.kind,
            whole(kind.machines),
            short(kind.tokensPerSecond),
            percent(kind.availability),
            bytes(kind.bytesUpADay),
            bytes(kind.bytesDownADay),
            `${whole(kind.joinSeconds)} s`,
            short(kind.tokensADay),
          ])}
        />
      </Card>
      <Card title="What limits it" wide>
        <ul>
          {result.limits.map((limit) => (
            <li key={limit}>{limit}</li>
          ))}
        </ul>
      </Card>
      <Card title="What would change it most" wide>
        <ResultTable
          label="Sensitivities"
          head={['Change', 'Time to the end, over this plan']}
          rows={result.sensitivities.map(({ change, timeFactor }) => [
            change,
            timeFactor === null ? 'ends or begins it' : `${timeFactor.toFixed(2)} ×`,
          ])}
        />
      </Card>
    </>
  );
}
