/** @file A folder of releases: each appears whole, by rename, as `TAG/`; `latest` points at the newest. Does file I/O. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readdir, rename, rm, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { isPresent } from '../export/durable.ts';
import { ExportError } from '../export/errors.ts';
import { type ExportFile, wholeFile, writeStaged } from '../export/staged.ts';
import { PublishError } from './errors.ts';
import type { Publication, Published, PublishFile, PublishOptions, PublishTarget } from './port.ts';

/** `dir` is made if it is not there. */
export function openFolder(dir: string): PublishTarget {
  return { name: dir, publish: async (publication, options) => await publish(dir, publication, options) };
}

async function publish(dir: string, publication: Publication, { signal }: PublishOptions): Promise<Published> {
  const { tag, files } = publication;
  const target = join(dir, tag);
  if (await isPresent(target)) {
    if (await isWhole(target, files)) return { revision: tag, url: target, isKnown: true, isHead: false };
    throw new PublishError(
      'TAKEN',
      `${target} is there with other files; a published release is not rewritten: give another --tag or folder`,
    );
  }
  await mkdir(dir, { recursive: true });
  const [parts, digest] = [await Promise.all(files.map(exportFileOf)), createHash('sha256')];
  for (const { path, from } of files) digest.update(`${path} ${'bytes' in from ? hashOf(from.bytes) : from.file}\n`);
  try {
    await writeStaged({ ...{ target, kind: 'folder', files: parts, signal }, source: digest.digest('hex') });
  } catch (cause) {
    if (cause instanceof ExportError && cause.code === 'INTERRUPTED')
      throw new PublishError('INTERRUPTED', cause.message, { cause, retryable: true });
    throw cause instanceof ExportError && cause.cause instanceof PublishError ? cause.cause : cause;
  }
  await pointLatest(dir, tag);
  return { revision: tag, url: target, isKnown: false, isHead: true };
}

const hashOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

async function exportFileOf({ path, from }: PublishFile): Promise<ExportFile> {
  if ('bytes' in from) return wholeFile(path, from.bytes);
  const { size } = await stat(from.file);
  const { file } = from;
  return { name: path, parts: [{ name: path, sizeBytes: size, bytes: () => exactly(file, size) }] };
}

/** A file that grows or shrinks meanwhile is not the one that was to be published. */
async function* exactly(file: string, size: number): AsyncGenerator<Uint8Array> {
  let seen = 0;
  for await (const chunk of createReadStream(file)) {
    seen += (chunk as Buffer).length;
    if (seen > size) break;
    yield chunk as Buffer;
  }
  if (seen !== size)
    throw new PublishError('FILE_CHANGED', `${file} changed while it was being published; nothing was published`);
}

async function isWhole(target: string, files: readonly PublishFile[]): Promise<boolean> {
  const entries = await readdir(target, { recursive: true, withFileTypes: true }).catch(() => []);
  if (entries.filter((entry) => !entry.isDirectory()).length !== files.length) return false;
  for (const { path, from } of files) {
    const there = await digestOf(join(target, path));
    if (there === null || there !== ('bytes' in from ? hashOf(from.bytes) : await digestOf(from.file))) return false;
  }
  return true;
}

async function digestOf(path: string): Promise<string | null> {
  if (!(await isPresent(path))) return null;
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** By rename, so that it always points somewhere. Systems without links for users do without it. */
async function pointLatest(dir: string, tag: string): Promise<void> {
  const temporary = join(dir, `.latest-${process.pid}`);
  try {
    await rm(temporary, { force: true });
    await symlink(tag, temporary);
    await rename(temporary, join(dir, 'latest'));
  } catch {
    await rm(temporary, { force: true });
  }
}
