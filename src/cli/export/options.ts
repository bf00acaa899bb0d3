/** @file The options of `accrete export`. */
import { basename } from 'node:path';
import type { Settings } from '../settings.ts';
import { type ExportCommandOptions, exportTargetNames } from './targets.ts';

export function parseExportOptions(settings: Settings): ExportCommandOptions {
  const checkpoint = settings.path('checkpoint');
  return {
    checkpoint,
    to: settings.choice('to', exportTargetNames),
    out: settings.path('out'),
    type: settings.text('type').toUpperCase(),
    context: settings.has('context') ? settings.count('context', { min: 1, max: 2 ** 31 }) : null,
    name: settings.has('name') ? settings.text('name') : basename(checkpoint),
  };
}
