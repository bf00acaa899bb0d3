/** @file The run file that options ask for: a file, or a template; and what does not go with one. */

import type { PresetName } from '../../model/quasar-long/presets.ts';
import type { RunFile } from '../../roles/run-file.ts';
import { type RunPresetName, runPresetNames } from '../../roles/run-presets.ts';
import { type TemplateName, templateNames, templates } from '../../roles/run-templates.ts';
import { UsageError } from '../../util/errors.ts';
import { newRunOptions } from '../recipe-declarations.ts';
import type { Settings } from '../settings.ts';
import { readRunFile } from './place.ts';

export interface ChosenRun {
  readonly file: RunFile;
  /** Of the file. */
  readonly preset: PresetName;
  /** Arguments that ask for the same again. */
  readonly arguments: readonly string[];
}

/** Null: preset and options say what a new run is. @throws UsageError */
export function parseChosenRun(settings: Settings): ChosenRun | null {
  const [hasTemplate, hasFile] = [settings.has('template'), settings.has('manifest')];
  if (!hasTemplate && !hasFile) return null;
  if (hasTemplate && hasFile) throw new UsageError('--template and --manifest exclude each other');
  const clash = ['preset', ...newRunOptions.map(({ name }) => name)].find((name) => settings.isGiven(name));
  if (clash !== undefined)
    throw new UsageError(
      `--${clash} does not go with ${hasFile ? '--manifest' : '--template'}: write a run file with accrete run init, and edit it`,
    );
  const file = hasFile ? readRunFile(settings.path('manifest')) : templates[templateOf(settings)];
  const given = hasFile ? ['--manifest', settings.path('manifest')] : ['--template', templateOf(settings)];
  return { file, preset: file.model.preset, arguments: given };
}

/** @throws UsageError for a model that one machine does not train, with what to type */
export function requireSmall(chosen: ChosenRun): RunPresetName {
  const { file, preset, arguments: given } = chosen;
  const small = runPresetNames.find((name) => name === preset);
  if (small !== undefined) return small;
  throw new UsageError(
    `${file.name}: a model of preset ${preset} does not train on one machine. What the run comes to, its orchestrator, and a miner:\n` +
      (given[0] === '--manifest'
        ? `  ./bin/accrete run show ${given[1]}\n`
        : `  ./bin/accrete run init ${given.join(' ')} --out run.json\n  ./bin/accrete run show run.json\n`) +
      `  ./bin/accrete orchestrate ${given.join(' ')} --data DIR --host 0.0.0.0\n` +
      '  ./bin/accrete mine --join http://HOST:4680',
  );
}

const templateOf = (settings: Settings): TemplateName => settings.choice('template', templateNames);
