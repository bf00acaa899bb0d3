/** @file A run by what an operator types: a run file, a run's folder, or the URL of one that goes on. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { manifestOf, runOf } from '../../journal/queries.ts';
import type { RunState } from '../../journal/state.ts';
import { parseConfig, type QuasarLongConfig } from '../../model/quasar-long/config.ts';
import { presetConfig } from '../../model/quasar-long/presets.ts';
import type { RunManifest } from '../../protocol/manifest.ts';
import { connectRun } from '../../roles/client.ts';
import { parseRunFile, type RunFile } from '../../roles/run-file.ts';
import { UsageError } from '../../util/errors.ts';
import { openRecordedRun } from '../api/recorded-run.ts';
import { roleEnvironment, systemClock } from '../environment.ts';
import type { Io } from '../io.ts';
import { joinNetwork } from '../join.ts';
import { nativeEquation } from '../native-ed25519.ts';

/** A run that is written, or one that is. */
export type RunAtPlace =
  | { readonly kind: 'file'; readonly path: string; readonly file: RunFile }
  | { readonly kind: 'run'; readonly place: string; readonly manifest: RunManifest; readonly state: RunState };

const maxFileBytes = 4 * 1024 * 1024;

/** @throws UsageError, JoinError */
export async function openPlace(typed: string, io: Io): Promise<RunAtPlace> {
  if (/^https?:\/\//i.test(typed)) return await foldRemote(typed.replace(/\/+$/, ''), io);
  const path = resolve(io.cwd, typed);
  if (!existsSync(path))
    throw new UsageError(`there is nothing at ${path}; expected a run file, a run's folder or a URL`);
  if (statSync(path).isFile()) return { kind: 'file', path, file: readRunFile(path) };
  const written = join(path, 'run.json');
  if (!existsSync(join(path, 'journal')) && existsSync(written))
    return { kind: 'file', path: written, file: readRunFile(written) };
  const recorded = await openRecordedRun({ dir: path, clock: systemClock });
  await recorded.close();
  return atState(path, recorded.state);
}

const atState = (place: string, state: RunState): RunAtPlace => ({
  kind: 'run',
  place,
  manifest: manifestOf(state),
  state,
});

async function foldRemote(url: string, io: Io): Promise<RunAtPlace> {
  const environment = roleEnvironment(io, { role: 'observer', json: true });
  const network = await joinNetwork(url, environment);
  const connection = new AbortController();
  try {
    const { clock, log } = environment;
    const signal = AbortSignal.any([io.stop, connection.signal]);
    const client = await connectRun({ ...network, clock, log, session: null, equation: nativeEquation, signal });
    await client.close();
    return atState(url, client.state);
  } finally {
    connection.abort();
    await network.close();
  }
}

/** @throws UsageError with every fault of the file */
export function readRunFile(path: string, sources: ReadonlySet<string> | null = null): RunFile {
  if (!existsSync(path))
    throw new UsageError(`there is no run file at ${path}; write one with: ./bin/accrete run init --out ${path}`);
  const { size } = statSync(path);
  if (size > maxFileBytes) throw new UsageError(`${path} has ${size} bytes; a run file has at most ${maxFileBytes}`);
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw new UsageError(`${path} is not JSON: ${(cause as Error).message}`, { cause });
  }
  return checkedRunFile(value, path, sources);
}

/** @throws UsageError with every fault */
export function checkedRunFile(value: unknown, where: string, sources: ReadonlySet<string> | null = null): RunFile {
  const parsed = parseRunFile(value, sources);
  if ('file' in parsed) return parsed.file;
  const told = parsed.faults.slice(0, 20).map(({ field, reason }) => `  ${field}: ${reason}`);
  throw new UsageError(`${where} is no run that can be signed:\n${told.join('\n')}`);
}

/** The model of a run; that of a file without its corpus has the preset's vocabulary. */
export const configAt = (run: RunAtPlace): QuasarLongConfig =>
  run.kind === 'run' ? parseConfig(JSON.parse(run.manifest.model.config)) : presetConfig(run.file.model.preset);

/** The parts that files and manifests share, as plain JSON. */
export function partsOf(run: RunAtPlace): Readonly<Record<string, unknown>> {
  const { name, phases, recipe, fragments, sync, codec, merge, evaluation, audit, rewards, release } =
    run.kind === 'file' ? run.file : run.manifest;
  const { preset } = (run.kind === 'file' ? run.file : run.manifest).model;
  const { tempoBlocks, blockMs } = (run.kind === 'file' ? run.file : run.manifest).ledger;
  const parts = { name, phases, recipe, fragments, sync, codec, merge, evaluation, audit, rewards, release };
  return { ...parts, model: { preset }, ledger: { tempoBlocks, blockMs } };
}

/** As `partsOf`; a file's phase without a mixture has that of the other's, as an amendment would leave it. */
export function partsBeside(run: RunAtPlace, other: RunAtPlace): Readonly<Record<string, unknown>> {
  const parts = partsOf(run);
  const beside = (other.kind === 'file' ? other.file : other.manifest).phases;
  const phases = (run.kind === 'file' ? run.file : run.manifest).phases.map((phase, i) => {
    const mixture = phase.mixture ?? beside[i]?.mixture;
    return mixture === undefined ? phase : { ...phase, mixture };
  });
  return { ...parts, phases };
}

export const stateAt = (run: RunAtPlace): RunState | null =>
  run.kind === 'run' && runOf(run.state) ? run.state : null;
