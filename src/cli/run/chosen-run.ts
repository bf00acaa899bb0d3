/** @file The run file that options ask for: a file, or a template; and what does not go with one. */

import type { RunFile } from '../../roles/run-file.ts';
import { type RunPresetName, runPresetNames } from '../../roles/run-presets.ts';
import { type TemplateName, templateNames, templates } from '../../roles/run-templates.ts';
import { UsageError } from '../../util/errors.ts';
import { newRunOptions } from '../recipe-declarations.ts';
import type { Settings } from '../settings.ts';
import { readRunFile } from './place.ts';

export interface ChosenRun {
  readonly file: RunFile;
  /** Of the file, that the settings of this program know. */
  readonly preset: RunPresetName;
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
  const preset = runPresetNames.find((name) => name === file.model.preset);
  if (preset === undefined)
    throw new UsageError(
      `${file.name}: a model of preset ${file.model.preset} does not train on one machine; ./bin/accrete run show says what the run comes to`,
    );
  const given = hasFile ? ['--manifest', settings.path('manifest')] : ['--template', templateOf(settings)];
  return { file, preset, arguments: given };
}

const templateOf = (settings: Settings): TemplateName => settings.choice('template', templateNames);
