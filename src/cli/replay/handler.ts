/** @file Does `accrete replay`: redoes the segments of the miner's own trace that a claim covers, from the states it kept. */
import { join } from 'node:path';
import type { Claim } from '../../journal/state.ts';
import type { ArtifactRef } from '../../protocol/manifest.ts';
import type { LearnerId } from '../../protocol/names.ts';
import type { TraceLine } from '../../protocol/trace.ts';
import { openCachedText } from '../../roles/cached-text.ts';
import { gatherLines, parseClaimTrace } from '../../roles/claim-trace.ts';
import { connectRun, type RunClient } from '../../roles/client.ts';
import type { ReplayFinding } from '../../roles/learner/audited-segment.ts';
import { machineClassOf } from '../../roles/learner/machine-class.ts';
import { readKeptState } from '../../roles/learner/state-folder.ts';
import { stateSizeBytes } from '../../roles/learner/state-format.ts';
import { phaseTermsOf } from '../../roles/run-data.ts';
import { fetchFrozen, runModelOf } from '../../roles/run-model.ts';
import { AuditJudge, GoneError } from '../../roles/validator/audit-judge.ts';
import { VersionHistory } from '../../roles/version-history.ts';
import type { Log } from '../../util/clock.ts';
import type { Range } from '../../util/ranges.ts';
import { findClaim, parseClaimId } from '../claim-id.ts';
import type { Handler } from '../command.ts';
import { roleEnvironment } from '../environment.ts';
import { joinNetwork } from '../join.ts';
import { nativeEquation } from '../native-ed25519.ts';
import { parseThreads } from '../threads.ts';

interface Redone {
  readonly steps: Range;
  readonly outcome: ReplayFinding['outcome'] | 'not redone';
  readonly code: string;
  readonly sentence: string;
  readonly measurements: ReplayFinding['measurements'];
}

export const handle: Handler = async (settings, io) => {
  const typed = parseClaimId(settings);
  const [dir, threads, isJson] = [settings.path('dir'), parseThreads(settings), settings.switch('json')];
  const environment = roleEnvironment(io, { role: 'miner', json: isJson });
  const network = await joinNetwork(settings.url('join'), environment);
  // Ends the following of the journal with the command.
  const connection = new AbortController();
  const signal = AbortSignal.any([io.stop, connection.signal]);
  try {
    const versions = new VersionHistory();
    const { clock, log } = environment;
    const client = await connectRun({
      ...{ ...network, clock, log, session: null, equation: nativeEquation, signal },
      onFold: versions.onFold,
    });
    const claim = findClaim(client.state, typed);
    const redone = await redo(client, claim, { dir, threads, versions, log });
    await client.close();
    if (isJson) io.out(JSON.stringify({ claim: claim.id, status: claim.status, code: claim.code, redone }));
    else for (const line of describe(claim, redone)) io.out(line);
    return redone.some(({ outcome }) => outcome === 'fail') ? 1 : 0;
  } finally {
    connection.abort();
    await network.close();
  }
};

interface RedoOptions {
  readonly dir: string;
  readonly threads: number;
  readonly versions: VersionHistory;
  readonly log: Log;
}

const cacheBytes = 1024 ** 3;

