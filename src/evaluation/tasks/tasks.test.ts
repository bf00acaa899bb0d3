/**
 * @file Multiple choice by the harness's conventions, on rows in the published forms and with a scripted log-likelihood: every
 * expected prompt and score here was written out by hand.
 */
import { describe, expect, it } from 'vitest';
import { EvaluationError } from '../errors.ts';
import { formatOf, plain, type TaskItem } from './formats.ts';
import { makeOwnTasks } from './own-tasks.ts';
import { encodePair, promptOf } from './prompt.ts';
import { answersOf, compareTasks, scoreTask, type TaskModel } from './score.ts';

const none = { count: 0, pool: [], seed: 0 };

/** A token a character; letters after a space are one token with it, as in byte-level BPE. */
const tokenizer = {
  startOfText: null,
  endOfText: 999,
  encodePlain: (text: string) =>
    [...text.matchAll(/ ?\p{L}+|[^\p{L}]/gu)].map(([piece]) =>
      [...piece].reduce((h, c) => (h * 31 + c.codePointAt(0)!) % 997, 7),
    ),
};

describe('formats', () => {
  const cases: readonly (readonly [string, object, string, readonly string[], number])[] = [
    [
      'arc_easy',
      {
        id: 'x',
        question: {
          stem: 'What falls?',
          choices: [
            { text: 'rain', label: 'A' },
            { text: 'smoke', label: 'B' },
          ],
        },
        answerKey: 'B',
      },
      'Question: What falls?\nAnswer:',
      ['rain', 'smoke'],
      1,
    ],
    [
      'arc_challenge',
      { question: 'What falls?', choices: { text: ['rain', 'smoke', 'fog'], label: ['1', '2', '3'] }, answerKey: '3' },
      'Question: What falls?\nAnswer:',
      ['rain', 'smoke', 'fog'],
      2,
    ],
    [
      'openbookqa',
      {
        question: {
          stem: 'The sun is',
          choices: [
            { text: 'hot', label: 'A' },
            { text: 'wet', label: 'B' },
          ],
        },
        answerKey: ' A',
      },
      'The sun is',
      ['hot', 'wet'],
      0,
    ],
    [
      'any',
      { question_stem: 'The sun is', choices: { text: ['hot', 'wet'], label: ['A', 'B'] }, answerKey: 'B' },
      'The sun is',
      ['hot', 'wet'],
      1,
    ],
    [
      'any',
      {
        activity_label: 'Removing ice',
        ctx_a: 'Then, the man [title] wipes  snow.',
        ctx_b: 'the Man THEN',
        endings: [' goes on [step] and on.', 'stops.'],
        label: '1',
      },
      'Removing ice: Then, the man. wipes snow. The man then',
      ['goes on and on.', 'stops.'],
      1,
    ],
    [
      'any',
      { goal: 'To open a jar', sol1: 'turn the lid', sol2: 'shake it', label: 0 },
      'Question: To open a jar\nAnswer:',
      ['turn the lid', 'shake it'],
      0,
    ],
    [
      'mmlu_virology',
      { question: ' Which one? ', subject: 'virology', choices: ['a', 'b', 'c', 'd'], answer: 2 },
      'Which one?\nA. a\nB. b\nC. c\nD. d\nAnswer:',
      ['A', 'B', 'C', 'D'],
      2,
    ],
    ['any', { query: 'one two', choices: ['three', 'four'], gold: 0 }, 'one two', ['three', 'four'], 0],
  ];
  it.each(cases)('%s: %o', (name, row, query, choices, gold) => {
    expect(formatOf(name, row).parse(row)).toMatchObject({ query, choices, gold });
  });

  it('takes letters as MMLU answers, and describes the subject', () => {
    const row = { question: 'Q', subject: 'high_school_us_history', choices: ['a', 'b', 'c', 'd'], answer: 'D' };
    const format = formatOf('mmlu', row);
    expect(format.parse(row)).toMatchObject({ gold: 3, group: 'high_school_us_history' });
    expect(format.description('high_school_us_history')).toBe(
      'The following are multiple choice questions (with answers) about high school us history.\n\n',
    );
  });

  it.each<readonly [string, unknown, string]>([
    ['arc', { question: 'Q', choices: { text: ['a', 'b'], label: ['A', 'B'] }, answerKey: 'E' }, "answerKey 'E'"],
    ['arc', { question: 'Q' }, 'expected question, choices and answerKey'],
    ['hellaswag', { activity_label: '', ctx_a: '', ctx_b: '', endings: ['a', 'b'], label: '' }, 'test split'],
    ['hellaswag', { activity_label: '', ctx_a: '', ctx_b: '', endings: ['a', 'b'], label: 2 }, "from 0 to 1, got '2'"],
    ['piqa', { goal: 'g', sol1: 'a', sol2: 'b' }, 'valid-labels.lst'],
    ['mmlu', { question: 'Q', choices: ['a', 'b', 'c'], answer: 0 }, 'choices'],
    ['plain', { query: 'q', choices: ['a', 'b'], gold: -1 }, 'from 0 to 1'],
    ['plain', null, 'expected query, choices and gold'],
    ['plain', { query: 'q'.repeat(100_001), choices: ['a', 'b'], gold: 0 }, 'query'],
  ])('%s refuses %o', (name, row, sentence) => {
    expect(() => formatOf(name, row).parse(row)).toThrow(EvaluationError);
    expect(() => formatOf(name, row).parse(row)).toThrow(sentence);
  });

  it('does not guess where two sets have one form', () => {
    expect(() => formatOf('x', { question: { stem: 's', choices: [] }, answerKey: 'A' })).toThrow(
      'arc=FILE or openbookqa=FILE',
    );
    expect(formatOf('x', { question: 's', choices: {}, answerKey: 'A' }).name).toBe('arc');
    expect(() => formatOf('x', { a: 1 })).toThrow('no format that is known');
  });
});

