/** @file The text of a new run: the data folder that was named, or the clone's own; and whether there is enough of it to begin with. */
import { type Catalog, preparedName } from '../../data/catalog.ts';
import { loadCatalog, readCatalogFile } from '../../data/prepared.ts';
import { sequenceCounts } from '../../data/shards.ts';
import type { NewRun } from '../../roles/orchestrator/run-init.ts';
import { settingsOfRunFile } from '../../roles/run-file.ts';
import { type RunPresetName, type RunSettings, runPresetNames, runSettings } from '../../roles/run-presets.ts';
import { UsageError } from '../../util/errors.ts';
import { corpusPresetOf, ensureCorpus } from '../corpus.ts';
import { corpusDir } from '../paths.ts';
import type { ChosenRun } from '../run/chosen-run.ts';
import { checkedRunFile } from '../run/place.ts';

export interface TextChoice {
  /** A data folder; null: the clone's own text. */
  readonly data: string | null;
  readonly preset: string;
  readonly chosen: ChosenRun | null;
}

export interface RunTexts {
  readonly catalog: Catalog;
  readonly readFile: NewRun['readCatalogFile'];
}

/** @throws UsageError, DataError NOT_PREPARED or DAMAGED, with what to type */
export function openTexts(choice: TextChoice): RunTexts {
  const { data, preset } = choice;
  if (data === null) requireOwnText(choice);
  const folder = data ?? corpusDir;
  if (data === null) ensureCorpus(preset);
  const catalog = loadCatalog(folder, data === null ? corpusPresetOf(preset) : preparedName);
  requireEnough(catalog, phasesOf(choice, catalog), folder);
  return { catalog, readFile: (entry) => readCatalogFile(folder, catalog, entry) };
}

/** The text that a clone prepares has vocabularies of the small presets. */
function requireOwnText({ preset, chosen }: TextChoice): void {
  if (runPresetNames.some((name) => name === preset)) return;
  const sources = [...new Set(chosen!.file.phases.flatMap(({ mixture = {} }) => Object.keys(mixture)))];
  const [first = 'web'] = sources;
  const named = chosen!.arguments.join(' ');
  throw new UsageError(
    [
      `${chosen!.file.name} trains preset ${preset}, for which this clone has no text; it draws from ${sources.join(', ') || 'the sources of its catalog'}. Type next, for each source, and then once:`,
      `  ./bin/accrete data add FROM --name ${first} --licence NAME --dir .accrete/data`,
      '  ./bin/accrete data prepare --dir .accrete/data --tokenizer FOLDER --shard-tokens 134217728',
      `  ./bin/accrete orchestrate ${named} --data .accrete/data`,
    ].join('\n'),
  );
}

/** Sequence lengths and mixtures that the run will have. */
function phasesOf({ preset, chosen }: TextChoice, { mixture, shards }: Catalog): readonly PhaseOfText[] {
  if (chosen === null) {
    const { sequenceLength } = runSettings[preset as RunPresetName];
    return [{ name: 'base', sequenceLength, mixture }];
  }
  const phases = fileSettings(chosen, shards).phases!;
  return phases.map((phase) => ({ ...phase, mixture: phase.mixture ?? mixture }));
}

interface PhaseOfText {
  readonly name: string;
  readonly sequenceLength: number;
  readonly mixture: Readonly<Record<string, number>>;
}

/** Of a run file; its mixtures must be of the corpus. @throws UsageError */
export function fileSettings({ file }: ChosenRun, shards: Catalog['shards']): RunSettings {
  const sources = new Set(shards.filter(({ stage }) => stage === 'train').map(({ source }) => source));
  return settingsOfRunFile(checkedRunFile(file, file.name, sources));
}

/** @throws UsageError: such a run would begin, and its learners could not read, or its releases never be evaluated */
function requireEnough({ shards }: Catalog, phases: readonly PhaseOfText[], folder: string): void {
  const spanTokens = Math.max(...phases.map(({ sequenceLength }) => sequenceLength));
  const spans = sequenceCounts(shards, 'train', spanTokens);
  for (const { name, sequenceLength, mixture } of phases) {
    const sources = Object.keys(mixture);
    const short = sources.filter((source) => (spans.get(source) ?? 0) === 0);
    if (short.length > 0)
      throw new UsageError(
        `${folder}: source ${short.join(', ')} has no ${spanTokens} tokens in one shard, which the sequences of this run need; add more text to it, or leave it out:\n` +
          `  ./bin/accrete data add FROM --name ${short[0]} --replace --licence NAME --dir ${folder}\n` +
          `  ./bin/accrete data prepare --dir ${folder}`,
      );
    const heldOut = sequenceCounts(shards, 'held-out', sequenceLength);
    if (!sources.some((source) => (heldOut.get(source) ?? 0) > 0))
      throw new UsageError(
        `${folder}: no source has ${sequenceLength} tokens of held-out text in one shard, so that no release of phase ${name} could be evaluated; hold out more, e.g. one document in 10:\n` +
          `  ./bin/accrete data add FROM --name ${sources[0]} --replace --held-out-every 10 --licence NAME --dir ${folder}\n` +
          `  ./bin/accrete data prepare --dir ${folder}`,
      );
  }
}
