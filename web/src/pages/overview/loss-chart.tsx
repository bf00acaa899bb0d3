/** @file Training and held-out loss in one chart: whether both fall, and whether they part. */
import { useMemo } from 'preact/hooks';
import { useAnswer } from '../../api/answers.ts';
import { loss } from '../../format/numbers.ts';
import { Chart } from '../../parts/chart.tsx';
import { EmptyState, Show } from '../../parts/states.tsx';

const labels: Readonly<Record<string, string>> = {
  'held-out': 'held-out',
  'held-out-other': 'held-out, other domains',
};

export function LossChart() {
  const training = useAnswer('series', { params: { metric: 'training-loss' }, query: { points: 300 }, everyMs: 5_000 });
  const heldOut = useAnswer('series', { params: { metric: 'held-out-loss' }, query: { points: 300 }, everyMs: 5_000 });
  const lines = useMemo(
    () => [
      ...(training.data?.lines ?? []).map((line) => ({ ...line, label: 'training' })),
      ...(heldOut.data?.lines ?? []).flatMap((line) =>
        line.name in labels ? [{ ...line, label: labels[line.name]! }] : [],
      ),
    ],
    [training.data, heldOut.data],
  );
  return (
    <Show of={heldOut} lines={5}>
      {({ marks }) =>
        lines.some(({ value }) => value.length > 0) ? (
          <Chart
            title="Training and held-out loss over counted tokens"
            axis="tokens"
            format={loss}
            lines={lines}
            marks={marks}
            height={240}
          />
        ) : (
          <EmptyState title="No loss yet">
            Learners report theirs once they train; validators measure it on held-out text at each release.
          </EmptyState>
        )
      }
    </Show>
  );
}
