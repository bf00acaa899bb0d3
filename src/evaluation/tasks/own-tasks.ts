/**
 * @file Multiple-choice questions made from held-out text, for models that are too small for the published sets and machines
 * that do not have them. The same text and seed give the same questions. `continuation`: which of four passages of the
 * same source goes on; `word-order`: which order of the same words it has.
 */
import { Rng } from '../../util/rng.ts';
import { EvaluationError } from '../errors.ts';
import type { TaskItem } from './formats.ts';

export const ownTaskNames = ['continuation', 'word-order'] as const;
export type OwnTaskName = (typeof ownTaskNames)[number];

export interface OwnTask {
  readonly items: readonly TaskItem[];
  /** The few-shot split: other passages. */
  readonly examples: readonly TaskItem[];
}

const contextWords = 24;
const minWords = 6;
const maxWords = 10;
const passageWords = contextWords + maxWords;
const choices = 4;
/** Of words, so that orders differ. */
const minDistinct = 4;
const maxExamples = 64;

/**
 * `count` questions a task, in turn from the sources (texts by name, as long pieces of running text).
 * @throws EvaluationError TOO_LITTLE_TEXT
 */
export function makeOwnTasks(
  texts: ReadonlyMap<string, readonly string[]>,
  options: { readonly count: number; readonly seed: number },
): ReadonlyMap<OwnTaskName, OwnTask> {
  const sources = [...texts]
    .map(([name, pieces]) => ({ name, passages: passagesOf(pieces) }))
    .filter(({ passages }) => passages.length >= 4 * choices)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  if (sources.length === 0)
    throw new EvaluationError(
      'TOO_LITTLE_TEXT',
      `no source has the ${4 * choices} passages of ${passageWords} words that questions are made from`,
    );
  return new Map(ownTaskNames.map((task) => [task, makeTask(task, sources, options)]));
}

interface Source {
  readonly name: string;
  readonly passages: readonly (readonly string[])[];
}

/** Even passages are asked, odd ones are examples. */
function makeTask(
  task: OwnTaskName,
  sources: readonly Source[],
  { count, seed }: { readonly count: number; readonly seed: number },
): OwnTask {
  const perSource = Math.ceil(count / sources.length);
  const make = (parity: 0 | 1, each: number): TaskItem[][] =>
    sources.map(({ name, passages }) => {
      const own = passages.filter((_, i) => i % 2 === parity);
      const rng = new Rng(`own task ${task} ${seed} ${name} ${parity}`);
      const order = rng.shuffle(own.map((_, i) => i));
      const items: TaskItem[] = [];
      for (const place of order) {
        if (items.length === each) break;
        const item = makeItem(task, own[place]!, own, rng);
        if (item !== null) items.push(item);
      }
      return items;
    });
  return {
    items: inTurn(make(0, perSource)).slice(0, count),
    examples: inTurn(make(1, Math.ceil(maxExamples / sources.length))),
  };
}

function makeItem(
  task: OwnTaskName,
  passage: readonly string[],
  passages: readonly (readonly string[])[],
  rng: Rng,
): TaskItem | null {
  const length = minWords + rng.below(maxWords - minWords + 1);
  const end = (words: readonly string[]): readonly string[] => words.slice(contextWords, contextWords + length);
  const right = end(passage);
  const wrong = new Set<string>();
  const other = (): readonly string[] =>
    task === 'continuation' ? end(passages[rng.below(passages.length)]!) : rng.shuffle([...right]);
  if (task === 'word-order' && new Set(right).size < minDistinct) return null;
  for (let tries = 0; wrong.size < choices - 1 && tries < 50; tries++) {
    const text = other().join(' ');
    if (text !== right.join(' ')) wrong.add(text);
  }
  if (wrong.size < choices - 1) return null;
  const gold = rng.below(choices);
  const texts = [...wrong];
  texts.splice(gold, 0, right.join(' '));
  return { query: passage.slice(0, contextWords).join(' '), choices: texts, gold, group: null };
}

/** Consecutive, without the first word of a piece, which may be cut. */
function passagesOf(pieces: readonly string[]): (readonly string[])[] {
  return pieces.flatMap((piece) => {
    const words = piece.split(/\s+/).filter((word) => word !== '');
    const count = Math.floor(Math.max(0, words.length - 1) / passageWords);
    return Array.from({ length: count }, (_, i) => words.slice(1 + i * passageWords, 1 + (i + 1) * passageWords));
  });
}

/** The first of each list, then the second of each, … */
function inTurn<T>(lists: readonly (readonly T[])[]): T[] {
  const longest = Math.max(0, ...lists.map(({ length }) => length));
  return Array.from({ length: longest }, (_, i) => lists.flatMap((list) => list.slice(i, i + 1))).flat();
}
