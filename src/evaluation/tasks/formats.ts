/**
 * @file Rows of multiple-choice data sets, as they are published in JSON lines, to the prompts that lm-evaluation-harness
 * makes of them (its tasks arc_easy, arc_challenge, hellaswag, piqa, openbookqa, mmlu_*). Pure; a row that is not of its
 * format is refused with what is wrong.
 */
import { z } from 'zod';
import { EvaluationError } from '../errors.ts';

export interface TaskItem {
  /** What comes before the answer. */
  readonly query: string;
  /** Possible answers; each follows the query after a space. */
  readonly choices: readonly string[];
  /** Index of the right one. */
  readonly gold: number;
  /** Few-shot examples come from the same group (MMLU's subject); null: from all. */
  readonly group: string | null;
}

export interface TaskFormat {
  readonly name: string;
  parse(row: unknown): TaskItem;
  /** Before the examples. */
  description(group: string | null): string;
  /** Which rows of the few-shot split are shown: drawn by seed for each question, or the first ones. */
  readonly examples: 'drawn' | 'first';
  /** Some sets have their labels in a file of their own, a line a row. */
  readonly hasLabelFile?: true;
}

const maxText = 100_000;
const text = z.string().max(maxText);
const some = text.min(1);

const listed = z
  .array(z.looseObject({ text: some, label: z.string().max(8) }))
  .min(2)
  .max(26);
const columns = z.looseObject({
  text: z.array(some).min(2).max(26),
  label: z.array(z.string().max(8)).min(2).max(26),
});
const questionWithStem = z.looseObject({ stem: some, choices: listed });

interface Lettered {
  readonly question: string;
  readonly texts: readonly string[];
  readonly labels: readonly string[];
  readonly key: string;
}

/** Of AI2's own files `{question: {stem, choices: [{text, label}]}}`, and of their columns on hubs. */
const letteredSchema = z.union([
  z.looseObject({ question: questionWithStem, answerKey: some }).transform(
    ({ question, answerKey }): Lettered => ({
      question: question.stem,
      texts: question.choices.map((choice) => choice.text),
      labels: question.choices.map(({ label }) => label),
      key: answerKey,
    }),
  ),
  z.looseObject({ question: some, choices: columns, answerKey: some }).transform(fromColumns((row) => row.question)),
  z
    .looseObject({ question_stem: some, choices: columns, answerKey: some })
    .transform(fromColumns((row) => row.question_stem)),
]);

function fromColumns<R extends { readonly choices: z.infer<typeof columns>; readonly answerKey: string }>(
  questionOf: (row: R) => string,
): (row: R) => Lettered {
  return (row) => ({
    question: questionOf(row),
    texts: row.choices.text,
    labels: row.choices.label,
    key: row.answerKey,
  });
}

function lettered(row: unknown, queryOf: (question: string) => string): TaskItem {
  const { question, texts, labels, key } = parseRow(letteredSchema, row, 'question, choices and answerKey');
  const gold = labels.indexOf(key.trim());
  if (gold < 0 || texts.length !== labels.length)
    throw refused(`answerKey '${key.slice(0, 8)}' is none of the labels ${labels.join(', ')}`);
  return { query: queryOf(question), choices: texts, gold, group: null };
}

const arc: TaskFormat = {
  name: 'arc',
  parse: (row) => lettered(row, (question) => `Question: ${question}\nAnswer:`),
  description: () => '',
  examples: 'drawn',
};

const openBookQa: TaskFormat = { ...arc, name: 'openbookqa', parse: (row) => lettered(row, (question) => question) };

const label = z.union([z.int(), z.string().max(8)]);

const hellaSwagSchema = z.looseObject({
  activity_label: text,
  ctx_a: text,
  ctx_b: text,
  endings: z.array(text).min(2).max(26),
  label,
});

const hellaSwag: TaskFormat = {
  name: 'hellaswag',
  parse(row) {
    const { activity_label, ctx_a, ctx_b, endings, label } = parseRow(
      hellaSwagSchema,
      row,
      'activity_label, ctx_a, ctx_b, endings and label',
    );
    return {
      query: withoutBrackets(`${activity_label}: ${ctx_a} ${capitalised(ctx_b)}`),
      choices: endings.map(withoutBrackets),
      gold: goldOf(label, endings.length),
      group: null,
    };
  },
  description: () => '',
  examples: 'drawn',
};

/** As Python's `capitalize`, which the harness uses: the rest in lower case. */
const capitalised = (text: string): string => `${text.slice(0, 1).toUpperCase()}${text.slice(1).toLowerCase()}`;

