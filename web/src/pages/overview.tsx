/** @file The run at a glance. */
import { useAnswer } from '../api/answers.ts';
import { loss, short } from '../format/numbers.ts';
import { Card, Fact, PageHead } from '../parts/card.tsx';
import { Show } from '../parts/states.tsx';

export default function Overview() {
  const overview = useAnswer('overview', { everyMs: 2_000 });
  return (
    <>
      <PageHead title="Overview" />
      <Show of={overview}>
        {(data) => (
          <Card title="Now">
            <dl class="facts">
              <Fact name="Counted tokens">{short(data.countedTokens)}</Fact>
              <Fact name="Training loss">{loss(data.trainingLoss)}</Fact>
            </dl>
          </Card>
        )}
      </Show>
    </>
  );
}
