/** @file The options of `accrete export`. */
import { UsageError } from '../../util/errors.ts';
import type { Settings } from '../settings.ts';
import { parseThreads } from '../threads.ts';
import { type ExportCommandOptions, exportTargetNames, layoutNames } from './targets.ts';

/** Without the checkpoint, which may have to be fetched, and its name where none is given. */
export type ParsedExportOptions = Omit<ExportCommandOptions, 'checkpoint' | 'name'> & { readonly name: string | null };

export function parseExportOptions(settings: Settings): ParsedExportOptions {
  const to = settings.choice('to', exportTargetNames);
  if (settings.has('bits') && to !== 'mlx') throw new UsageError(`--bits: for mlx; ${to} takes --type`);
  return {
    to,
    out: settings.path('out'),
    type: settings.has('type') ? settings.text('type').toUpperCase() : null,
    bits: settings.has('bits') ? (Number(settings.choice('bits', ['4', '8'])) as 4 | 8) : null,
    group: Number(settings.choice('group', ['32', '64', '128'])) as 32 | 64 | 128,
    layout: settings.has('layout') ? settings.choice('layout', layoutNames) : null,
    maxShardBytes: Math.round(settings.number('shard-gb', { min: 1e-6, max: 1e4 }) * 1e9),
    context: settings.has('context') ? settings.count('context', { min: 1, max: 2 ** 31 }) : null,
    name: settings.has('name') ? settings.text('name') : null,
    heldOut: settings.has('held-out') ? settings.path('held-out') : null,
    maxGap: settings.number('max-gap', { min: 0, max: 100 }),
    threads: parseThreads(settings),
  };
}

/** `--type` as one of a target's. @throws UsageError */
export function typeOf<const T extends string>(
  { type, to }: Pick<ExportCommandOptions, 'type' | 'to'>,
  names: readonly T[],
  otherwise: T,
): T {
  if (type === null) return otherwise;
  const found = names.find((name) => name === type);
  if (found === undefined)
    throw new UsageError(
      `--type: expected ${names.slice(0, -1).join(', ')} or ${names.at(-1)} for ${to}, got '${type}'`,
    );
  return found;
}