/** WikiHow's marks; the order of the steps is the harness's, and so is what they leave. */
const withoutBrackets = (text: string): string =>
  text
    .trim()
    .replaceAll(' [title]', '. ')
    .replace(/\[.*?\]/g, '')
    .replaceAll('  ', ' ');

const piqaSchema = z.looseObject({ goal: text, sol1: some, sol2: some, label });

const piqa: TaskFormat = {
  name: 'piqa',
  parse(row) {
    const { goal, sol1, sol2, label } = parseRow(
      piqaSchema,
      row,
      'goal, sol1, sol2 and label (or labels in a file beside it: valid.jsonl, valid-labels.lst)',
    );
    return { query: `Question: ${goal}\nAnswer:`, choices: [sol1, sol2], gold: goldOf(label, 2), group: null };
  },
  description: () => '',
  examples: 'drawn',
  hasLabelFile: true,
};

const mmluSchema = z.looseObject({
  question: some,
  subject: z.string().max(200).default(''),
  choices: z.array(text).length(4),
  answer: label,
});

const letters = ['A', 'B', 'C', 'D'] as const;

const mmlu: TaskFormat = {
  name: 'mmlu',
  parse(row) {
    const { question, subject, choices, answer } = parseRow(
      mmluSchema,
      row,
      'question, subject, choices (4) and answer',
    );
    const options = letters.map((letter, i) => `${letter}. ${choices[i]}`).join('\n');
    return {
      query: `${question.trim()}\n${options}\nAnswer:`,
      choices: letters,
      gold: goldOf(letters.includes(answer as 'A') ? letters.indexOf(answer as 'A') : answer, 4),
      group: subject,
    };
  },
  description: (subject) =>
    subject
      ? `The following are multiple choice questions (with answers) about ${subject.replaceAll('_', ' ')}.\n\n`
      : 'The following are multiple choice questions (with answers).\n\n',
  examples: 'first',
};

const plainSchema = z.looseObject({
  query: some,
  choices: z.array(some).min(2).max(26),
  gold: label,
});

/** Accrete's own: what the model reads, written out. */
export const plain: TaskFormat = {
  name: 'plain',
  parse(row) {
    const { query, choices, gold } = parseRow(plainSchema, row, 'query, choices and gold');
    return { query, choices, gold: goldOf(gold, choices.length), group: null };
  },
  description: () => '',
  examples: 'drawn',
};

function goldOf(label: number | string, choices: number): number {
  const gold = typeof label === 'number' ? label : /^\d{1,2}$/.test(label) ? Number(label) : Number.NaN;
  if (gold >= 0 && gold < choices) return gold;
  throw refused(
    label === ''
      ? 'the label is empty: this is a test split whose answers are not published; use the validation split'
      : `expected a label from 0 to ${choices - 1}, got '${label}'`,
  );
}

function parseRow<T>(schema: z.ZodType<T>, row: unknown, fields: string): T {
  const parsed = schema.safeParse(row);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const where = issue?.path.join('.');
  throw refused(`expected ${fields}${where ? `; ${where}: ${issue?.message}` : ''}`);
}

const refused = (sentence: string): EvaluationError => new EvaluationError('BAD_TASK', sentence);

/** By the beginning of a task's name. */
const namedFormats: readonly (readonly [pattern: RegExp, format: TaskFormat])[] = [
  [/^arc/, arc],
  [/^hellaswag/, hellaSwag],
  [/^piqa/, piqa],
  [/^(openbookqa|obqa)/, openBookQa],
  [/^mmlu/, mmlu],
  [/^plain/, plain],
];

/** The format of a task by its name (`arc_easy`), else by the fields of its first row. @throws EvaluationError BAD_TASK */
export function formatOf(name: string, row: unknown): TaskFormat {
  const named = namedFormats.find(([pattern]) => pattern.test(name.toLowerCase()));
  if (named !== undefined) return named[1];
  const fields = typeof row === 'object' && row !== null ? row : {};
  const has = (...names: readonly string[]): boolean => names.every((field) => field in fields);
  if (has('endings', 'ctx_a')) return hellaSwag;
  if (has('goal', 'sol1', 'sol2')) return piqa;
  if (has('question_stem')) return openBookQa;
  if (has('question', 'choices', 'answer')) return mmlu;
  if (has('query', 'choices', 'gold')) return plain;
  if (has('question', 'choices', 'answerKey')) return arc;
  throw refused(
    has('question', 'answerKey')
      ? 'ARC and OpenBookQA are published in one form; say which it is: arc=FILE or openbookqa=FILE'
      : 'the fields are those of no format that is known here (ARC, HellaSwag, PIQA, OpenBookQA, MMLU, or query, choices and gold)',
  );
}
