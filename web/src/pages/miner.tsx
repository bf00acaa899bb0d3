/** @file One miner: the path from its claims to its pay, each claim with what validators said, each replay, and what to change. */
import type { ApiMiner } from '../../../src/protocol/api/participants.ts';
import { useAnswer } from '../api/answers.ts';
import { measured, percent, plural, short, tao, whole } from '../format/numbers.ts';
import { dateTime, duration } from '../format/time.ts';
import { Badge, type Tone } from '../parts/badge.tsx';
import { Card, Fact, PageHead } from '../parts/card.tsx';
import { Measurements } from '../parts/measurements.tsx';
import { Age, Copyable } from '../parts/names.tsx';
import { EmptyState, Show } from '../parts/states.tsx';
import { hrefOf } from '../router.ts';
import { MinerClaims } from './miner/claims.tsx';
import { ScorePath } from './miner/score-path.tsx';
import type { PageProps } from './page.ts';

export default function Miner({ params }: PageProps) {
  const hotkey = params.hotkey!;
  const answer = useAnswer('miner', { params: { hotkey }, everyMs: 3_000 });
  return (
    <Show of={answer} lines={8}>
      {(miner) => (
        <>
          <PageHead title={miner.learners.join(', ') || 'Miner'} aside={<a href={hrefOf('miners')}>all miners</a>}>
            <Copyable text={miner.hotkey} label="hotkey" />
          </PageHead>
          <Facts miner={miner} />
          <ScorePath miner={miner} />
          <Troubles miner={miner} />
          <MinerClaims hotkey={hotkey} codes={miner.claimCodes} />
          <div class="cards">
            <Learners miner={miner} />
            <Audits miner={miner} />
          </div>
        </>
      )}
    </Show>
  );
}

function Facts({ miner }: { miner: ApiMiner }) {
  const { claims } = miner;
  return (
    <Card title="Standing">
      <dl class="facts">
        <Fact name="Verified tokens" note={`${percent(miner.workShare, 2)} of all work`}>
          {short(miner.verifiedTokens)}
        </Fact>
        <Fact
          name="Earned"
          note={
            miner.rewardShare === null
              ? 'no epoch was paid yet'
              : `${percent(miner.rewardShare, 2)} of all paid to miners`
          }
        >
          {tao(miner.emissionRao)}
        </Fact>
        <Fact name="Weight now" note="what an honest validator sets">
          {percent(miner.weight, 2)}
        </Fact>
        <Fact
          name="Quality"
          note={`${whole(claims.refused)} refused, ${whole(claims.voided)} voided of ${whole(claims.committed)}`}
        >
          {percent(miner.quality)}
        </Fact>
        <Fact name="Staleness" note="versions, mean of merged claims">
          {miner.staleness?.toFixed(2) ?? '–'}
        </Fact>
        <Fact name="Uptime" note={<>since {dateTime(miner.firstJoinedAtMs)}</>}>
          {percent(miner.uptime)}
        </Fact>
        <Fact name="Replays" note={`${whole(miner.audits.failed)} failed, ${whole(miner.audits.open)} open`}>
          {whole(miner.audits.passed)} passed
        </Fact>
        <Fact name="Last claim" note={miner.lastCode === null ? undefined : miner.lastCode}>
          <Age atMs={miner.lastClaimAtMs} />
        </Fact>
      </dl>
    </Card>
  );
}

/** What costs this miner money, first; nothing at all where nothing does. */
function Troubles({ miner: { barred, forfeits } }: { miner: ApiMiner }) {
  if (barred === null && forfeits.length === 0) return null;
  return (
    <Card title="What was lost">
      <ul class="lines">
        {barred !== null && (
          <li>
            <Badge tone="bad">barred</Badge> As a validator: {barred}
          </li>
        )}
        {forfeits.map((forfeit) => (
          <li key={forfeit.audit}>
            <Badge tone="bad">{forfeit.code}</Badge> Replay {forfeit.audit} voided {short(forfeit.tokens)} tokens,{' '}
            <Age atMs={forfeit.atMs} />
          </li>
        ))}
      </ul>
    </Card>
  );
}

function Learners({ miner: { learnerDetails } }: { miner: ApiMiner }) {
  return (
    <Card title={plural(learnerDetails.length, 'learner')}>
      <ul class="lines">
        {learnerDetails.map((learner) => (
          <li key={learner.name}>
            <p>
              <b>{learner.name}</b>{' '}
              <Badge tone={learner.isPresent ? 'good' : 'plain'}>{learner.isPresent ? 'present' : 'away'}</Badge>
            </p>
            <p class="soft">
              {whole(learner.innerSteps)} inner steps, {short(learner.verifiedTokens)} tokens verified ·{' '}
              {plural(learner.threads, 'thread')}, {learner.memoryGib} GiB, class {learner.machineClass}
            </p>
            <p class="faint">
              {learner.loss === null
                ? 'not heard of lately'
                : `loss ${measured(learner.loss)}, ${short(learner.tokensPerSecond)} tokens/s`}{' '}
              · {plural(learner.openLeases, 'open lease')}
            </p>
          </li>
        ))}
      </ul>
    </Card>
  );
}

const auditTones: Readonly<Record<string, Tone>> = { passed: 'good', failed: 'bad', open: 'info', answered: 'info' };
const auditReasons = {
  drawn: 'drawn by the beacon',
  resemblance: 'it resembles another claim',
  'no-gain': 'its claims gain nothing',
} as const;

function Audits({ miner: { auditDetails } }: { miner: ApiMiner }) {
  const newest = auditDetails.slice(-20).reverse();
  return (
    <Card
      title="Replays of its trace"
      aside={auditDetails.length > newest.length ? `newest ${newest.length} of ${auditDetails.length}` : undefined}
    >
      {newest.length === 0 ? (
        <EmptyState title="None drawn yet">
          Each tempo the beacon draws stretches of the trace that validators redo.
        </EmptyState>
      ) : (
        <ul class="lines">
          {newest.map((audit) => (
            <li key={audit.audit}>
              <p>
                <Badge tone={auditTones[audit.status] ?? 'plain'}>{audit.status}</Badge> Steps {whole(audit.steps[0])}{' '}
                to {whole(audit.steps[1])} of {audit.learner}, {auditReasons[audit.reason]}
              </p>
              <p class="soft">
                {audit.sentence}
                {audit.settledAtMs !== null && (
                  <span class="faint"> Settled after {duration(audit.settledAtMs - audit.openedAtMs)}.</span>
                )}
              </p>
              <Measurements of={audit.measurements} />
              {audit.advice !== null && <p class="advice">What to do: {audit.advice}</p>}
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}
