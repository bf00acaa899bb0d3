/** @file The P fragments: version, age, who contributed to the last merge, what is due. */
import { useSignal } from '@preact/signals';
import type { ApiFragments } from '../../../src/protocol/api/training.ts';
import { useAnswer } from '../api/answers.ts';
import { nowMs } from '../api/clock.ts';
import { bytes, plural, whole } from '../format/numbers.ts';
import { duration } from '../format/time.ts';
import { Card, Fact, PageHead } from '../parts/card.tsx';
import { Age, HashText, MinerLink } from '../parts/names.tsx';
import { EmptyState, Show } from '../parts/states.tsx';
import { hrefOf } from '../router.ts';
import { FragmentGrid, type FragmentRow } from './fragments/grid.tsx';

export default function Fragments() {
  const answer = useAnswer('fragments', { everyMs: 1_500 });
  const selected = useSignal<number | null>(null);
  return (
    <>
      <PageHead title="Fragments">
        The parameters are cut into fragments that are synchronised one after the other, so that no learner ever waits.
        The brighter a cell, the newer it is.
      </PageHead>
      <Show of={answer} lines={8}>
        {(data) => {
          const shown =
            data.fragments.find((f) => f.fragment === (selected.value ?? data.due?.fragment ?? 0)) ?? data.fragments[0];
          return (
            <>
              <DueNow data={data} />
              <Card title={plural(data.fragments.length, 'fragment')} aside="choose one for its last merge">
                <FragmentGrid
                  fragments={data.fragments}
                  nowMs={nowMs()}
                  selected={shown?.fragment ?? 0}
                  onSelect={(fragment) => (selected.value = fragment)}
                />
              </Card>
              {shown !== undefined && <Detail fragment={shown} />}
            </>
          );
        }}
      </Show>
    </>
  );
}

function DueNow({ data: { due } }: { data: ApiFragments }) {
  if (due === null)
    return <p class="soft">No outer step is open: the syncer decides between two, or is away. Learners train on.</p>;
  const leftMs = due.deadlineMs - nowMs();
  return (
    <p class="soft">
      Outer step <b>{whole(due.outerStep)}</b> is open: fragment <b>{due.fragment}</b> is due, with{' '}
      {plural(due.acceptedClaims, 'accepted claim')} since {duration(nowMs() - due.openedAtMs)}. It closes at quorum and
      grace, {leftMs > 0 ? `or in ${duration(leftMs)} at the latest` : `its deadline passed ${duration(-leftMs)} ago`}.
    </p>
  );
}

function Detail({ fragment: f }: { fragment: FragmentRow }) {
  return (
    <Card title={`Fragment ${f.fragment}`} aside={<a href={hrefOf(`merges?fragment=${f.fragment}`)}>its merges</a>}>
      <dl class="facts">
        <Fact name="Version" note={<HashText hash={f.artifact.root} />}>
          v{f.version}
        </Fact>
        <Fact name="Last merge">
          <Age atMs={f.lastMergeMs} />
        </Fact>
        <Fact name="Merges" note={`${whole(f.mergesSinceRelease)} since the last release`}>
          {whole(f.merges)}
        </Fact>
        <Fact name="Claims that wait">{whole(f.openClaims)}</Fact>
        <Fact name="Size">{bytes(f.artifact.sizeBytes)}</Fact>
      </dl>
      <h3 class="spaced">Contributors of the last merge</h3>
      {f.contributors.length === 0 ? (
        <EmptyState title="Nobody yet">This fragment is as the run began with it.</EmptyState>
      ) : (
        <ul class="people">
          {f.contributors.map((c) => (
            <li key={`${c.hotkey}/${c.name}`}>
              <MinerLink hotkey={c.hotkey} name={c.name} />
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}
