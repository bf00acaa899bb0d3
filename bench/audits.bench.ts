/**
 * @file Audits between classes of machines: how far honest replays lie apart, and how far attacks do. Learners of native
 * and WebAssembly code train one run together, merging and taking in; every segment is replayed by the other classes.
 */
import { CORPUS_DIR, loadCorpus } from '../src/data/prepared.ts';
import type { Device } from '../src/engine/device.ts';
import { artifactOf } from '../src/protocol/artifact.ts';
import { hotkeyFromSeed } from '../src/protocol/keys.ts';
import type { StateFormat } from '../src/protocol/manifest.ts';
import type { TraceLine } from '../src/protocol/trace.ts';
import type { AuditedSegment, ReplayFinding } from '../src/roles/learner/audited-segment.ts';
import { Replayer } from '../src/roles/learner/replay.ts';
import { openForger, TestRun, TracedLearner } from '../src/roles/learner/test-support.ts';
import { buildManifest } from '../src/roles/orchestrator/run-init.ts';
import type { RunPresetName } from '../src/roles/run-presets.ts';
import { concatBytes } from '../src/util/bytes.ts';
import { nodeSha256 as hash } from '../src/util/node-sha256.ts';
import { Rng } from '../src/util/rng.ts';
import type { Bench, BenchRow } from './measure.ts';

interface Machine {
  readonly name: string;
  readonly threads: number;
  readonly device: Device;
}

const native1: Machine = { name: 'native, 1 thread', threads: 1, device: 'cpu' };
const native2: Machine = { name: 'native, 2 threads', threads: 2, device: 'cpu' };
const wasm: Machine = { name: 'WebAssembly', threads: 1, device: 'wasm' };
/** Who trains; who replays: all but the learner's own kind, whose bits are the same (tests see to that). */
const learners = [native1, wasm];
const replayers = [native1, native2, wasm];

interface AuditsPlan {
  readonly preset: RunPresetName;
  /** Of each learner; 4 audits come of a pair. */
  readonly segments: number;
  /** Of them. */
  readonly attacked: number;
  readonly stateFormat: StateFormat;
}

const plans: readonly AuditsPlan[] = [
  { preset: 'tiny', segments: 50, attacked: 3, stateFormat: 'exact' },
  { preset: 'nano', segments: 6, attacked: 2, stateFormat: 'exact' },
  { preset: 'tiny', segments: 30, attacked: 3, stateFormat: 'rounded' },
  { preset: 'nano', segments: 4, attacked: 1, stateFormat: 'rounded' },
];

export const audits: Bench = {
  name: 'audits',
  about: 'replays of honest segments between classes of machines, and of attacks (minutes)',
  async run() {
    const rows: BenchRow[] = [];
    for (const plan of plans) rows.push(...(await measureAudits(plan)));
    return rows;
  },
};

/** A run of the preset with its prepared text. */
export function openRun(preset: RunPresetName, stateFormat: StateFormat = 'exact'): TestRun {
  const { catalog, loaded } = loadCorpus(CORPUS_DIR, preset);
  const base = buildManifest({
    ...{ name: 'audits', preset, seed: '1', createdAtMs: 0, learners: 2, catalog },
    ledger: { chainId: 'bench', netuid: 1 },
    owner: hotkeyFromSeed(new Uint8Array(32).fill(1), 'ed25519'),
  });
  return new TestRun({ ...base, audit: { ...base.audit, stateFormat } }, loaded);
}

/** One segment more: a claim every H steps of all learners, merged at once and taken in two steps later. */
async function train(run: TestRun, traced: readonly TracedLearner[]): Promise<void> {
  const { innerStepsPerOuterStep: every, stateRootEverySteps } = run.manifest.sync;
  const fragments = run.versions.length;
  for (let i = 0; i < stateRootEverySteps; i++) {
    const step = traced[0]!.innerSteps;
    const outerStep = Math.floor(step / every) - 1;
    if (outerStep >= 0 && step % every === 0)
      run.merge(
        outerStep % fragments,
        traced.map((learner) => learner.claim(outerStep)),
      );
    if (outerStep >= 0 && step % every === 2) for (const learner of traced) learner.takeIn(outerStep % fragments);
    for (const learner of traced) await learner.step();
  }
}

/** A row for each pair of machines and each attack. */
export async function measureAudits({
  preset,
  segments,
  attacked,
  stateFormat,
}: AuditsPlan): Promise<readonly BenchRow[]> {
  const run = openRun(preset, stateFormat);
  const { manifest, loaded } = run;
  const traced = learners.map((machine) => new TracedLearner(run, machine));
  const replayerOf = new Map(
    replayers.map((by) => [by, new Replayer({ manifest, loaded, hash, threads: by.threads, device: by.device })]),
  );
  const findings = new Map<string, ReplayFinding[]>();
  const audit = async (what: string, segment: AuditedSegment, by: Machine): Promise<void> => {
    const signal = AbortSignal.timeout(600_000);
    const finding = await replayerOf.get(by)!.replay(segment, { isSameClass: false, signal });
    findings.set(what, [...(findings.get(what) ?? []), finding]);
    const { code, measurements } = finding;
    console.error(`  ${preset}, steps ${segment.steps}: ${what}: ${code} ${JSON.stringify(measurements)}`);
  };
  const every = manifest.sync.stateRootEverySteps;
  for (let k = 1; k <= segments; k++) {
    await train(run, traced);
    const [own, other] = traced.map((learner) => learner.segment(every * k));
    for (const [i, machine] of learners.entries())
      for (const by of replayers.filter((one) => one !== machine))
        await audit(`${machine.name} by ${by.name}`, [own!, other!][i]!, by);
    // Early, late, and between.
    if (attacked > 0 && (k - 1) % Math.ceil(segments / attacked) === 0)
      for (const [name, forge] of Object.entries(attacks)) await audit(name, await forge(run, own!, other!), wasm);
    for (const { states } of traced) states.delete(every * (k - 1));
  }
  for (const { learner } of traced) await learner.close();
  for (const replayer of replayerOf.values()) await replayer.close();
  return [...findings].map(([what, list]) => rowOf(`${preset}, ${stateFormat}: ${what}`, list));
}

