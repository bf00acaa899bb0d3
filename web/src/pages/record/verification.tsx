/** @file The verification as it goes: a line for each step, counts, and for a step that failed the entry, what was expected and what came. */

import { whole } from '../../format/numbers.ts';
import { duration } from '../../format/time.ts';
import { Badge, type Tone } from '../../parts/badge.tsx';
import { Card } from '../../parts/card.tsx';
import type { StepName, StepReport, StepState } from '../../verify/progress.ts';
import { breakdown, isVerifying, progress, startVerification, stopVerification } from '../../verify/run.ts';

const titles: Readonly<Record<StepName, string>> = {
  journal: 'Hash chain',
  signatures: 'Signatures',
  delegations: 'Delegations',
  'tree heads': 'Tree heads',
  ledger: 'Ledger',
  anchors: 'Anchors',
  releases: 'Release files',
};
const tones: Readonly<Record<StepState, Tone>> = {
  waiting: 'plain',
  running: 'info',
  passed: 'good',
  failed: 'bad',
  'not checked': 'warn',
};

export function Verification({ size, release }: { size: number | null; release: number | null }) {
  const now = progress.value;
  const button = isVerifying.value ? (
    <button type="button" class="button" onClick={stopVerification}>
      Stop
    </button>
  ) : (
    <button type="button" class="button primary" onClick={() => startVerification({ expectedEntries: size, release })}>
      {now === null ? 'Verify in this browser' : 'Verify again'}
    </button>
  );
  return (
    <Card title="Verify in this browser" wide aside={button}>
      <p class="soft">
        Your browser fetches the whole record and checks it with the program's own protocol code. The server is asked
        for bytes and believed in nothing. What training made of them is beyond a page: for that there is the command
        below.
      </p>
      {breakdown.value !== null && <p role="alert">The verification broke off: {breakdown.value}.</p>}
      {now !== null && (
        <>
          <progress
            class="verify-progress"
            aria-label="Entries verified"
            max={Math.max(1, now.expectedEntries ?? now.entries, now.entries)}
            value={now.entries}
          />
          <ol class="verify-steps">
            {now.steps.map((step) => (
              <Step key={step.name} step={step} />
            ))}
          </ol>
          <div role="status" aria-live="polite">
            {now.isDone && <Result />}
          </div>
        </>
      )}
    </Card>
  );
}

function Step({ step: { name, state, summary, fault } }: { step: StepReport }) {
  return (
    <li class="verify-step" data-step={name} data-state={state}>
      <span class="verify-name">{titles[name]}</span>
      <Badge tone={tones[state]}>{state}</Badge>
      <span class="soft">{summary}</span>
      {fault !== null && (
        <dl class="verify-fault">
          <div>
            <dt>Where</dt>
            <dd>{fault.seq === null ? fault.event : `entry ${fault.seq}, ${fault.event}`}</dd>
          </div>
          <div>
            <dt>Expected</dt>
            <dd>{fault.expected}</dd>
          </div>
          <div>
            <dt>Found</dt>
            <dd>{fault.found}</dd>
          </div>
        </dl>
      )}
    </li>
  );
}

function Result() {
  const { steps, entries, elapsedMs, runId, treeHead, trouble } = progress.value!;
  if (trouble !== null)
    return <p class="warn">The record could not be read: {trouble}. This says nothing of its truth; try again.</p>;
  const failed = steps.find(({ state }) => state === 'failed');
  const left = steps.filter(({ state }) => state === 'not checked').map(({ name }) => titles[name].toLowerCase());
  if (failed !== undefined)
    return (
      <p class="bad">
        <b>This record is not what it claims to be.</b> {titles[failed.name]} failed; nothing after that was believed.
      </p>
    );
  return (
    <>
      <p>
        <b class="good">{left.length === 0 ? 'All steps passed.' : 'Everything that could be checked passed.'}</b>{' '}
        {whole(entries)} entries in {duration(elapsedMs)}.{left.length > 0 && ` Not checked: ${left.join(', ')}.`}{' '}
        Compare the head with somebody who does not share your server: the same head is the same history.
      </p>
      <dl class="verify-fault">
        <div>
          <dt>Run</dt>
          <dd>{runId}</dd>
        </div>
        <div>
          <dt>Head</dt>
          <dd>{treeHead}</dd>
        </div>
      </dl>
    </>
  );
}
