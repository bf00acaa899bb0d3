/**
 * @file `node --import tsx scripts/prepare-corpus.ts DIR PRESET...`: prepares the corpus of each preset in DIR, whether or
 * not it is there. `scripts/setup.mjs` calls this when it is not.
 */
import { CORPUS_PRESETS, type CorpusPreset, prepareCorpus } from '../src/data/prepare-corpus.ts';
import { BaseError } from '../src/util/errors.ts';

const [dir, ...names] = process.argv.slice(2);
const known: Readonly<Record<string, CorpusPreset>> = CORPUS_PRESETS;
const presets = names.map((name) => known[name]);

if (dir === undefined || presets.length === 0 || presets.includes(undefined)) {
  console.error(
    `prepare-corpus: expected DIR PRESET..., presets ${Object.keys(known).join(', ')}; got ${process.argv.slice(2).join(' ')}`,
  );
  process.exitCode = 2;
} else {
  try {
    prepareCorpus({
      dir,
      presets: presets.filter((preset) => preset !== undefined),
      report: (line) => process.stderr.write(`  ${line}\n`),
    });
  } catch (error) {
    if (!(error instanceof BaseError)) throw error;
    console.error(`prepare-corpus: ${error.message}`);
    process.exitCode = 1;
  }
}
