/** @file Goodput of a simulated fleet beside the published rows: a bar for ours, a mark where theirs is. */
import { short } from '../../format/numbers.ts';
import { Bars } from '../../parts/bars.tsx';
import { Card } from '../../parts/card.tsx';
import type { GoodputResult } from './result-file.ts';
import { ResultTable } from './table.tsx';

export function Goodput({ result }: { result: GoodputResult }) {
  return (
    <Card title={`Goodput of ${result.hours} virtual hours, beside Decoupled DiLoCo`} wide>
      <Bars
        label="Goodput by row, ours as a bar, the published one as a mark"
        bars={result.rows.map((row) => ({
          name: `${short(row.chips)} chips, ${row.kind}${row.kind === 'decoupled' ? ` ${row.learners}` : ''}`,
          value: row.ours,
          text: `${row.ours.toFixed(1)} %`,
          mark: { value: row.published, text: `theirs ${row.published} %` },
          // Of one learner two rows are fitted and two predicted: neither is a bar to pass.
          tone: row.kind !== 'decoupled' ? 'plain' : row.ours < row.published ? 'warn' : 'good',
        }))}
      />
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