async function redo(client: RunClient, claim: Claim, { dir, threads, versions, log }: RedoOptions): Promise<Redone[]> {
  const { manifest, store, state, signal } = client;
  const states = join(dir, 'states');
  const sizeBytes = stateSizeBytes(runModelOf(manifest).plan, manifest);
  const lines = await readLines(client, claim.learner);
  const judge = new AuditJudge({
    ...{ manifest, threads, signal, machineClass: machineClassOf({ threads }) },
    terms: () => phaseTermsOf(state),
    // A folder of its own: the miner may be at work in its.
    text: await openCachedText({ dir: join(dir, 'replay-text'), limitBytes: cacheBytes }, manifest, {
      ...{ store, log, signal },
      terms: () => phaseTermsOf(state),
    }),
    frozen: await fetchFrozen(state, store, signal),
    fetch: async (artifact) =>
      (artifact.sizeBytes === sizeBytes ? await readKeptState(states, artifact.root) : null) ??
      ((await store.stat(artifact.root)) === artifact.sizeBytes ? store.get(artifact, { signal }) : null),
    versionOf: (fragment, version) => versions.artifactOf(fragment, version),
    linesOf: async (_, [from, to]) => lines.filter(({ step }) => step >= from && step < to),
  });
  try {
    const redone: Redone[] = [];
    for (const segment of segmentsOf(lines, claim.body.steps)) {
      const { steps, joinedAtStep } = segment;
      const isFirst = steps[0] === joinedAtStep;
      const rootAfter = (step: number): ArtifactRef => ({
        root: lines.find((line) => line.step === step)!.stateRoot!,
        sizeBytes,
      });
      const asked = {
        ...{ learner: claim.learner, steps, isFirst, joinedAtStep },
        ...{ start: isFirst ? null : rootAfter(steps[0] - 1), end: rootAfter(steps[1] - 1) },
      };
      const nothing = { outcome: 'not redone' as const, code: '', measurements: {} };
      redone.push({
        steps,
        ...(await judge.redo(state, asked).catch((error) => {
          if (!(error instanceof GoneError)) throw error;
          return { ...nothing, sentence: error.message };
        })),
      });
    }
    return redone;
  } finally {
    await judge.close();
  }
}

/** Every committed line of the learner whose bytes are in the store, in order. */
function readLines({ state, store, signal }: RunClient, learner: LearnerId): Promise<readonly TraceLine[]> {
  return gatherLines(state, learner, [0, Number.POSITIVE_INFINITY], async (claim) => {
    const { artifact } = claim.body.trace;
    if ((await store.stat(artifact.root)) !== artifact.sizeBytes) return null;
    const read = parseClaimTrace(claim, await store.get(artifact, { signal }), state);
    return typeof read === 'string' ? null : read;
  });
}

/** Stretches between two traced states, or from a join to one, that overlap the steps; with the join they go back to. */
function segmentsOf(lines: readonly TraceLine[], [from, to]: Range): { steps: Range; joinedAtStep: number }[] {
  const segments: { steps: Range; joinedAtStep: number }[] = [];
  let begin: number | null = null;
  let joinedAtStep = 0;
  for (const { step, start, stateRoot } of lines) {
    if (start !== null) [begin, joinedAtStep] = [step, step];
    if (stateRoot === null) continue;
    // A claim is made before the step after its last one: that step's segment shows it.
    if (begin !== null && begin <= to && step + 1 > from) segments.push({ steps: [begin, step + 1], joinedAtStep });
    begin = step + 1;
  }
  return segments;
}

function describe(claim: Claim, redone: readonly Redone[]): string[] {
  const { id, status, code, sentence, body } = claim;
  const said = code === null ? '' : ` (${[code, sentence].filter(Boolean).join(': ')})`;
  const rows = redone.map(
    ({ steps, outcome, code, sentence, measurements }) =>
      `steps ${steps[0]} to ${steps[1]}: ${outcome}${code === 'OK' || code === '' ? '' : ` ${code}`}${sentence ? `: ${sentence}` : ''}${measurements.exact === 1 ? ', to the bit' : ''}`,
  );
  const isFine = redone.length > 0 && redone.every(({ outcome }) => outcome === 'pass');
  return [
    `claim ${id}: ${status}${said}; steps ${body.steps[0]} to ${body.steps[1]}, fragment ${body.fragment}`,
    ...(rows.length === 0 ? ['no segment of these steps ends at a traced state yet'] : rows),
    ...(isFine && status === 'refused'
      ? [`its steps hold here: ./bin/accrete appeal ${id.slice(0, 12)} asks all validators`]
      : []),
  ];
}
