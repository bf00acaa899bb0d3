/** @file The text and the tokens of a question, by the conventions of lm-evaluation-harness. */
import { Rng } from '../../util/rng.ts';
import { EvaluationError } from '../errors.ts';
import type { TaskFormat, TaskItem } from './formats.ts';

export interface Shots {
  readonly count: number;
  /** The few-shot split. */
  readonly pool: readonly TaskItem[];
  readonly seed: number;
}

/**
 * Description, examples and question; the answer follows after a space. Drawn examples follow from the seed and the
 * question's number alone, so that a part of a task asks what the whole of it does; an example is never the question.
 * @throws EvaluationError BAD_TASK where the split has too few examples
 */
export function promptOf(format: TaskFormat, item: TaskItem, index: number, shots: Shots): string {
  const examples = shots.count === 0 ? [] : examplesOf(format, item, index, shots);
  const shown = examples.map(({ query, choices, gold }) => `${query} ${choices[gold]}\n\n`);
  return `${format.description(item.group)}${shown.join('')}${item.query}`;
}

function examplesOf(format: TaskFormat, item: TaskItem, index: number, shots: Shots): readonly TaskItem[] {
  const { pool, seed, count } = shots;
  const isFit = (each: TaskItem): boolean =>
    each.group === item.group && (each.query !== item.query || each.choices.join('\n') !== item.choices.join('\n'));
  const examples =
    format.examples === 'first' ? firstOf(pool, count, isFit) : draw(pool, count, isFit, `${seed} ${index}`);
  if (examples.length === count) return examples;
  const where = item.group === null ? '' : ` of ${item.group || 'no subject'}`;
  throw new EvaluationError(
    'BAD_TASK',
    `${count} examples${where} are asked for, the few-shot split has ${examples.length}`,
  );
}

function firstOf<T>(pool: readonly T[], count: number, isFit: (each: T) => boolean): readonly T[] {
  const found: T[] = [];
  for (const each of pool) {
    if (found.length === count) break;
    if (isFit(each)) found.push(each);
  }
  return found;
}

/** Without replacement: a partial Fisher-Yates over places, so that a large pool is not copied. */
function draw<T>(pool: readonly T[], count: number, isFit: (each: T) => boolean, seed: string): readonly T[] {
  const rng = new Rng(`few-shot ${seed}`);
  const moved = new Map<number, number>();
  const found: T[] = [];
  for (let left = pool.length; left > 0 && found.length < count; left--) {
    const place = rng.below(left);
    const each = pool[moved.get(place) ?? place]!;
    moved.set(place, moved.get(left - 1) ?? left - 1);
    if (isFit(each)) found.push(each);
  }
  return found;
}

export interface TokenPair {
  readonly context: readonly number[];
  readonly continuation: readonly number[];
}

/**
 * Spaces at the end of the context belong to the continuation, and the two are encoded as one text: its first tokens, as
 * many as the context alone has, are the context. An empty context is the token that begins or ends texts.
 */
export function encodePair(
  tokenizer: { encodePlain(text: string): number[]; readonly startOfText: number | null; readonly endOfText: number },
  context: string,
  continuation: string,
): TokenPair {
  const trimmed = context.trimEnd();
  const spaces = context.slice(trimmed.length);
  if (trimmed === '') {
    const first = tokenizer.startOfText ?? tokenizer.endOfText;
    return { context: [first], continuation: tokenizer.encodePlain(spaces + continuation) };
  }
  const whole = tokenizer.encodePlain(trimmed + spaces + continuation);
  const { length } = tokenizer.encodePlain(trimmed);
  return { context: whole.slice(0, length), continuation: whole.slice(length) };
}
