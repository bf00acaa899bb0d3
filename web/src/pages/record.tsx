/** @file The record: verification in this browser, tree heads and anchors, attested segments, the command that checks the rest. */
import type { ApiRecord } from '../../../src/protocol/api/record.ts';
import { useAnswer } from '../api/answers.ts';
import { plural, whole } from '../format/numbers.ts';
import { Badge } from '../parts/badge.tsx';
import { Card, Fact, PageHead } from '../parts/card.tsx';
import { Age, HashText } from '../parts/names.tsx';
import { RunCommand } from '../parts/run-command.tsx';
import { EmptyState, Show } from '../parts/states.tsx';
import { query } from '../router.ts';
import { Verification } from './record/verification.tsx';

const shownRows = 60;

export default function RecordPage() {
  const answer = useAnswer('record');
  const asked = query.value.get('release');
  const release = asked !== null && /^\d{1,9}$/.test(asked) ? Number(asked) : null;
  return (
    <>
      <PageHead title="The record">
        Every event is signed, chained by hash and covered by a tree head; heads are anchored on the ledger. So nobody,
        the owner included, can change the past unseen.
      </PageHead>
      <div class="cards">
        <Verification size={answer.data?.treeHead.size ?? null} release={release} />
      </div>
      <Show of={answer} lines={8}>
        {(record) => <Lists record={record} />}
      </Show>
    </>
  );
}

function Lists({ record }: { record: ApiRecord }) {
  const { treeHead, commitment, treeHeads, treeHeadCount, segments } = record;
  return (
    <div class="cards">
      <Card title="As the server tells it" wide>
        <dl class="facts">
          <Fact name="Entries" note={<HashText hash={treeHead.root} />}>
            {whole(treeHead.size)}
          </Fact>
          <Fact name="Tree heads">{whole(treeHeadCount)}</Fact>
          <Fact
            name="Newest anchor"
            note={commitment === null ? 'nothing is on the ledger yet' : <HashText hash={commitment.data} />}
          >
            {commitment === null ? '–' : `block ${whole(commitment.block)}`}
          </Fact>
          <Fact name="Segments attested">
            {whole(segments.filter(({ attestedBy, required }) => attestedBy.length >= required).length)} of{' '}
            {whole(segments.length)}
          </Fact>
        </dl>
        <p class="soft">To redo merges, audits and releases too, bit by bit:</p>
        <RunCommand command={record.verifyCommand} label="the command that verifies" />
      </Card>
      <Card title="Tree heads" aside={treeHeadCount > shownRows ? `newest ${shownRows}` : undefined}>
        {treeHeads.length === 0 ? (
          <EmptyState title="No tree head yet">The syncer states one with every release and in every tempo.</EmptyState>
        ) : (
          // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keys.
          <section class="table-scroll tall" tabIndex={0} aria-label="Tree heads, newest first">
            <table class="table">
              <thead>
                <tr>
                  <th class="number">Entries</th>
                  <th>Root</th>
                  <th>Ledger</th>
                  <th class="number">When</th>
                </tr>
              </thead>
              <tbody>
                {treeHeads.slice(0, shownRows).map((head) => (
                  <tr key={head.seq}>
                    <td class="number">{whole(head.size)}</td>
                    <td>
                      <HashText hash={head.root} />
                    </td>
                    <td>
                      {head.isAnchored === null ? (
                        '–'
                      ) : head.isAnchored ? (
                        <Badge tone="good">anchored</Badge>
                      ) : (
                        'not yet'
                      )}
                    </td>
                    <td class="number soft">
                      <Age atMs={head.atMs} />
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </section>
        )}
      </Card>
      <Card title="Segments between releases">
        {segments.length === 0 ? (
          <EmptyState title="No segment yet">
            A segment ends with a release; validators then redo its merges.
          </EmptyState>
        ) : (
          // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keys.
          <section class="table-scroll tall" tabIndex={0} aria-label="Segments, newest first">
            <table class="table">
              <thead>
                <tr>
                  <th class="number">Release</th>
                  <th class="number">Entries</th>
                  <th class="number">Merges</th>
                  <th>State</th>
                  <th>Redone by</th>
                </tr>
              </thead>
              <tbody>
                {segments.slice(0, shownRows).map((segment) => (
                  <tr key={segment.release}>
                    <td class="number">{segment.release}</td>
                    <td class="number">
                      {whole(segment.fromSeq)}–{whole(segment.toSeq)}
                    </td>
                    <td class="number">{whole(segment.merges)}</td>
                    <td>
                      <HashText hash={segment.stateHash} />
                    </td>
                    <td title={segment.attestedBy.join('\n')}>
                      {segment.attestedBy.length === 0 ? (
                        <span class="faint">nobody yet</span>
                      ) : (
                        plural(segment.attestedBy.length, 'validator')
                      )}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </section>
        )}
      </Card>
    </div>
  );
}