describe('prompts', () => {
  const item = (n: number, group: string | null = null): TaskItem => ({
    ...{ query: `q${n}`, choices: [`a${n}`, `b${n}`], gold: n % 2, group },
  });

  it('show examples with their answers, separated by blank lines', () => {
    const pool = [item(0)];
    expect(promptOf(plain, item(9), 0, { count: 1, pool, seed: 1 })).toBe('q0 a0\n\nq9');
  });

  it('draw the same examples for a question, whatever else is asked, and never the question itself', () => {
    const pool = Array.from({ length: 40 }, (_, n) => item(n));
    const shots = { count: 3, pool, seed: 1 };
    const prompts = Array.from({ length: 40 }, (_, n) => promptOf(plain, item(n), n, shots));
    expect(promptOf(plain, item(7), 7, shots)).toBe(prompts[7]);
    expect(promptOf(plain, item(7), 7, { ...shots, seed: 2 })).not.toBe(prompts[7]);
    expect(new Set(prompts.map((prompt) => prompt.slice(0, prompt.lastIndexOf('\n\n')))).size).toBeGreaterThan(30);
    for (const [n, prompt] of prompts.entries()) {
      const shown = prompt.split('\n\n');
      expect(new Set(shown).size, prompt).toBe(4);
      expect(shown.filter((line) => line.split(' ')[0] === `q${n}`)).toEqual([`q${n}`]);
    }
    const whole = promptOf(plain, item(7), 7, { ...shots, count: 39 });
    expect(whole.split('\n\n')).toHaveLength(40);
    expect(() => promptOf(plain, item(7), 7, { ...shots, count: 40 })).toThrow('the few-shot split has 39');
  });

  it('take the first examples of the subject for MMLU', () => {
    const row = (question: string, subject: string) => ({
      question,
      subject,
      choices: ['w', 'x', 'y', 'z'],
      answer: 1,
    });
    const format = formatOf('mmlu', {});
    const pool = [row('h1', 'history'), row('l1', 'law'), row('h2', 'history'), row('h3', 'history')].map(format.parse);
    expect(promptOf(format, format.parse(row('Q', 'history')), 5, { count: 2, pool, seed: 3 })).toBe(
      'The following are multiple choice questions (with answers) about history.\n\n' +
        'h1\nA. w\nB. x\nC. y\nD. z\nAnswer: B\n\nh2\nA. w\nB. x\nC. y\nD. z\nAnswer: B\n\nQ\nA. w\nB. x\nC. y\nD. z\nAnswer:',
    );
  });
});

