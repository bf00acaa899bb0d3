/**
 * @file Multiple choice by log-likelihood: of the choices, the one that the model finds likeliest after the question is its
 * answer. `acc` compares log-likelihoods, `acc_norm` log-likelihoods a character of the choice, so that short ones have no
 * advantage. Of equals the first one counts. Pure: the model is handed in.
 */
import { assert } from '../../util/errors.ts';
import { type Estimate, mcNemar, type PairedTest, proportion } from '../statistics.ts';
import type { TaskFormat, TaskItem } from './formats.ts';
import { encodePair, promptOf, type Shots } from './prompt.ts';

export interface ContinuationScore {
  /** ln P(continuation | context). */
  readonly logLikelihood: number;
  /** Tokens of the context that did not fit in the model's length. */
  readonly dropped: number;
}

export interface TaskModel {
  readonly tokenizer: Parameters<typeof encodePair>[0];
  /** Of each continuation after the same context. */
  score(context: readonly number[], continuations: readonly (readonly number[])[]): Promise<ContinuationScore[]>;
}

export interface TaskScores {
  readonly shots: number;
  readonly acc: Estimate;
  readonly accNorm: Estimate;
  /** Expected of guessing. */
  readonly chance: number;
  /** Questions whose beginning was cut off to fit. */
  readonly truncated: number;
  /** By question, for comparing models. */
  readonly right: readonly boolean[];
  readonly rightNorm: readonly boolean[];
}

/** Questions in order; memory holds two bits each. Null: there are none. */
export async function scoreTask(
  format: TaskFormat,
  items: AsyncIterable<TaskItem> | Iterable<TaskItem>,
  shots: Shots,
  model: TaskModel,
  onItem: (done: number) => void = () => {},
): Promise<TaskScores | null> {
  const right: boolean[] = [];
  const rightNorm: boolean[] = [];
  let [chance, truncated] = [0, 0];
  for await (const item of items) {
    const scores = await scoreItem(promptOf(format, item, right.length, shots), item, model);
    const answers = answersOf(item.choices, scores);
    right.push(answers.likeliest === item.gold);
    rightNorm.push(answers.likeliestNormed === item.gold);
    chance += 1 / item.choices.length;
    if (scores.some(({ dropped }) => dropped > 0)) truncated++;
    onItem(right.length);
  }
  if (right.length === 0) return null;
  const share = (flags: readonly boolean[]): Estimate => proportion(flags.filter(Boolean).length, flags.length);
  return {
    ...{ shots: shots.count, truncated, right, rightNorm },
    acc: share(right),
    accNorm: share(rightNorm),
    chance: chance / right.length,
  };
}

async function scoreItem(prompt: string, item: TaskItem, model: TaskModel): Promise<ContinuationScore[]> {
  const pairs = item.choices.map((choice) => encodePair(model.tokenizer, prompt, ` ${choice}`));
  const [{ context }] = pairs as [(typeof pairs)[number]];
  const scores = await model.score(
    context,
    pairs.map(({ continuation }) => continuation),
  );
  assert(scores.length === pairs.length, 'a score for each choice');
  return scores;
}

/** Indices of the choices that win. */
export function answersOf(
  choices: readonly string[],
  scores: readonly Pick<ContinuationScore, 'logLikelihood'>[],
): { readonly likeliest: number; readonly likeliestNormed: number } {
  const sums = scores.map(({ logLikelihood }) => logLikelihood);
  // Code points, as the harness counts; an empty choice counts as one: any of its tokens is then the space before it.
  const lengths = choices.map((choice) => Math.max(1, [...choice].length));
  return { likeliest: indexOfLargest(sums), likeliestNormed: indexOfLargest(sums.map((sum, i) => sum / lengths[i]!)) };
}

const indexOfLargest = (values: readonly number[]): number =>
  values.reduce((best, value, i) => (value > values[best]! ? i : best), 0);

export interface TaskComparison {
  readonly acc: PairedTest;
  readonly accNorm: PairedTest;
}

/** Of two models on the same questions: second minus first. */
export function compareTasks(first: TaskScores, second: TaskScores): TaskComparison {
  return { acc: mcNemar(first.right, second.right), accNorm: mcNemar(first.rightNorm, second.rightNorm) };
}
