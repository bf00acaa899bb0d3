/** @file Which manifest is planned: a preset's, laid out for the fleet, that of a run file, or a run's own. The one place that makes it. */

import type { PresetName } from '../model/quasar-long/presets.ts';
import { manifestSchema, type RunManifest, rulesVersion } from '../protocol/manifest.ts';
import { describeFault } from '../protocol/signing.ts';
import type { RunFile } from '../roles/run-file.ts';
import { runSeedOf } from '../roles/run-model.ts';
import type { Fleet } from '../simulate/fleet/fleet-file.ts';
import { hotkeyOf } from '../simulate/fleet/fleet-keys.ts';
import { syntheticManifest, unheldParts } from '../simulate/fleet/run-manifest.ts';

/** The real model's phases: five trillion tokens, and five more. */
const quasarTokens = 5e12;
const quasarPhases = ['stronger base', 'to ten trillion'];

const nobody = () => hotkeyOf('owner', 'stub').hotkey;

/** A preset's settings with what the fleet's file changes (`run`). */
export function presetManifest(preset: PresetName, fleet: Fleet): RunManifest {
  const learners = fleet.machines.reduce((sum, { count }) => sum + count, 0);
  const manifest = syntheticManifest({
    ...{ preset, overrides: fleet.run, owner: nobody(), seed: '1', createdAtMs: 0, learners },
  });
  if (preset !== 'quasar-preview' || fleet.run.targetTokens !== undefined) return { ...manifest, name: preset };
  const [phase] = manifest.phases;
  const phases = quasarPhases.map((name) => ({ ...phase!, name, targetTokens: quasarTokens }));
  return { ...manifest, name: preset, phases };
}

/** What a run file would be signed as, but for keys, text and clock, which no plan looks at. */
export function fileManifest(file: RunFile): RunManifest {
  const { name, phases, ledger, recipe, fragments, sync, codec, merge, evaluation, audit, rewards, release } = file;
  return manifestSchema.parse({
    ...{ version: rulesVersion, name, owner: nobody(), createdAtMs: 0, seed: runSeedOf(file.seed) },
    ...unheldParts(file.model.preset, recipe),
    ledger: { ...ledger, chainId: 'accrete-plan', netuid: 1 },
    phases: phases.map((phase) => ({ ...phase, mixture: phase.mixture ?? { simulated: 1 } })),
    ...{ recipe, fragments, sync, codec, merge, evaluation, audit, rewards, release },
  });
}

/** A manifest alone, or the `run` event's body that holds one; null: it is neither. */
export function parseManifest(json: unknown): { readonly manifest: RunManifest } | { readonly fault: string } | null {
  const inner = (json as { manifest?: unknown } | null)?.manifest ?? json;
  // A run file has a template and no owner.
  if (typeof inner !== 'object' || inner === null || !('owner' in inner)) return null;
  const parsed = manifestSchema.safeParse(inner);
  return parsed.success ? { manifest: parsed.data } : { fault: describeFault(parsed.error) };
}