describe('encodePair', () => {
  it('gives the space before an answer to the answer', () => {
    const pair = encodePair(tokenizer, 'ab cd', ' ef');
    expect(pair).toEqual({ context: tokenizer.encodePlain('ab cd'), continuation: tokenizer.encodePlain(' ef') });
    expect(pair.continuation).toHaveLength(1);
  });

  it('moves spaces at the end of the context to the continuation', () => {
    expect(encodePair(tokenizer, 'ab cd ', 'ef')).toEqual(encodePair(tokenizer, 'ab cd', ' ef'));
  });

  it('splits the whole text’s tokens where tokens cross the boundary', () => {
    // 'ab' + 'cd' is one word: its token lies in the context, and nothing is left of the continuation but what follows.
    const { context, continuation } = encodePair(tokenizer, 'ab', 'cd ef');
    expect(context).toEqual(tokenizer.encodePlain('abcd'));
    expect(continuation).toEqual(tokenizer.encodePlain(' ef'));
  });

  it('begins with the token that begins or ends texts where there is no context', () => {
    expect(encodePair(tokenizer, '', ' ef').context).toEqual([999]);
    expect(encodePair({ ...tokenizer, startOfText: 5 }, '', ' ef').context).toEqual([5]);
  });
});

describe('scores', () => {
  it('compare sums for acc and sums a character for acc_norm', () => {
    // −6 of 2 characters is −3 each, −8 of 8 is −1: acc takes the first, acc_norm the second.
    const scores = [{ logLikelihood: -6 }, { logLikelihood: -8 }];
    expect(answersOf(['ab', 'abcdefgh'], scores)).toEqual({ likeliest: 0, likeliestNormed: 1 });
    // In characters, not in bytes: 'ééé' has three, so −6 is −2 each, and −4.4 of four −1.1.
    expect(answersOf(['ééé', 'abcd'], [{ logLikelihood: -6 }, { logLikelihood: -4.4 }]).likeliestNormed).toBe(1);
    expect(answersOf(['a', 'b'], [{ logLikelihood: -1 }, { logLikelihood: -1 }])).toEqual({
      likeliest: 0,
      likeliestNormed: 0,
    });
  });

  /** ln P by the continuation's text, and what was asked. */
  function scripted(logLikelihoods: Readonly<Record<string, number>>, dropped = 0) {
    const byIds = new Map(
      Object.entries(logLikelihoods).map(([text, value]) => [tokenizer.encodePlain(text).join(), value]),
    );
    const contexts: string[] = [];
    const model: TaskModel = {
      tokenizer,
      async score(context, continuations) {
        contexts.push(context.join());
        return continuations.map((ids) => ({ logLikelihood: byIds.get(ids.join())!, dropped }));
      },
    };
    return { model, contexts };
  }

  const items: readonly TaskItem[] = [
    { query: 'first', choices: ['on', 'another'], gold: 1, group: null },
    { query: 'second', choices: ['on', 'off'], gold: 0, group: null },
    { query: 'third', choices: ['on', 'off', 'another'], gold: 1, group: null },
  ];
  // ' on' −2 (−1 a character), ' another' −3.5 (−0.5), ' off' −2.4 (−0.8).
  const table = { ' on': -2, ' another': -3.5, ' off': -2.4 };

  it('of a task, worked out by hand', async () => {
    const { model, contexts } = scripted(table);
    const scores = (await scoreTask(plain, items, none, model))!;
    // acc: on (wrong), on (right), on (wrong). acc_norm: another (right), off (wrong), another (wrong).
    expect(scores.right).toEqual([false, true, false]);
    expect(scores.rightNorm).toEqual([true, false, false]);
    expect(scores.acc).toMatchObject({ value: 1 / 3, items: 3 });
    expect(scores.acc.standardError).toBeCloseTo(Math.sqrt((1 / 3) * (2 / 3) * (1 / 2)), 12);
    expect(scores.chance).toBeCloseTo((1 / 2 + 1 / 2 + 1 / 3) / 3, 12);
    expect(scores.truncated).toBe(0);
    expect(contexts).toEqual(items.map(({ query }) => tokenizer.encodePlain(query).join()));
  });

  it('put examples before the question, and count what was cut', async () => {
    const { model, contexts } = scripted(table, 3);
    const pool = [{ query: 'shown', choices: ['x', 'y'], gold: 1, group: null }];
    const scores = (await scoreTask(plain, items.slice(0, 1), { count: 1, pool, seed: 0 }, model))!;
    expect(contexts).toEqual([tokenizer.encodePlain('shown y\n\nfirst').join()]);
    expect(scores).toMatchObject({ shots: 1, truncated: 1 });
  });

  it('of two models are compared by McNemar on the same questions', async () => {
    const first = (await scoreTask(plain, items, none, scripted(table).model))!;
    const second = (await scoreTask(plain, items, none, scripted({ ' on': -9, ' another': -3, ' off': -2.9 }).model))!;
    // off everywhere it can: [false → another right, second wrong, third right].
    expect(second.right).toEqual([true, false, true]);
    const { acc } = compareTasks(first, second);
    expect(acc.difference.value).toBeCloseTo(1 / 3, 12);
    expect(acc.p).toBe(1); // two gained, one lost
  });

  it('of nothing are nothing', async () => {
    expect(await scoreTask(plain, [], none, scripted({}).model)).toBeNull();
  });
});