function rowOf(what: string, findings: readonly ReplayFinding[]): BenchRow {
  const numbers = (name: string, exact: number): number[] =>
    findings.map(({ measurements }) => measurements[name] ?? exact).sort((a, b) => a - b);
  const exact = findings.filter(({ measurements }) => measurements.exact === 1).length;
  const failed = findings.filter(({ outcome }) => outcome === 'fail');
  const codes = [...new Set(failed.map(({ code }) => code))].join(' ');
  const low = (name: string): string => quantiles(numbers(name, 1), [0, 0.05, 0.5, 1]);
  const high = (name: string, none: number): string => quantiles(numbers(name, none), [0, 0.5, 0.95, 1]);
  return {
    what,
    value: `${failed.length} of ${findings.length} fail${codes === '' ? '' : ` (${codes})`}`,
    detail:
      `${exact} to the bit; cosine ${low('cosine')}, claims ${low('claimCosine')}, moments ${low('momentCosine')} (least, 5 %, median, greatest); ` +
      `norms ${high('normRatio', 1)}, claims ${high('claimRatio', 1)}, moments ${high('momentRatio', 1)}, residues ${high('residueRatio', 1)}, ` +
      `biases ${high('biasDrift', 0)} (least, median, 95 %, greatest)`,
  };
}

const quantiles = (sorted: readonly number[], shares: readonly number[]): string =>
  shares.map((share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!.toFixed(4)).join(' ');

type Attack = (run: TestRun, segment: AuditedSegment, other: AuditedSegment) => Promise<AuditedSegment>;

/** The lines are the honest ones; the states, and the claims where they are not told otherwise, are what the liar got. */
const attacks: Readonly<Record<string, Attack>> = {
  'a tenth of the steps': (run, segment) => lie(run, segment, { does: (line) => line.step % 10 === 0 }),
  'nine tenths of the steps': (run, segment) => lie(run, segment, { does: (line) => line.step % 10 !== 0 }),
  'other data': (run, segment) => lie(run, segment, { reads: ([from, to]) => [from + 100_000, to + 100_000] }),
  'half of the data': (run, segment) =>
    lie(run, segment, { reads: ([from, to]) => [from - (from % (2 * (to - from))), to - (from % (2 * (to - from)))] }),
  'a tenth of the steps, scaled up': (run, segment) =>
    lie(run, segment, { does: (line) => line.step % 10 === 0, scale: 10 }),
  'the work, scaled by 1.5': (run, segment) => lie(run, segment, { scale: 1.5 }),
  'noise as large as half of the work': (run, segment) => lie(run, segment, { noise: 0.5 }),
  'claims of another learner': async (_run, segment, other) => ({
    ...segment,
    claims: segment.claims.map((claim) => {
      const { artifact, bytes } = other.claims.find(({ outerStep }) => outerStep === claim.outerStep)!;
      return { ...claim, artifact, bytes };
    }),
  }),
  'the state of another learner': async (_run, segment, other) => ({
    ...segment,
    lines: segment.lines.with(-1, { ...segment.lines.at(-1)!, stateRoot: other.lines.at(-1)!.stateRoot }),
    end: other.end,
  }),
};

interface Lie {
  readonly does?: (line: TraceLine) => boolean;
  readonly reads?: (range: readonly [number, number]) => readonly [number, number];
  /** Of the parameters' way from the first state. */
  readonly scale?: number;
  /** Norm over that of the way. */
  readonly noise?: number;
}

async function lie(run: TestRun, segment: AuditedSegment, how: Lie): Promise<AuditedSegment> {
  const { does = () => true, reads = (range) => range, scale = 1, noise = 0 } = how;
  const { learner, moves, planOf } = await openForger(run, segment, native1);
  const before = learner.buffers().params.slice();
  const artifacts = new Map<number, Uint8Array>();
  for (const line of segment.lines) {
    for (const [outerStep, bytes] of moves(line)) artifacts.set(outerStep, bytes);
    if (does(line)) await learner.step({ ...planOf(line), sequences: line.sequences.map(reads) });
  }
  const { params } = learner.buffers();
  const way = Math.sqrt(params.reduce((sum, value, i) => sum + (value - before[i]!) ** 2, 0) / params.length);
  const rng = new Rng(1);
  // Uniform in ±√3 has a deviation of 1.
  const draw = (): number => (2 * (rng.uint32() / 2 ** 32) - 1) * Math.sqrt(3);
  for (let i = 0; i < params.length; i++)
    params[i] = before[i]! + scale * (params[i]! - before[i]!) + (noise === 0 ? 0 : noise * way * draw());
  const end = concatBytes(...learner.endSegment(segment.steps[1]));
  await learner.close();
  const claims = segment.claims.map((claim) => {
    const bytes = artifacts.get(claim.outerStep)!;
    return { ...claim, bytes, artifact: artifactOf(bytes, hash) };
  });
  const { root } = artifactOf(end, hash);
  return { ...segment, end, claims, lines: segment.lines.with(-1, { ...segment.lines.at(-1)!, stateRoot: root }) };
}
