/** @file The options of `accrete plan`. */
import { readFileSync, statSync } from 'node:fs';
import { isPresetName } from '../../model/quasar-long/presets.ts';
import { fileManifest, parseManifest, presetManifest } from '../../plan/plan-manifest.ts';
import type { RunManifest } from '../../protocol/manifest.ts';
import { templateNames, templates } from '../../roles/run-templates.ts';
import type { Fleet } from '../../simulate/fleet/fleet-file.ts';
import { UsageError } from '../../util/errors.ts';
import type { Io } from '../io.ts';
import { checkedRunFile, openPlace } from '../run/place.ts';
import type { Settings } from '../settings.ts';
import { fleetNamed } from '../simulate/fleet/options.ts';

export interface PlanOptions {
  readonly manifest: RunManifest;
  readonly fleet: Fleet;
  readonly command: string;
  readonly out: string | null;
  /** Whether the fleet's `run` is part of what is planned. */
  readonly isOfPreset: boolean;
}

const maxManifestBytes = 64 * 1024 * 1024;

export async function parsePlanOptions(settings: Settings, io: Io): Promise<PlanOptions> {
  if (!settings.has('fleet'))
    throw new UsageError(
      '--fleet: say which fleet, by name or by its JSON file (docs/simulate.md); one is bench/fleets/datacentres.json',
    );
  const fleet = fleetNamed(settings);
  return {
    fleet,
    manifest: await readManifest(settings, fleet, io),
    command: `./bin/accrete plan --manifest ${settings.text('manifest')} --fleet ${settings.text('fleet')}`,
    out: settings.has('out') ? settings.path('out') : null,
    isOfPreset: isPresetName(settings.text('manifest')),
  };
}

async function readManifest(settings: Settings, fleet: Fleet, io: Io): Promise<RunManifest> {
  const named = settings.text('manifest');
  if (isPresetName(named)) return presetManifest(named, fleet);
  const template = templateNames.find((name) => name === named);
  if (template !== undefined) return fileManifest(templates[template]);
  if (/^https?:\/\//i.test(named)) return await manifestAt(named, io);
  const path = settings.path('manifest');
  const info = statSync(path, { throwIfNoEntry: false });
  if (info === undefined)
    throw new UsageError(
      `--manifest: there is nothing at ${path}, and neither a template (${templateNames.join(', ')}) nor a preset is called '${named}'`,
    );
  if (info.isDirectory()) return await manifestAt(path, io);
  if (info.size > maxManifestBytes) throw new UsageError(`${path}: expected at most 64 MiB, got ${info.size} bytes`);
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new UsageError(`${path}: expected JSON (${(error as Error).message})`, { cause: error });
  }
  const parsed = parseManifest(json);
  if (parsed === null) return fileManifest(checkedRunFile(json, path));
  if ('fault' in parsed) throw new UsageError(`${path}: ${parsed.fault}`);
  return parsed.manifest;
}

/** Of a run that goes on, or its folder: as amended. */
async function manifestAt(place: string, io: Io): Promise<RunManifest> {
  const run = await openPlace(place, io);
  return run.kind === 'file' ? fileManifest(run.file) : run.manifest;
}
