/** @file The run at a glance: is it well, how far is it, how good is the model, who works, and what just happened. */
import type { ApiHealth, ApiOverview, ApiRun } from '../../../src/protocol/api/run.ts';
import { useAnswer } from '../api/answers.ts';
import { pulse } from '../api/live.ts';
import { loss, percent, plural, short, shortHash, whole } from '../format/numbers.ts';
import { dateTime, duration } from '../format/time.ts';
import { Badge, healthTone } from '../parts/badge.tsx';
import { Card, Fact } from '../parts/card.tsx';
import { Age } from '../parts/names.tsx';
import { SeriesChart } from '../parts/series-chart.tsx';
import { Show } from '../parts/states.tsx';
import { hrefOf } from '../router.ts';
import { FragmentStrip } from './overview/fragment-strip.tsx';
import { LossChart } from './overview/loss-chart.tsx';
import { MergeFeed } from './overview/merge-feed.tsx';
import { PhasePlan } from './overview/phase-plan.tsx';

export default function Overview() {
  const run = useAnswer('run', { everyMs: 60_000 });
  const overview = useAnswer('overview', { everyMs: 2_000 });
  return (
    <Show of={overview} lines={8}>
      {(data) => (
        <>
          <Headline run={run.data} data={data} />
          <div class="glance">
            <Training data={data} />
            <People data={data} />
            <Record data={data} />
          </div>
          <div class="overview-columns">
            <div class="overview-main">
              <Card title="Loss" aside={<a href={hrefOf('training')}>all curves</a>}>
                <LossChart />
              </Card>
              <Card title="Merged tokens a second" aside="each point a merge, or a mean of several">
                <SeriesChart
                  metric="throughput"
                  title="Merged tokens a second over time"
                  axis="time"
                  format={short}
                  label={mergedSpeed}
                  height={150}
                  empty="Nothing was merged yet."
                />
              </Card>
            </div>
            <div class="overview-side">
              <FragmentStrip />
              <MergeFeed />
            </div>
          </div>
        </>
      )}
    </Show>
  );
}

const mergedSpeed = (): string => 'merged tokens/s';
const stageNames: Readonly<Record<string, string>> = { 'held-out': 'Held-out loss', 'held-out-other': 'Other domains' };

function Headline({ run, data }: { run: ApiRun | null; data: ApiOverview }) {
  return (
    <section class="headline" aria-label="Progress">
      <div class="headline-top">
        <div>
          <h1>{run?.name ?? 'This run'}</h1>
          <p class="lede">{run !== null && <ModelLine run={run} />}</p>
        </div>
        <p class="health">
          <Badge tone={healthTone(data.health.word)}>{data.health.word}</Badge> <span>{healthReason(data.health)}</span>
        </p>
      </div>
      {run !== null && <PhasePlan run={run} data={data} />}
    </section>
  );
}

/** Since when it is not well; of a run that is well nobody asks. */
const healthReason = ({ word, reason, sinceMs }: ApiHealth): string =>
  word === 'healthy' ? reason : `${reason}, since ${dateTime(sinceMs)}`;

const ModelLine = ({ run: { model, preset, fragments, mergeRule, codec } }: { run: ApiRun }) => (
  <>
    <code>quasar_long</code> · preset {preset} · {short(model.paramsTotal)} parameters, {short(model.paramsActive)} for
    a token · {plural(model.layers, 'layer')}, {model.expertsPerToken} of {plural(model.experts, 'expert')} ·{' '}
    {plural(fragments, 'fragment')} · merged by {mergeRule}, sent as {codec}
  </>
);

