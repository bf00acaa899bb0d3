/** @file Curves: loss and throughput over tokens and time, held-out loss by source, routers, and how the synchronising goes. */
import { useMemo } from 'preact/hooks';
import type { ApiRun } from '../../../src/protocol/api/run.ts';
import { useAnswer } from '../api/answers.ts';
import { loss, measured, short } from '../format/numbers.ts';
import { duration } from '../format/time.ts';
import { Card, PageHead } from '../parts/card.tsx';
import type { ChartAxis } from '../parts/chart-data.ts';
import { Choice } from '../parts/choice.tsx';
import { SeriesChart } from '../parts/series-chart.tsx';
import { query, replaceQuery } from '../router.ts';

const named =
  (names: Readonly<Record<string, string>>) =>
  (name: string): string | null =>
    names[name] ?? null;
const stagesOnly = named({ 'held-out': 'held-out', 'held-out-other': 'held-out, other domains' });
const continuationOnly = named({ 'task/continuation': 'right answers' });
const normNames = named({ norm: 'as sent', clippedNorm: 'as merged' });
const latencyNames = named({
  commitToRevealMs: 'commit to reveal',
  revealToPublishMs: 'reveal to publication',
  mergeDurationMs: 'the merge itself',
});
/** Lines of one stage. Validators tell a stage of a single source once: the stage's line is its source's. */
const sourcesOf = (run: ApiRun | null, stage: string) => {
  const sources = new Set(run?.sources.filter((each) => each.stage === stage).map(({ source }) => source));
  const only = sources.size === 1 ? [...sources][0]! : null;
  return (name: string): string | null => {
    if (name === stage) return only;
    return name.startsWith(`${stage}/`) ? name.slice(stage.length + 1) : null;
  };
};
const mergedSpeed = (): string => 'merged tokens/s';
const trainedSpeed = (): string => 'trained tokens/s';
const trainingOnly = (): string => 'training loss';
const balanceOnly = (name: string): string | null => (name === 'deadExperts' ? null : name);

export default function Training() {
  const run = useAnswer('run', { everyMs: 60_000 }).data;
  const heldOutSources = useMemo(() => sourcesOf(run, 'held-out'), [run]);
  const otherSources = useMemo(() => sourcesOf(run, 'held-out-other'), [run]);
  const axis: ChartAxis = query.value.get('over') === 'time' ? 'time' : 'tokens';
  const isLogY = query.value.get('scale') === 'log';
  return (
    <>
      <PageHead
        title="Loss & throughput"
        aside={
          <div class="controls">
            <Choice
              label="Horizontal axis"
              options={[
                ['tokens', 'over tokens'],
                ['time', 'over time'],
              ]}
              value={axis}
              onChange={(over) => replaceQuery({ over: over === 'time' ? over : null })}
            />
            <Choice
              label="Scale of losses"
              options={[
                ['linear', 'linear'],
                ['log', 'log'],
              ]}
              value={isLogY ? 'log' : 'linear'}
              onChange={(scale) => replaceQuery({ scale: scale === 'log' ? scale : null })}
            />
          </div>
        }
      >
        Drag across a chart to zoom; double-click, or press 0, to see everything. Dotted lines are releases, full ones
        phases.
      </PageHead>
      <div class="charts">
        <Card title="Training loss" aside="nats a token, mean of the learners' own reports">
          <SeriesChart
            metric="training-loss"
            label={trainingOnly}
            title="Training loss"
            axis={axis}
            isLogY={isLogY}
            format={loss}
            empty="Learners report it with their heartbeats; a snapshot has none."
          />
        </Card>
        <Card title="Held-out loss" aside="nats a token, measured by validators">
          <SeriesChart
            metric="held-out-loss"
            title="Held-out loss"
            axis={axis}
            isLogY={isLogY}
            format={loss}
            label={stagesOnly}
            empty="Validators evaluate every release; the first is still to come."
          />
        </Card>
        <Card title="Merged tokens a second" aside="what counts">
          <SeriesChart
            metric="throughput"
            label={mergedSpeed}
            title="Merged tokens a second"
            axis={axis}
            format={short}
            empty="Nothing was merged yet."
          />
        </Card>
        <Card title="Trained tokens a second" aside="what learners say they do">
          <SeriesChart
            metric="trained-throughput"
            label={trainedSpeed}
            title="Trained tokens a second"
            axis={axis}
            format={short}
            empty="No heartbeats were heard yet."
          />
        </Card>
        <Card title="Held-out loss by source" aside="text like the training text">
          <SeriesChart
            metric="held-out-loss"
            title="Held-out loss by source"
            axis={axis}
            isLogY={isLogY}
            format={loss}
            label={heldOutSources}
            empty="No validator told losses by source yet."
          />
        </Card>
        <Card title="Held-out loss by other domain" aside="text unlike the training text">
          <SeriesChart
            metric="held-out-loss"
            title="Held-out loss by other domain"
            axis={axis}
            isLogY={isLogY}
            format={loss}
            label={otherSources}
            empty="No validator told losses by source yet."
          />
        </Card>
        <Card title="Task: what goes on" aside="share of right answers about held-out text; guessing gets 0.25">
          <SeriesChart
            metric="held-out-loss"
            title="Which of four passages goes on"
            axis={axis}
            format={measured}
            label={continuationOnly}
            empty="No validator told of a task yet."
          />
        </Card>
        <Card title="Router health" aside="entropy and worst load; 1 and 1 are balance">
          <SeriesChart
            metric="router-health"
            title="Router health"
            axis={axis}
            format={measured}
            label={balanceOnly}
            empty="Told with each evaluated release."
          />
        </Card>
        <Card title="Gain of tested claims" aside="nats a token on unseen text; below 0 is harm">
          <SeriesChart
            metric="gain"
            title="Gain of tested claims"
            axis={axis}
            format={measured}
            empty="No gain test was settled yet."
          />
        </Card>
        <Card title="Norms of claims" aside="median, before and after clipping">
          <SeriesChart
            metric="norm"
            label={normNames}
            title="Norms of claims"
            axis={axis}
            format={measured}
            empty="Nothing was merged yet."
          />
        </Card>
        <Card title="Staleness" aside="versions that passed before a claim was merged">
          <SeriesChart
            metric="staleness"
            title="Staleness"
            axis={axis}
            format={measured}
            empty="Nothing was merged yet."
          />
        </Card>
        <Card title="Latency" aside="from reveal to publication; of the merge itself">
          <SeriesChart
            metric="latency"
            label={latencyNames}
            title="Latency"
            axis={axis}
            format={duration}
            empty="Nothing was merged yet."
          />
        </Card>
        <Card title="Participation" aside="learners in a merge; hotkeys present">
          <SeriesChart
            metric="participation"
            title="Participation"
            axis={axis}
            format={short}
            empty="Nobody joined yet."
          />
        </Card>
      </div>
    </>
  );
}
