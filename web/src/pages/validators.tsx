/** @file Validators: what they judged and how it stood, the weights that they set, and what those came to in the last epoch. */
import type { ApiValidator } from '../../../src/protocol/api/participants.ts';
import { useAnswer } from '../api/answers.ts';
import { percent, whole } from '../format/numbers.ts';
import { duration } from '../format/time.ts';
import { Badge } from '../parts/badge.tsx';
import { Card, PageHead } from '../parts/card.tsx';
import { Age, MinerLink } from '../parts/names.tsx';
import { EmptyState, Show } from '../parts/states.tsx';
import { hrefOf } from '../router.ts';
import { WeightsMatrix } from './validators/matrix.tsx';

const shownRows = 256;

export default function Validators() {
  const answer = useAnswer('validators');
  const weights = useAnswer('weights', { everyMs: 10_000 });
  return (
    <>
      <PageHead title="Validators">
        A block's hash draws who judges a claim, after the claim is fixed. Who disagrees with the settled verdict loses
        agreement; who is proved wrong is barred.
      </PageHead>
      <div class="cards">
        <Card title="Who judges" wide>
          <Show of={answer} lines={4}>
            {({ rows }) =>
              rows.length === 0 ? (
                <EmptyState title="No validators yet">
                  Claims wait until one is there. <a href={hrefOf('join')}>What to type to be one</a>
                </EmptyState>
              ) : (
                <ValidatorTable rows={rows.slice(0, shownRows)} />
              )
            }
          </Show>
        </Card>
        <Card title="Weights of the last epoch" wide>
          <Show of={weights} lines={4}>
            {(data) =>
              data.rows.length === 0 ? (
                <EmptyState title="No weights yet">
                  Validators set them once a tempo; the ledger brings them to one consensus at its end.
                </EmptyState>
              ) : (
                <WeightsMatrix weights={data} />
              )
            }
          </Show>
        </Card>
      </div>
    </>
  );
}

function ValidatorTable({ rows }: { rows: readonly ApiValidator[] }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keys.
    <section class="table-scroll" tabIndex={0} aria-label="Validators, most verdicts first">
      <table class="table">
        <thead>
          <tr>
            <th>Validator</th>
            <th>State</th>
            <th class="number">Verdicts</th>
            <th class="number">Refusing</th>
            <th class="number">Agreement</th>
            <th class="number">Overruled</th>
            <th class="number">Takes</th>
            <th class="number">Audits</th>
            <th class="number">Evaluations</th>
            <th class="number">Weights set at</th>
            <th class="number">Trust</th>
            <th class="number">Dividends</th>
            <th class="number">Last verdict</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.hotkey}>
              <td>
                <MinerLink hotkey={row.hotkey} name={row.names[0]} />
              </td>
              <td>
                {row.barred !== null ? (
                  <Badge tone="bad" title={row.barred.sentence}>
                    barred
                  </Badge>
                ) : row.isActive === null ? (
                  <span class="faint">not known</span>
                ) : (
                  <Badge tone={row.isActive ? 'good' : 'warn'}>{row.isActive ? 'active' : 'silent'}</Badge>
                )}
              </td>
              <td class="number">{whole(row.verdicts)}</td>
              <td class="number">{whole(row.byOutcome.reject + row.byOutcome.ignore)}</td>
              <td class="number">{percent(row.agreement)}</td>
              <td class="number">{whole(row.overruledVerdicts)}</td>
              <td class="number">{row.medianVerdictMs === null ? '–' : duration(row.medianVerdictMs)}</td>
              <td class="number">{whole(row.audits)}</td>
              <td class="number">{whole(row.evaluations)}</td>
              <td class="number">{row.weightsSetAtBlock === null ? '–' : `block ${whole(row.weightsSetAtBlock)}`}</td>
              <td class="number">{percent(row.validatorTrust)}</td>
              <td class="number">{percent(row.dividends)}</td>
              <td class="number soft">
                <Age atMs={row.lastVerdictAtMs} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
