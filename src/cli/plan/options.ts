/** @file The options of `accrete plan`. */
import { readFileSync, statSync } from 'node:fs';
import { isPresetName } from '../../model/quasar-long/presets.ts';
import { parseManifest, presetManifest } from '../../plan/plan-manifest.ts';
import type { RunManifest } from '../../protocol/manifest.ts';
import type { Fleet } from '../../simulate/fleet/fleet-file.ts';
import { UsageError } from '../../util/errors.ts';
import type { Settings } from '../settings.ts';
import { fleetNamed } from '../simulate/fleet/options.ts';

export interface PlanOptions {
  readonly manifest: RunManifest;
  readonly fleet: Fleet;
  readonly command: string;
  readonly out: string | null;
}

const maxManifestBytes = 64 * 1024 * 1024;

export function parsePlanOptions(settings: Settings): PlanOptions {
  const fleet = fleetNamed(settings);
  return {
    fleet,
    manifest: readManifest(settings, fleet),
    command: `./bin/accrete plan --manifest ${settings.text('manifest')} --fleet ${settings.text('fleet')}`,
    out: settings.has('out') ? settings.path('out') : null,
  };
}

function readManifest(settings: Settings, fleet: Fleet): RunManifest {
  const named = settings.text('manifest');
  if (isPresetName(named)) return presetManifest(named, fleet);
  const path = settings.path('manifest');
  const info = statSync(path, { throwIfNoEntry: false });
  if (info === undefined || !info.isFile())
    throw new UsageError(`--manifest: there is no file at ${path}, and no preset is called '${named}'`);
  if (info.size > maxManifestBytes) throw new UsageError(`${path}: expected at most 64 MiB, got ${info.size} bytes`);
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new UsageError(`${path}: expected JSON (${(error as Error).message})`, { cause: error });
  }
  const parsed = parseManifest(json);
  if ('fault' in parsed) throw new UsageError(`${path}: ${parsed.fault}`);
  return parsed.manifest;
}
