/** @file The options of `accrete eval`. */
import { basename, resolve } from 'node:path';
import type { Device } from '../../engine/device.ts';
import { UsageError } from '../../util/errors.ts';
import { parseDevice } from '../device.ts';
import type { Settings } from '../settings.ts';
import { parseThreads } from '../threads.ts';

export interface NamedFile {
  readonly name: string;
  readonly path: string;
}

export interface EvalOptions {
  /** `auto`, `none` or the name of a prepared corpus. */
  readonly heldOut: string;
  readonly texts: readonly NamedFile[];
  readonly sequences: number;
  readonly seqLen: number;
  readonly hasOwnTasks: boolean;
  readonly tasks: readonly NamedFile[];
  readonly ownItems: number;
  readonly fewshot: number;
  readonly fewshotFrom: readonly NamedFile[];
  /** Null: all. */
  readonly limit: number | null;
  readonly seed: number;
  readonly threads: number;
  readonly device: Device;
  readonly out: string | null;
  readonly isWritten: boolean;
}

export function parseEvalOptions(settings: Settings, cwd: string): EvalOptions {
  const tasks = settings.text('tasks') === 'none' ? [] : parseList(settings, 'tasks', cwd);
  const files = tasks.filter(({ name, path }) => !(name === 'own' && path === resolve(cwd, 'own')));
  const options = {
    heldOut: settings.text('held-out'),
    texts: settings.has('text') ? parseList(settings, 'text', cwd) : [],
    sequences: settings.count('sequences', { min: 1, max: 100_000 }),
    seqLen: settings.count('seq-len', { min: 2, max: 1 << 20 }),
    hasOwnTasks: files.length < tasks.length,
    tasks: files,
    ownItems: settings.count('own-items', { min: 1, max: 100_000 }),
    fewshot: settings.count('fewshot', { min: 0, max: 1_000 }),
    fewshotFrom: settings.has('fewshot-from') ? parseList(settings, 'fewshot-from', cwd) : [],
    limit: settings.count('limit', { min: 0, max: 1e9 }) || null,
    seed: settings.count('seed', { min: 0, max: Number.MAX_SAFE_INTEGER }),
    threads: parseThreads(settings),
    device: parseDevice(settings),
    out: settings.has('out') ? settings.path('out') : null,
    isWritten: settings.switch('write'),
  };
  checkShots(options);
  return options;
}

function checkShots({ fewshot, tasks, fewshotFrom }: Pick<EvalOptions, 'fewshot' | 'tasks' | 'fewshotFrom'>): void {
  const stray = fewshotFrom.find(({ name }) => !tasks.some((task) => task.name === name));
  if (stray !== undefined)
    throw new UsageError(`--fewshot-from: ${stray.name} is none of the tasks; give NAME=FILE with a name of --tasks`);
  const without = tasks.find(({ name }) => !fewshotFrom.some((split) => split.name === name));
  if (fewshot > 0 && without !== undefined)
    throw new UsageError(
      `--fewshot ${fewshot}: examples of ${without.name} must come from another file than its questions; add --fewshot-from ${without.name}=FILE`,
    );
}

/** FILE is named like the file without its ending. */
function parseList(settings: Settings, option: string, cwd: string): readonly NamedFile[] {
  const files = settings
    .text(option)
    .split(',')
    .map((part) => {
      const [, name, path] = /^(?:([\w./-]{1,64})=)?(.+)$/.exec(part.trim()) ?? [];
      if (path === undefined) throw new UsageError(`--${option}: expected FILE or NAME=FILE, got '${part}'`);
      return { name: name ?? basename(path).replace(/\.(jsonl?|txt|md)$/, ''), path: resolve(cwd, path) };
    });
  const twice = files.find(({ name }, i) => files.findIndex((file) => file.name === name) < i);
  if (twice !== undefined)
    throw new UsageError(`--${option}: ${twice.name} is there twice; give one of them another name with NAME=FILE`);
  return files;
}
