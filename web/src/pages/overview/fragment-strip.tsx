/** @file All fragments as a strip: how new each is, and which is due. */
import { useAnswer } from '../../api/answers.ts';
import { nowMs } from '../../api/clock.ts';
import { Card } from '../../parts/card.tsx';
import { Show } from '../../parts/states.tsx';
import { hrefOf } from '../../router.ts';
import { FragmentGrid } from '../fragments/grid.tsx';

export function FragmentStrip() {
  const fragments = useAnswer('fragments', { everyMs: 2_000 });
  return (
    <Card title="Fragments" aside={<a href={hrefOf('fragments')}>each of them</a>}>
      <Show of={fragments} lines={2}>
        {(data) => <FragmentGrid fragments={data.fragments} nowMs={nowMs()} isSmall />}
      </Show>
    </Card>
  );
}
