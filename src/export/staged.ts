/**
 * @file Writes the files of an export: in a folder `.NAME.partial` beside the target, part by part, synced, and at the end
 * by rename, so that a target is whole or absent. What was interrupted (a signal, a killed process) goes on with the next
 * part when the same export is asked for again; what failed leaves nothing. Never overwrites. Does file I/O.
 */
import { createHash } from 'node:crypto';
import { type FileHandle, mkdir, open, readFile, rename, rm, rmdir, statfs } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { assert } from '../util/errors.ts';
import { writeAll } from '../util/node-write.ts';
import { asExportError, isPresent, syncFolder, writeSynced } from './durable.ts';
import { ExportError } from './errors.ts';

/** A part can be made without those before it. */
export interface ExportPart {
  /** A tensor's name, `header`, or the file's own name. */
  readonly name: string;
  readonly sizeBytes: number;
  bytes(): AsyncIterable<Uint8Array>;
}

export interface ExportFile {
  readonly name: string;
  readonly parts: readonly ExportPart[];
}

export interface StagedExport {
  readonly target: string;
  /** A folder of the files; or the file that is named like the target, with the others beside it. */
  readonly kind: 'folder' | 'file';
  readonly files: readonly ExportFile[];
  /** Tells sources apart: a changed one begins anew. */
  readonly source: string;
  readonly signal?: AbortSignal;
  onProgress?(progress: ExportProgress): void;
  /** An interrupted export repeats at most so many bytes; 64 MiB by default. */
  readonly syncEveryBytes?: number;
}

export interface ExportProgress {
  readonly doneBytes: number;
  readonly totalBytes: number;
  /** What is being written. */
  readonly part: string;
}

export const partialFolderOf = (target: string): string =>
  join(dirname(resolve(target)), `.${basename(resolve(target))}.partial`);

export const sizeOf = (files: readonly ExportFile[]): number =>
  files.flatMap(({ parts }) => parts).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);

/** A small file that is known whole. */
export function wholeFile(name: string, content: Uint8Array): ExportFile {
  const part = {
    ...{ name, sizeBytes: content.length },
    async *bytes() {
      yield content;
    },
  };
  return { name, parts: [part] };
}

/**
 * @throws ExportError. After INTERRUPTED the partial folder is left for the next time, after all others nothing.
 */
export async function writeStaged(options: StagedExport): Promise<void> {
  const target = resolve(options.target);
  const partial = partialFolderOf(target);
  await checkTargets(target, options);
  try {
    await checkParent(target);
    await mkdir(partial, { recursive: true });
    await checkRoom(dirname(target), options);
    const stage = await openStage(partial, options);
    await stage.write();
    await publish(target, partial, options);
  } catch (cause) {
    const error = options.signal?.aborted && !(cause instanceof ExportError) ? interrupted(target, cause) : cause;
    if (!(error instanceof ExportError && error.code === 'INTERRUPTED')) await removePartial(partial);
    throw asExportError(error, target);
  }
}

const stateSchema = z.strictObject({
  version: z.literal(1),
  identity: z.string().length(64),
  /** Whole parts of each file that are on the disk. */
  done: z.record(z.string(), z.int().min(0)),
});

/** Everything of the partial folder but a caller's lock. */
async function removePartial(partial: string): Promise<void> {
  await rm(join(partial, 'files'), { recursive: true, force: true });
  await rm(join(partial, 'state.json'), { force: true });
  await rm(join(partial, 'state.next'), { force: true });
  await rmdir(partial).catch(() => {});
}

async function checkTargets(target: string, { kind, files }: StagedExport): Promise<void> {
  const paths = kind === 'folder' ? [target] : files.map(({ name }) => join(dirname(target), name));
  for (const path of paths)
    if (await isPresent(path))
      throw new ExportError('TARGET_EXISTS', `${path} is there already; choose another name or remove it`);
}

async function checkParent(target: string): Promise<void> {
  if (!(await isPresent(dirname(target))))
    throw new ExportError('WRITE_FAILED', `${dirname(target)} is not there; make that folder first`);
}

/** Before hours of writing: the rest of the export must fit. What is on the disk already does not count. */
async function checkRoom(folder: string, options: StagedExport): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  const needed = sizeOf(options.files) - (await writtenBytes(partialFolderOf(options.target), options));
  if (needed > bavail * bsize)
    throw new ExportError(
      'DISK_FULL',
      `${resolve(options.target)}: ${needed} bytes are needed, ${bavail * bsize} are free; nothing was written`,
      { retryable: true },
    );
}

