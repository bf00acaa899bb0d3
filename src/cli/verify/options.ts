/** @file The options of `accrete verify`. */
import { resolve } from 'node:path';
import { UsageError } from '../../util/errors.ts';
import type { RecordSource } from '../../verify/merge-thread.ts';
import type { Settings } from '../settings.ts';

export interface VerifyCommandOptions {
  readonly source: RecordSource;
  readonly from: number | null;
  /** Null: all. */
  readonly shardBytes: number | null;
  readonly replayCount: number;
  /** `default`: in the working directory, by run. */
  readonly state: { readonly kind: 'none' | 'default' } | { readonly kind: 'file'; readonly path: string };
  readonly cacheBytes: number;
  readonly json: boolean;
}

export function parseVerifyOptions(settings: Settings, cwd: string): VerifyCommandOptions {
  return {
    source: { ...sourceOf(settings.argument, cwd), store: mirrorOf(settings) },
    from: settings.has('from') ? settings.count('from', { min: 0, max: Number.MAX_SAFE_INTEGER }) : null,
    shardBytes: shardBytesOf(settings),
    replayCount: settings.count('replay', { min: 0, max: 10_000 }),
    state: stateOf(settings),
    cacheBytes: settings.count('cache', { min: 1, max: 1 << 20 }) * 1024 * 1024,
    json: settings.switch('json'),
  };
}

function shardBytesOf(settings: Settings): number | null {
  const text = settings.text('shards');
  if (text === 'all') return null;
  if (!/^[\d_]+$/.test(text)) throw new UsageError(`--shards: expected a whole number of GiB, or all, got '${text}'`);
  return settings.count('shards', { min: 1, max: 1 << 20 }) * 1024 ** 3;
}

type Place = { readonly kind: 'url'; readonly url: string } | { readonly kind: 'dir'; readonly dir: string };

function sourceOf(argument: string | null, cwd: string): Place {
  if (argument === null || argument === '')
    throw new UsageError('say what to verify: the URL of an orchestrator, or the folder of a run (.accrete/run)');
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(argument)) return { kind: 'dir', dir: resolve(cwd, argument) };
  if (!URL.canParse(argument) || !/^https?:\/\//i.test(argument))
    throw new UsageError(`expected a URL like http://127.0.0.1:4680 or a folder, got '${argument}'`);
  return { kind: 'url', url: argument.replace(/\/+$/, '') };
}

function mirrorOf(settings: Settings): string | null {
  if (!settings.has('store')) return null;
  const url = settings.text('store');
  if (!URL.canParse(url) || !/^https?:\/\//i.test(url))
    throw new UsageError(`--store: expected the http or https URL of a public bucket and its prefix, got '${url}'`);
  return url.replace(/\/+$/, '');
}

function stateOf(settings: Settings): VerifyCommandOptions['state'] {
  if (!settings.has('state')) return { kind: 'default' };
  return settings.text('state') === 'none' ? { kind: 'none' } : { kind: 'file', path: settings.path('state') };
}