describe('own tasks', () => {
  const words = (seed: number, count: number) =>
    Array.from({ length: count }, (_, i) => `w${(i * (seed + 3) + seed) % 997}`).join(' ');
  const texts = new Map([
    ['b', [words(1, 2_000), words(2, 2_000)]],
    ['a', [words(3, 3_000)]],
    ['short', ['too short to ask']],
  ]);

  it('are the same for the same text and seed', () => {
    const make = (seed: number) => JSON.stringify([...makeOwnTasks(texts, { count: 20, seed })]);
    expect(make(1)).toBe(make(1));
    expect(make(1)).not.toBe(make(2));
  });

  it('ask for what the text really says, with three other answers', () => {
    const text = [...texts.values()].flat().join(' ');
    for (const [name, { items, examples }] of makeOwnTasks(texts, { count: 30, seed: 4 })) {
      expect(items, name).toHaveLength(30);
      expect(new Set(items.map(({ gold }) => gold)), name).toEqual(new Set([0, 1, 2, 3]));
      const asked = new Set(items.map(({ query }) => query));
      for (const item of items) {
        expect(text).toContain(`${item.query} ${item.choices[item.gold]}`);
        expect(new Set(item.choices).size).toBe(4);
        if (name === 'word-order')
          expect(new Set(item.choices.map((choice) => choice.split(' ').sort().join(' '))).size).toBe(1);
      }
      expect(examples.length, name).toBeGreaterThan(30);
      expect(examples.filter(({ query }) => asked.has(query))).toEqual([]);
    }
  });

  it('refuse too little text', () => {
    expect(() => makeOwnTasks(new Map([['a', ['a b c']]]), { count: 5, seed: 0 })).toThrow(EvaluationError);
  });
});