async function writtenBytes(partial: string, options: StagedExport): Promise<number> {
  const done = await readDone(partial, identityOf(options));
  return options.files.reduce(
    (sum, { name, parts }) => sum + parts.slice(0, done[name] ?? 0).reduce((all, part) => all + part.sizeBytes, 0),
    0,
  );
}

function identityOf({ kind, files, source }: StagedExport): string {
  const shape = files.map(({ name, parts }) => [name, parts.map((part) => [part.name, part.sizeBytes])]);
  return createHash('sha256')
    .update(JSON.stringify([kind, source, shape]))
    .digest('hex');
}

/** Nothing where there is no state, a damaged one, or that of another export. */
async function readDone(partial: string, identity: string): Promise<Readonly<Record<string, number>>> {
  try {
    const state = stateSchema.parse(JSON.parse(await readFile(join(partial, 'state.json'), 'utf8')));
    return state.identity === identity ? state.done : {};
  } catch {
    return {}; // whatever is wrong with it, beginning anew is the cure
  }
}

async function openStage(partial: string, options: StagedExport) {
  const identity = identityOf(options);
  const done: Record<string, number> = { ...(await readDone(partial, identity)) };
  const folder = join(partial, 'files');
  if (Object.keys(done).length === 0) await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const totalBytes = sizeOf(options.files);
  let doneBytes = 0;
  const { signal, syncEveryBytes = 64 * 2 ** 20 } = options;

  const save = async (handle: FileHandle, name: string, parts: number): Promise<void> => {
    await handle.datasync();
    done[name] = parts;
    const next = join(partial, 'state.next');
    await rm(next, { force: true });
    const text = JSON.stringify({ version: 1, identity, done });
    await writeSynced(next, async (file) => await writeAll(file, new TextEncoder().encode(text)));
    await rename(next, join(partial, 'state.json'));
  };

  const writeFile = async ({ name, parts }: ExportFile): Promise<void> => {
    const first = done[name] ?? 0;
    const kept = parts.slice(0, first).reduce((sum, part) => sum + part.sizeBytes, 0);
    await mkdir(dirname(join(folder, name)), { recursive: true });
    const handle = await open(join(folder, name), first === 0 ? 'w' : 'r+');
    try {
      await handle.truncate(kept);
      doneBytes += kept;
      let unsaved = 0;
      let position = kept;
      for (const [i, part] of [...parts.entries()].slice(first)) {
        if (signal?.aborted) {
          await save(handle, name, i);
          throw interrupted(options.target, signal.reason);
        }
        options.onProgress?.({ doneBytes, totalBytes, part: part.name });
        let written = 0;
        for await (const bytes of part.bytes()) {
          await writeAll(handle, bytes, position);
          position += bytes.length;
          written += bytes.length;
          doneBytes += bytes.length;
          options.onProgress?.({ doneBytes, totalBytes, part: part.name });
        }
        assert(written === part.sizeBytes, `${part.name}: ${written} bytes written, ${part.sizeBytes} planned`);
        unsaved += written;
        if (unsaved >= syncEveryBytes) {
          await save(handle, name, i + 1);
          unsaved = 0;
        }
      }
      await save(handle, name, parts.length);
    } finally {
      await handle.close();
    }
  };

  return {
    async write() {
      for (const file of options.files) await writeFile(file);
      await syncFolder(folder);
    },
  };
}

async function publish(target: string, partial: string, options: StagedExport): Promise<void> {
  const folder = join(partial, 'files');
  if (options.kind === 'folder') await rename(folder, target);
  else {
    await checkTargets(target, options);
    // The target last: who sees it has what lies beside it.
    const names = options.files.map(({ name }) => name).sort((a) => (a === basename(target) ? 1 : -1));
    assert(names.at(-1) === basename(target), 'one file has the name of the target');
    for (const name of names) await rename(join(folder, name), join(dirname(target), name));
  }
  await removePartial(partial);
  await syncFolder(dirname(target));
}

const interrupted = (target: string, cause: unknown): ExportError =>
  new ExportError('INTERRUPTED', `${resolve(target)}: interrupted; the same command goes on where this one stopped`, {
    cause,
    retryable: true,
  });
