/** @file Join: the commands for this run, what it needs, and what this page can tell of the machine it is read on. */
import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import type { ApiRun } from '../../../src/protocol/api/run.ts';
import { useAnswer } from '../api/answers.ts';
import { bytes, whole } from '../format/numbers.ts';
import { Badge, type Tone } from '../parts/badge.tsx';
import { Card, PageHead } from '../parts/card.tsx';
import { RunCommand } from '../parts/run-command.tsx';
import { Show } from '../parts/states.tsx';
import { type MachineFacts, memoryCapGib, readMachine } from './join/machine.ts';

export default function Join() {
  const answer = useAnswer('run');
  return (
    <>
      <PageHead title="Join this run">
        Anybody may come and go. A miner trains and is paid for work that validators could verify; a validator judges
        and is paid for agreeing with what turns out to be true.
      </PageHead>
      <Show of={answer} lines={6}>
        {({ join }) => (
          <div class="cards">
            <Commands join={join} />
            <Needs join={join} />
            <ThisMachine join={join} />
          </div>
        )}
      </Show>
    </>
  );
}

function Commands({ join }: { join: ApiRun['join'] }) {
  return (
    <Card title="What to type" wide>
      <p class="soft">In a clone of Accrete, with Node 20 or newer. Keys are made in the folder and never leave it.</p>
      <h3>Mine</h3>
      <RunCommand command={join.mineCommand} label="the command for a miner" />
      <h3>Validate</h3>
      <RunCommand command={join.validateCommand} label="the command for a validator" />
      <h3>Check everything, trust nobody</h3>
      <RunCommand command={join.verifyCommand} label="the command that verifies" />
    </Card>
  );
}

function Needs({ join }: { join: ApiRun['join'] }) {
  return (
    <Card title="What a miner needs">
      <dl class="needs">
        <Need name="Memory">{bytes(join.memoryBytes)}, estimated</Need>
        <Need name="Disk">{bytes(join.diskBytes)}, estimated</Need>
        <Need name="Threads">{whole(join.minThreads)} or more</Need>
        <Need name="Before the first step">{bytes(join.downloadBytes)} to fetch</Need>
        <Need name="Each claim">about {bytes(join.uploadBytesPerClaim)} to send</Need>
      </dl>
      <ul>
        {join.machineNeeds.map((need) => (
          <li key={need}>{need}</li>
        ))}
      </ul>
    </Card>
  );
}

const Need = ({ name, children }: { name: string; children: preact.ComponentChildren }) => (
  <div>
    <dt>{name}</dt>
    <dd>{children}</dd>
  </div>
);

function ThisMachine({ join }: { join: ApiRun['join'] }) {
  const facts = useSignal<MachineFacts | null>(null);
  useEffect(() => void readMachine().then((read) => (facts.value = read)), []);
  return (
    <Card title="This machine">
      {facts.value === null ? (
        <p role="status">Asking the browser…</p>
      ) : (
        <>
          <Judgement lines={linesOf(facts.value, join)} />
          <ul class="machine">
            {linesOf(facts.value, join).map(({ name, tone, word, text }) => (
              <li key={name}>
                <b>{name}</b> <Badge tone={tone}>{word}</Badge> <span class="soft">{text}</span>
              </li>
            ))}
          </ul>
        </>
      )}
      <p class="faint">
        A browser rounds and hides these numbers, and sees nothing of other programs: this is a hint. Certain is what{' '}
        <code>./bin/accrete doctor</code> finds.
      </p>
    </Card>
  );
}

/** The answer in a sentence; the lines below say why. */
function Judgement({ lines }: { lines: readonly Line[] }) {
  const lacking = lines.filter(({ tone }) => tone === 'bad').map(({ name }) => name.toLowerCase());
  const untold = lines.filter(({ word }) => word === 'cannot tell').map(({ name }) => name.toLowerCase());
  return (
    <p role="status">
      {lacking.length > 0 ? (
        <b class="bad">It lacks {lacking.join(' and ')} for a miner of this run.</b>
      ) : (
        <b class="good">
          {untold.length === 0 ? 'It meets the requirements.' : `As far as it can be told, it meets the requirements.`}
        </b>
      )}
      {untold.length > 0 && ` The browser does not tell enough of: ${untold.join(', ')}.`}
    </p>
  );
}

interface Line {
  readonly name: string;
  readonly tone: Tone;
  readonly word: string;
  readonly text: string;
}

function linesOf({ threads, memoryGib, webgpu, freeBytes }: MachineFacts, join: ApiRun['join']): Line[] {
  const neededGib = join.memoryBytes / 2 ** 30;
  return [
    judge(
      'Threads',
      threads === null ? null : threads >= join.minThreads,
      threads === null ? 'not told' : `${threads} told`,
    ),
    judge('Memory', enoughMemory(memoryGib, neededGib), memoryText(memoryGib, neededGib)),
    judge(
      'Disk',
      freeBytes === null || freeBytes < join.diskBytes ? null : true,
      freeBytes === null ? 'not told' : `${bytes(freeBytes)} for pages of this address; the disk may have more`,
    ),
    {
      name: 'WebGPU',
      ...{ tone: webgpu === 'none' ? 'plain' : 'good', word: webgpu === 'none' ? 'none' : 'there' },
      text: webgpu === 'none' ? 'no adapter in this browser; a miner trains on the CPU as well' : webgpu!,
    },
  ];
}

function judge(name: string, isEnough: boolean | null, text: string): Line {
  if (isEnough === null) return { name, tone: 'plain', word: 'cannot tell', text };
  return { name, tone: isEnough ? 'good' : 'bad', word: isEnough ? 'enough' : 'too little', text };
}

/** A browser tells 8 for everything above. */
function enoughMemory(told: number | null, needed: number): boolean | null {
  if (told === null) return null;
  if (told >= needed) return true;
  return told >= memoryCapGib ? null : false;
}

function memoryText(told: number | null, needed: number): string {
  if (told === null) return 'this browser does not tell';
  const more = told >= memoryCapGib ? ' or more (no browser tells above 8)' : '';
  return `${told} GiB${more}; ${needed.toFixed(1)} needed`;
}
