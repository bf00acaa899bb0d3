/** @file Which manifest is planned: a preset's, laid out for the fleet, or a run's own. The one place that reads it. */

import type { PresetName } from '../model/quasar-long/presets.ts';
import { manifestSchema, type RunManifest } from '../protocol/manifest.ts';
import { describeFault } from '../protocol/signing.ts';
import type { Fleet } from '../simulate/fleet/fleet-file.ts';
import { hotkeyOf } from '../simulate/fleet/fleet-keys.ts';
import { syntheticManifest } from '../simulate/fleet/run-manifest.ts';

/** The real model's phases: five trillion tokens, and five more. */
const quasarTokens = 5e12;
const quasarPhases = ['stronger base', 'to ten trillion'];

/** A preset's settings with what the fleet's file changes (`run`). */
export function presetManifest(preset: PresetName, fleet: Fleet): RunManifest {
  const learners = fleet.machines.reduce((sum, { count }) => sum + count, 0);
  const manifest = syntheticManifest({
    ...{ preset, overrides: fleet.run, owner: hotkeyOf('owner', 'stub').hotkey, seed: '1', createdAtMs: 0, learners },
  });
  if (preset !== 'quasar-preview' || fleet.run.targetTokens !== undefined) return { ...manifest, name: preset };
  const [phase] = manifest.phases;
  const phases = quasarPhases.map((name) => ({ ...phase!, name, targetTokens: quasarTokens }));
  return { ...manifest, name: preset, phases };
}

/** A manifest alone, or the `run` event's body that holds one. */
export function parseManifest(json: unknown): { readonly manifest: RunManifest } | { readonly fault: string } {
  const inner = (json as { manifest?: unknown } | null)?.manifest ?? json;
  const parsed = manifestSchema.safeParse(inner);
  return parsed.success ? { manifest: parsed.data } : { fault: describeFault(parsed.error) };
}