function Training({ data }: { data: ApiOverview }) {
  const trainingLoss = pulse.value?.trainingLoss ?? data.trainingLoss;
  const trained = pulse.value?.trainedTokensPerSecond ?? data.trainedTokensPerSecond;
  return (
    <Card title="Training">
      <dl class="facts">
        <Fact name="Training loss" note={trainingLoss === null ? 'no learner is heard' : 'nats a token'}>
          {loss(trainingLoss)}
        </Fact>
        {Object.entries(stageNames).map(([stage, name]) => (
          <Fact key={stage} name={name} note={fallen(data, stage)}>
            {loss(data.heldOutLosses[stage])}
          </Fact>
        ))}
        <Fact name="Merged tokens/s" note={trained === null ? undefined : `${short(trained)} trained now`}>
          {short(data.tokensPerSecond)}
        </Fact>
        <Fact
          name="Router entropy"
          note={
            data.routers === null
              ? 'told with releases'
              : `load to ×${data.routers.imbalance.toFixed(1)}, ${whole(data.routers.deadExperts)} dead`
          }
        >
          {data.routers === null ? '–' : data.routers.entropy.toFixed(3)}
        </Fact>
      </dl>
    </Card>
  );
}

function fallen({ initialLosses, heldOutLosses }: ApiOverview, stage: string): string {
  const [before, now] = [initialLosses[stage], heldOutLosses[stage]];
  if (now === undefined) return before === undefined ? 'not evaluated yet' : `${loss(before)} at first`;
  return before === undefined ? 'nats a token' : `from ${loss(before)}`;
}

function People({ data: { miners, learners, validators, claims, audits, openDisputes } }: { data: ApiOverview }) {
  const settled = claims.accepted + claims.merged + claims.refused + claims.voided;
  return (
    <Card title="People and work">
      <dl class="facts">
        <Fact name="Miners active" note={`${whole(learners.active)} of ${plural(learners.present, 'learner')} present`}>
          <a class="plain" href={hrefOf('miners')}>
            {whole(miners.active)} <small>of {whole(miners.known)}</small>
          </a>
        </Fact>
        <Fact name="Validators active" note={validators.barred > 0 ? `${whole(validators.barred)} barred` : undefined}>
          <a class="plain" href={hrefOf('validators')}>
            {whole(validators.active)} <small>of {whole(validators.known)}</small>
          </a>
        </Fact>
        <Fact name="Claims merged" note={`${whole(claims.open)} wait`}>
          {short(claims.merged)}
        </Fact>
        <Fact
          name="Refused or voided"
          note={settled === 0 ? undefined : `${percent((claims.refused + claims.voided) / settled)} of settled`}
        >
          {whole(claims.refused + claims.voided)}
        </Fact>
        <Fact
          name="Replays passed"
          note={`${whole(audits.failed)} failed, ${whole(audits.open)} open${openDisputes > 0 ? `; ${plural(openDisputes, 'dispute')} open` : ''}`}
        >
          {whole(audits.passed)}
        </Fact>
      </dl>
    </Card>
  );
}

function Record({ data: { latestRelease, lastAnchor, asOf, ledger, medians } }: { data: ApiOverview }) {
  return (
    <Card title="Record">
      <dl class="facts">
        <Fact name="Latest release" note={latestRelease === null ? 'none yet' : <Age atMs={latestRelease.atMs} />}>
          {latestRelease === null ? (
            '–'
          ) : (
            <a class="plain" href={hrefOf(`releases/${latestRelease.release}`)}>
              r{latestRelease.release}
            </a>
          )}
        </Fact>
        <Fact
          name="Last anchor"
          note={lastAnchor === null ? 'first at the tempo’s end' : <Age atMs={lastAnchor.atMs} />}
        >
          {lastAnchor === null ? '–' : <span title={lastAnchor.root}>block {whole(lastAnchor.block)}</span>}
        </Fact>
        <Fact name="Journal" note={<code title={asOf.headHash}>head {shortHash(asOf.headHash)}</code>}>
          {whole(asOf.size)}
        </Fact>
        <Fact name="Tempo" note={`${plural(ledger.blocksToNextTempo, 'block')} to the next`}>
          {whole(ledger.tempo)}
        </Fact>
        <Fact name="Reveal to merge" note="median">
          {duration(medians.revealToPublishMs)}
        </Fact>
      </dl>
    </Card>
  );
}
