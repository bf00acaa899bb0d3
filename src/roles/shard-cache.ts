/** @file The run's text on this machine: shards fetched from the store, kept as files, checked whenever they are opened. */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { artifactOf } from '../protocol/artifact.ts';
import type { Shard } from '../protocol/manifest.ts';
import type { Store } from '../store/port.ts';
import type { Log } from '../util/clock.ts';
import { nodeSha256 } from '../util/node-sha256.ts';

/**
 * Files of the shards that `wants` names, by artifact root; what is missing or damaged is fetched again. Failures:
 * StoreError, and what the file system throws.
 */
export async function fetchShards(options: {
  readonly shards: readonly Shard[];
  readonly wants: (shard: Shard) => boolean;
  readonly dir: string;
  readonly store: Store;
  readonly log: Log;
  readonly signal: AbortSignal;
}): Promise<ReadonlyMap<string, string>> {
  const { shards, wants, dir, store, log, signal } = options;
  await mkdir(dir, { recursive: true });
  const files = new Map<string, string>();
  for (const { artifact, source, stage } of shards.filter(wants)) {
    const file = join(dir, `${artifact.root}.tokens`);
    if (!(await holds(file, artifact.root))) {
      const bytes = await store.get(artifact, { signal });
      const partial = `${file}.partial-${process.pid}`;
      await writeFile(partial, bytes);
      await rename(partial, file);
      log.debug('shard fetched', { source, stage, sizeBytes: artifact.sizeBytes });
    }
    files.set(artifact.root, file);
  }
  return files;
}

async function holds(file: string, root: string): Promise<boolean> {
  const bytes = await readFile(file).catch(() => null);
  return bytes !== null && artifactOf(bytes, nodeSha256).root === root;
}
