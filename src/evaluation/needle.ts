/**
 * @file Needle recall: a sentence that names a secret word is hidden at some depth of filler text, and the model is asked
 * for the word at the end. One reading of the prompt scores all candidates, by the one token that each of them is, or by
 * their first tokens where a small tokenizer has too few words whole. Pure: the model and the tokenizer are handed in.
 */
import { Rng } from '../util/rng.ts';
import { EvaluationError } from './errors.ts';

export interface NeedleOptions {
  /** Tokens of the whole prompt. */
  readonly lengths: readonly number[];
  /** Where the needle lies: 0 at the start, 1 just before the question. */
  readonly depths: readonly number[];
  /** Prompts of each length and depth. */
  readonly samples: number;
  readonly seed: number;
}

export interface NeedleModel {
  encode(text: string): number[];
  /** Logits of the token after `ids`, (vocab). */
  score(ids: readonly number[]): Promise<Float32Array>;
}

export interface NeedleCell {
  readonly length: number;
  readonly depth: number;
  /** Share of prompts where the secret word scores highest among the candidates. */
  readonly recall: number;
  /** Share where it is the likeliest of all tokens. */
  readonly exact: number;
}

export interface NeedleReport {
  readonly cells: readonly NeedleCell[];
  /** Recall of a model that guesses among the candidates. */
  readonly chance: number;
  readonly candidates: number;
  /** Words are told apart by their first tokens alone, as the tokenizer has too few of them as single tokens. */
  readonly byFirstToken: boolean;
}

/** Fewer candidates than this would make guessing too easy. */
const minCandidates = 4;

const words =
  'house river light stone water night paper green white black morning garden people music heart money power world king ship horse tree road fire gold hand name book land time life day man war city sea book church school letter winter summer'.split(
    ' ',
  );

const fillers = [
  'The weather was mild that day, and nobody was in a hurry.',
  'They spoke of small things until the evening came.',
  'A few of the older men had seen it before.',
  'It was said that the journey would be long.',
  'She put the cups on the table and went to the window.',
  'In those years the town was quiet and rather poor.',
  'Nothing of this was written down at the time.',
  'He looked at the hills for a while and said nothing.',
  'Some of them went home, and others waited for news.',
  'There was much to do, and few hands to do it.',
];

const question = '\nThe secret word is';

/**
 * Every prompt of every length and depth, in order. The same seed gives the same prompts.
 * @throws EvaluationError NEEDLE_IMPOSSIBLE where the tokenizer cannot tell enough of the words apart by one token, or a
 * length leaves no room for needle and question
 */
export async function needleRecall(
  options: NeedleOptions,
  model: NeedleModel,
  onCell: (cell: NeedleCell) => void = () => {},
): Promise<NeedleReport> {
  const { candidates, byFirstToken } = findCandidates(model);
  const cells: NeedleCell[] = [];
  for (const length of options.lengths) {
    for (const depth of options.depths) {
      let [recalled, exact] = [0, 0];
      for (let sample = 0; sample < options.samples; sample++) {
        const rng = new Rng(`needle ${options.seed} ${length} ${depth} ${sample}`);
        const secret = candidates[rng.below(candidates.length)]!;
        const logits = await model.score(needlePrompt(model, { length, depth, word: secret.word }, rng));
        const best = Math.max(...candidates.map(({ id }) => logits[id]!));
        // A tie is not a recall: a model that scores all alike knows nothing.
        const isAlone = candidates.filter(({ id }) => logits[id] === best).length === 1;
        if (logits[secret.id] === best && isAlone) recalled++;
        if (isAlone && logits.every((value) => value <= logits[secret.id]!)) exact++;
      }
      const cell = { length, depth, recall: recalled / options.samples, exact: exact / options.samples };
      cells.push(cell);
      onCell(cell);
    }
  }
  return { cells, chance: 1 / candidates.length, candidates: candidates.length, byFirstToken };
}

interface Candidate {
  readonly word: string;
  /** The token that is scored. */
  readonly id: number;
}

/** The words that are single tokens; where these are too few, one word for each first token. */
function findCandidates({ encode }: Pick<NeedleModel, 'encode'>): { candidates: Candidate[]; byFirstToken: boolean } {
  const encoded = [...new Set(words)].map((word) => ({ word, ids: encode(` ${word}`) }));
  const whole = encoded.flatMap(({ word, ids }) => (ids.length === 1 ? [{ word, id: ids[0]! }] : []));
  if (whole.length >= minCandidates) return { candidates: whole, byFirstToken: false };
  const byFirst = new Map<number, string>();
  for (const { word, ids } of encoded) if (!byFirst.has(ids[0]!)) byFirst.set(ids[0]!, word);
  if (byFirst.size < minCandidates)
    throw new EvaluationError(
      'NEEDLE_IMPOSSIBLE',
      `the tokenizer tells only ${byFirst.size} of the ${encoded.length} words of the test apart by their first token; ${minCandidates} are needed`,
    );
  return { candidates: [...byFirst].map(([id, word]) => ({ id, word })), byFirstToken: true };
}

/** `length` token ids: filler, the needle at its depth, filler, the question. */
function needlePrompt(
  { encode }: Pick<NeedleModel, 'encode'>,
  { length, depth, word }: { readonly length: number; readonly depth: number; readonly word: string },
  rng: Rng,
): number[] {
  const needle = encode(`\nThe secret word is ${word}.\n`);
  const ask = encode(question);
  const room = length - needle.length - ask.length;
  if (room < 0)
    throw new EvaluationError(
      'NEEDLE_IMPOSSIBLE',
      `length ${length}: needle and question alone take ${needle.length + ask.length} tokens`,
    );
  const filling: number[] = [];
  while (filling.length < room) filling.push(...encode(`${fillers[rng.below(fillers.length)]!} `));
  const before = Math.round(depth * room);
  return [...filling.slice(0, before), ...needle, ...filling.slice(before, room), ...ask];
}
