/** @file Releases: their lineage, what evaluations say of them as curves, files to download, commands to run one, its model card. */
import { useMemo } from 'preact/hooks';
import type { ApiRelease, ApiReleaseRow } from '../../../src/protocol/api/record.ts';
import { useAnswer } from '../api/answers.ts';
import { baseUrl } from '../api/client.ts';
import { bytes, loss, plural, short, whole } from '../format/numbers.ts';
import { Card, Fact, PageHead } from '../parts/card.tsx';
import { Chart } from '../parts/chart.tsx';
import { Age, HashText } from '../parts/names.tsx';
import { RunCommand } from '../parts/run-command.tsx';
import { EmptyState, Show } from '../parts/states.tsx';
import { hrefOf, query, replaceQuery } from '../router.ts';

const shownRows = 100;

export default function Releases() {
  const list = useAnswer('releases');
  const asked = query.value.get('release');
  const newest = list.data?.rows[0]?.release ?? null;
  const chosen = asked !== null && /^\d{1,9}$/.test(asked) ? Number(asked) : newest;
  return (
    <>
      <PageHead title="Releases">
        A release is a checkpoint that anybody can use. Its files follow bit by bit from the journal's merges, and
        validators measure it on text that no learner has seen.
      </PageHead>
      <Show of={list} lines={8}>
        {({ rows, total }) =>
          rows.length === 0 ? (
            <EmptyState title="No release yet">
              The first comes once every fragment was merged often enough. Until then the overview shows how far it is.
            </EmptyState>
          ) : (
            <div class="cards">
              <Curves rows={rows} />
              <Lineage rows={rows} total={total} chosen={chosen} />
              {chosen !== null && <Detail release={chosen} />}
            </div>
          )
        }
      </Show>
    </>
  );
}

function Curves({ rows }: { rows: readonly ApiReleaseRow[] }) {
  const lines = useMemo(() => {
    const ascending = [...rows].reverse();
    const stages = [...new Set(ascending.flatMap(({ losses }) => Object.keys(losses)))].filter((s) => !s.includes('/'));
    return stages.map((stage) => {
      const of = ascending.filter(({ losses }) => losses[stage] !== undefined);
      return {
        label: stage === 'held-out' ? 'held-out' : 'other sources',
        atMs: of.map(({ atMs }) => atMs),
        countedTokens: of.map(({ countedTokens }) => countedTokens),
        value: of.map(({ losses }) => losses[stage]!),
      };
    });
  }, [rows]);
  return (
    <Card title="Loss of each release" wide>
      {lines.length === 0 ? (
        <EmptyState title="Not evaluated yet">Validators measure a release after it is made.</EmptyState>
      ) : (
        <Chart title="Loss of each release" axis="tokens" format={loss} lines={lines} marks={[]} />
      )}
    </Card>
  );
}

function Lineage({ rows, total, chosen }: { rows: readonly ApiReleaseRow[]; total: number; chosen: number | null }) {
  return (
    <Card title="Lineage" wide aside={plural(total, 'release')}>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keys. */}
      <section class="table-scroll tall" tabIndex={0} aria-label="Releases, newest first">
        <table class="table">
          <thead>
            <tr>
              <th class="number">Release</th>
              <th>Name</th>
              <th>Parent</th>
              <th class="number">Tokens</th>
              <th class="number">Merges</th>
              <th class="number">Held-out loss</th>
              <th class="number">Redone by</th>
              <th class="number">Size</th>
              <th class="number">When</th>
            </tr>
          </thead>
          <tbody>
            {rows.slice(0, shownRows).map((row) => (
              <tr key={row.release} class={row.release === chosen ? 'is-open' : undefined}>
                <td class="number">
                  <button
                    type="button"
                    class="disclosure"
                    aria-pressed={row.release === chosen}
                    onClick={() => replaceQuery({ release: String(row.release) })}
                  >
                    {row.release}
                  </button>
                </td>
                <td>
                  <HashText hash={row.id} />
                </td>
                <td>{row.parent === null ? <span class="faint">the start</span> : <HashText hash={row.parent} />}</td>
                <td class="number">{short(row.countedTokens)}</td>
                <td class="number">{whole(row.mergesInSegment)}</td>
                <td class="number">{loss(row.losses['held-out'])}</td>
                <td class="number">{whole(row.attestedBy.length)}</td>
                <td class="number">{row.sizeBytes === 0 ? '–' : bytes(row.sizeBytes)}</td>
                <td class="number soft">
                  <Age atMs={row.atMs} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </Card>
  );
}

function Detail({ release }: { release: number }) {
  const answer = useAnswer('release', { params: { release } });
  return (
    <Show of={answer} lines={6}>
      {(data) => (
        <>
          <Use release={data} />
          <Files release={data} />
          <Card title="Model card" wide>
            {data.modelCard === null ? (
              <EmptyState title="The card is not here">
                It is a file of the release's folder, which is written once the release is evaluated and kept for the
                newest releases.
              </EmptyState>
            ) : (
              // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keys.
              <pre class="model-card" tabIndex={0}>
                {data.modelCard}
              </pre>
            )}
          </Card>
        </>
      )}
    </Show>
  );
}

function Use({ release }: { release: ApiRelease }) {
  const { commands } = release;
  return (
    <Card title={`Run release ${release.release}`}>
      <dl class="facts">
        <Fact name="Trained on">{short(release.countedTokens)} tokens</Fact>
        <Fact name="Held-out loss" note={plural(release.evaluations, 'evaluation')}>
          {loss(release.losses['held-out'])}
        </Fact>
      </dl>
      {commands.length === 0 && <p class="soft">Its files are not written yet; the commands come with them.</p>}
      {commands.map(({ what, command }) => (
        <div key={what}>
          <h3>{what}</h3>
          <RunCommand command={command} label={`the command: ${what}`} />
        </div>
      ))}
    </Card>
  );
}

function Files({ release: { release, files } }: { release: ApiRelease }) {
  const linkOf = (path: string): string => new URL(path.replace(/^\//, ''), baseUrl()).href;
  return (
    <Card title="Files" aside={<a href={hrefOf(`record?release=${release}`)}>Check their pieces</a>}>
      {files.length === 0 ? (
        <EmptyState title="Not named yet">The journal names a release's files once they are written.</EmptyState>
      ) : (
        <ul class="file-list">
          {files.map(({ name, artifact, filePath, storePath }) => (
            <li key={name}>
              <a href={linkOf(filePath)} download={name}>
                {name}
              </a>{' '}
              <span class="faint">{bytes(artifact.sizeBytes)}</span>{' '}
              <a href={linkOf(storePath)} download={name}>
                from the store
              </a>
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}
