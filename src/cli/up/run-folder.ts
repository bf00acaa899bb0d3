/** @file The folder of `accrete up`: held by one process at a time, and bound to one preset and seed. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { UsageError } from '../../util/errors.ts';
import { holdFolder } from '../hold-folder.ts';
import type { UpOptions } from './options.ts';

export interface RunFolder {
  readonly logs: string;
  /** Folder of one child's keys and state. */
  childDir(name: string): string;
  release(): Promise<void>;
}

interface Marker {
  readonly version: 1;
  readonly preset: string;
  readonly seed: number | string;
  /** Of a run file. */
  readonly run?: string;
}

/** @throws UsageError if another process holds the folder or it belongs to another run. */
export async function openRunFolder(options: UpOptions): Promise<RunFolder> {
  const { dir } = options;
  mkdirSync(join(dir, 'logs'), { recursive: true });
  const { release } = await holdFolder(join(dir, 'supervisor'), 'accrete up');
  try {
    bindMarker(options);
  } catch (error) {
    await release();
    throw error;
  }
  return { logs: join(dir, 'logs'), childDir: (name) => join(dir, name), release };
}

function bindMarker({ dir, preset, seed: number, chosen }: UpOptions): void {
  const seed = chosen?.file.seed ?? number;
  const run = chosen === null ? {} : { run: chosen.file.name };
  const path = join(dir, 'up.json');
  if (!existsSync(path)) {
    writeFileSync(path, `${JSON.stringify({ version: 1, preset, seed, ...run } satisfies Marker)}\n`);
    return;
  }
  const marker = JSON.parse(readFileSync(path, 'utf8')) as Partial<Marker>;
  if (marker.version !== 1) {
    throw new UsageError(
      `${path}: expected version 1, got ${JSON.stringify(marker.version)}; choose another folder with --dir`,
    );
  }
  if (marker.run !== run.run) {
    const held = marker.run === undefined ? `a run of preset ${marker.preset}` : `the run ${marker.run}`;
    throw new UsageError(`${dir} holds ${held}; resume it with what it was started with, or start another with --dir`);
  }
  if (marker.preset !== preset || marker.seed !== seed) {
    throw new UsageError(
      `${dir} holds a run of preset ${marker.preset} with seed ${marker.seed}, asked for was preset ${preset} with seed ${seed}; ` +
        `resume it with --preset ${marker.preset} --seed ${marker.seed}, or start another with --dir`,
    );
  }
}

const portPatienceMs = 6_000;

/** Waits a little for a port that the last start is still leaving. @throws UsageError if it stays taken. */
export async function waitForPort(port: number, signal: AbortSignal): Promise<void> {
  const until = performance.now() + portPatienceMs;
  while (!(await isFree(port))) {
    if (performance.now() > until || signal.aborted) {
      throw new UsageError(
        `port ${port} is taken by another program, perhaps another network (./bin/accrete status --url http://127.0.0.1:${port}); choose another with --port`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? resolve(false) : reject(error),
    );
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
