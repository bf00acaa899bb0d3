/** @file Where a pulled checkpoint comes from and goes to, as an operator typed it; and the pull itself, told at the terminal. */
import { existsSync } from 'node:fs';
import { mkdir, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { JournalError } from '../../journal/errors.ts';
import { type FolderLock, lockFolder } from '../../journal/folder-lock.ts';
import { isRepoName, openHubSource } from '../../pull/hub-source.ts';
import { type PullReport, partialPullOf, pull, retryOptions } from '../../pull/pull.ts';
import { openRunSource } from '../../pull/run-source.ts';
import type { PullSource } from '../../pull/source.ts';
import { UsageError } from '../../util/errors.ts';
import { progressBar } from '../export/progress.ts';
import type { Io } from '../io.ts';
import { nativeEquation } from '../native-ed25519.ts';
import { formatCount } from '../output.ts';
import { pulledDir } from '../paths.ts';

export type Origin = { readonly kind: 'run'; readonly url: string } | { readonly kind: 'hub'; readonly repo: string };

export interface SourceChoice {
  readonly release: number | null;
  /** Of a repository; null: by the release, else `main`. */
  readonly revision: string | null;
  readonly takesAll: boolean;
}

/** @throws UsageError */
export function originOf(text: string): Origin {
  const repo = /^hf:\/\/(.*)$/i.exec(text)?.[1] ?? text;
  if (isRepoName(repo)) return { kind: 'hub', repo };
  if (/^https?:\/\//i.test(text) && URL.canParse(text)) return { kind: 'run', url: text.replace(/\/+$/, '') };
  throw new UsageError(
    `expected a run's URL like http://127.0.0.1:4680 or a repository like owner/name (hf://owner/name), got '${text}'`,
  );
}

export async function openSource(origin: Origin, choice: SourceChoice, io: Io): Promise<PullSource> {
  const common = { retry: retryOptions(io.stop), signal: io.stop };
  if (origin.kind === 'run') {
    if (choice.revision !== null) throw new UsageError('--revision is of a repository; a run has --release N');
    let toldAtMs = performance.now();
    const onEntries = (count: number): void => {
      if (performance.now() - toldAtMs < 2_000) return;
      toldAtMs = performance.now();
      io.err(`${formatCount(count)} entries of the record checked`);
    };
    return await openRunSource(origin.url, { ...common, release: choice.release, equation: nativeEquation, onEntries });
  }
  const { HF_ENDPOINT: endpoint = 'https://huggingface.co', HF_TOKEN: token } = io.environment;
  if (!/^https?:\/\//i.test(endpoint) || !URL.canParse(endpoint))
    throw new UsageError(`HF_ENDPOINT: expected a URL like https://huggingface.co, got '${endpoint}'`);
  const revision = choice.revision ?? (choice.release === null ? 'main' : `release-${choice.release}`);
  return await openHubSource(origin.repo, {
    ...{ ...common, endpoint: endpoint.replace(/\/+$/, ''), token: token || null },
    ...{ revision, takesAll: choice.takesAll },
  });
}

/** With a progress bar where there is a terminal. */
export async function bring(
  source: PullSource,
  target: string,
  { parallel, io, isQuiet }: { readonly parallel: number; readonly io: Io; readonly isQuiet: boolean },
): Promise<PullReport> {
  const bar = process.stderr.isTTY && io.terminal !== null && !isQuiet ? progressBar(process.stderr) : null;
  const lock = await holdPartial(target);
  try {
    return await pull(source, { target, parallel, signal: io.stop, onProgress: (progress) => bar?.update(progress) });
  } finally {
    bar?.close();
    await lock?.release();
    // What an interrupted pull left stays.
    await rmdir(partialPullOf(target)).catch(() => {});
  }
}

/** Two pulls to one path would write into each other's files. Null: there is no folder to lie in; the pull says so. */
async function holdPartial(target: string): Promise<FolderLock | null> {
  if (!existsSync(dirname(target))) return null;
  return await lockFolder(partialPullOf(target)).catch((cause: unknown) => {
    if (!(cause instanceof JournalError) || cause.code !== 'LOCKED') return null; // the pull itself says what is wrong
    throw new UsageError(`--out: ${target} is being fetched by another accrete pull (${cause.message})`, { cause });
  });
}

/** Below `.accrete/pulled`, by what it is: one source has one place. */
export const ownPlace = ({ identity }: PullSource): string =>
  join(pulledDir, identity.replace(/[^\w.-]+/g, '-').slice(0, 200));

/** The folder of a checkpoint that lies far away, and what it is; fetched unless it is here. */
export async function fetched(
  origin: Origin,
  { release, revision }: Pick<SourceChoice, 'release' | 'revision'>,
  io: Io,
): Promise<{ readonly folder: string; readonly name: string }> {
  const source = await openSource(origin, { release, revision, takesAll: false }, io);
  const folder = ownPlace(source);
  if (!existsSync(folder)) {
    await mkdir(dirname(folder), { recursive: true });
    io.err(`fetching ${source.name} to ${folder}`);
    await bring(source, folder, { parallel: 4, io, isQuiet: false });
  }
  return { folder, name: source.name };
}

export const pullTo = async (text: string, release: number | null, io: Io): Promise<string> =>
  (await fetched(originOf(text), { release, revision: null }, io)).folder;
