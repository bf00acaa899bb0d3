/**
 * @file `accrete eval` on a real checkpoint (untrained, tiny, with its own tokenizer): every number beside a computation from the
 * whole forward pass; task files that are refused with their line; what is written, and what is left alone.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { testIo } from '../../../tests/support/test-io.ts';
import { trainBpe } from '../../data/bpe-trainer.ts';
import { WordTable } from '../../data/pre-tokenizer.ts';
import { Tokenizer } from '../../data/tokenizer.ts';
import { tokenizerConfigJson, tokenizerJson } from '../../data/tokenizer-files.ts';
import { type EvalReport, evalReportSchema } from '../../evaluation/eval-report.ts';
import { logProbabilities } from '../../export/backbone.ts';
import { writeHuggingFaceFolder } from '../../export/hugging-face.ts';
import type { Decoder } from '../../model/quasar-long/decode-model.ts';
import { openDecoder } from '../../model/quasar-long/generate.ts';
import { initParams, type Params } from '../../model/quasar-long/init.ts';
import { presetConfig } from '../../model/quasar-long/presets.ts';
import { utf8 } from '../../util/bytes.ts';
import { Rng } from '../../util/rng.ts';
import { main } from '../main.ts';
import { describeReport } from './report.ts';

// Whole commands, each of which builds its graphs: seconds alone, minutes beside other work.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

const config = presetConfig('tiny', { max_position_embeddings: 96, initializer_range: 0.15 });
const lexicon =
  'the a river stone house sees holds of and old grey bird sings in morning rain falls on hill slowly'.split(' ');
const text = (seed: number, words: number): string => {
  const rng = new Rng(`text ${seed}`);
  return Array.from({ length: words }, () => lexicon[rng.below(lexicon.length)]).join(' ');
};

function makeTokenizer(): { json: string; config: string } {
  const table = new WordTable();
  const counts: number[] = [];
  for (const index of table.add(text(0, 4_000))) counts[index] = (counts[index] ?? 0) + 1;
  const vocabulary = trainBpe(table.words, counts, { tokenCount: 300 });
  return { json: JSON.stringify(tokenizerJson(vocabulary)), config: JSON.stringify(tokenizerConfigJson()) };
}

const files = makeTokenizer();
const tokenizer = new Tokenizer(files.json, files.config);
let cwd: string;
let whole: Decoder;

async function writeCheckpoint(name: string, seed: string): Promise<Params> {
  const params = initParams(config, seed);
  await writeHuggingFaceFolder(join(cwd, name), {
    ...{ config, params },
    files: new Map([
      ['tokenizer.json', utf8(files.json)],
      ['tokenizer_config.json', utf8(files.config)],
    ]),
    card: { name, licence: 'apache-2.0', summary: '', numbers: [], sources: [], notes: [] },
  });
  return params;
}

beforeAll(async () => {
  cwd = mkdtempSync(join(tmpdir(), 'accrete-eval-'));
  whole = await openDecoder(config, await writeCheckpoint('one', 'one'));
  await writeCheckpoint('two', 'two');
  writeFileSync(join(cwd, 'text.txt'), text(1, 1_500));
});
afterAll(async () => {
  await whole.release();
  rmSync(cwd, { recursive: true });
});

async function run(...argv: readonly string[]) {
  const { io, lines, errors } = testIo({ cwd });
  const exitCode = await main(['eval', '--checkpoint', 'one', '--held-out', 'none', '--threads', '1', ...argv], io);
  return { exitCode, out: lines.join('\n'), err: errors.join('\n') };
}

async function report(...argv: readonly string[]): Promise<EvalReport> {
  const { exitCode, out, err } = await run('--json', ...argv);
  expect(exitCode, err).toBe(0);
  return evalReportSchema.parse(JSON.parse(out));
}

/** ln P of each token after the first, from one pass over all. */
async function tokenLosses(ids: readonly number[]): Promise<number[]> {
  whole.reset();
  const logits = await whole.feed(ids);
  return ids
    .slice(1)
    .map((id, i) => logProbabilities(logits.subarray(i * config.vocab_size, (i + 1) * config.vocab_size))[id]!);
}

it('measures text as the forward pass does, in nats, perplexity and bits a byte', async () => {
  const { texts, seqLen } = await report(
    '--text',
    'mine=text.txt',
    '--tasks',
    'none',
    '--seq-len',
    '32',
    '--sequences',
    '5',
  );
  const { loss, bitsPerByte, perplexity, tokens, bytes } = texts.mine!;
  const ids = tokenizer.encodePlain(readFileSync(join(cwd, 'text.txt'), 'utf8'));
  const whole = Math.floor(ids.length / 32);
  const rows = [0, 1, 2, 3, 4].map((k) => {
    const at = Math.floor(((k + 0.5) * whole) / 5) * 32;
    return ids.slice(at, at + 32);
  });
  const losses: number[] = [];
  for (const row of rows) losses.push((await tokenLosses(row)).reduce((a, b) => a - b, 0) / 31);
  const mean = losses.reduce((a, b) => a + b, 0) / 5;
  const deviation = Math.sqrt(losses.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 4);
  const predicted = rows.reduce((sum, row) => sum + utf8(tokenizer.decode(row.slice(1))).length, 0);
  expect(loss.value).toBeCloseTo(mean, 4);
  expect(loss.standardError).toBeCloseTo(deviation / Math.sqrt(5), 4);
  expect(loss.high! - loss.value).toBeCloseTo((2.776445 * deviation) / Math.sqrt(5), 4); // t of 4 degrees
  expect(perplexity.value).toBeCloseTo(Math.exp(mean), 1);
  expect({ tokens, bytes, seqLen, items: loss.items }).toEqual({ tokens: 155, bytes: predicted, seqLen: 32, items: 5 });
  expect(bitsPerByte!.value).toBeCloseTo((mean * 155) / predicted / Math.LN2, 3);
});

it('answers questions as the forward pass does, with examples, in the prompt of the harness', async () => {
  const row = (i: number, seed: number) => ({
    question: text(seed + i, 6),
    choices: { text: [text(100 + i, 3), text(200 + i, 5), text(300 + i, 2)], label: ['A', 'B', 'C'] },
    answerKey: 'ABC'[i % 3],
  });
  const rows = Array.from({ length: 12 }, (_, i) => row(i, 10));
  writeFileSync(join(cwd, 'arc.jsonl'), `${rows.map((each) => JSON.stringify(each)).join('\n')}\n`);
  writeFileSync(join(cwd, 'arc-train.jsonl'), JSON.stringify(row(40, 50)));
  const argv = ['--tasks', 'arc_easy=arc.jsonl', '--fewshot', '1', '--fewshot-from', 'arc_easy=arc-train.jsonl'];
  const { tasks } = await report(...argv);
  const shown = row(40, 50);
  const example = `Question: ${shown.question}\nAnswer: ${shown.choices.text[1]}\n\n`;
  let [right, rightNorm] = [0, 0];
  for (const { question, choices, answerKey } of rows) {
    const context = tokenizer.encodePlain(`${example}Question: ${question}\nAnswer:`);
    const sums: number[] = [];
    for (const choice of choices.text) {
      const whole = tokenizer.encodePlain(`${example}Question: ${question}\nAnswer: ${choice}`);
      expect(whole.length).toBeLessThan(96);
      sums.push((await tokenLosses(whole)).slice(context.length - 1).reduce((a, b) => a + b, 0));
    }
    const norms = sums.map((sum, i) => sum / choices.text[i]!.length);
    const gold = 'ABC'.indexOf(answerKey!);
    if (sums.indexOf(Math.max(...sums)) === gold) right++;
    if (norms.indexOf(Math.max(...norms)) === gold) rightNorm++;
  }
  const { acc, accNorm, shots, chance, truncated } = tasks.arc_easy!;
  expect({ acc: acc.value, accNorm: accNorm.value }).toEqual({ acc: right / 12, accNorm: rightNorm / 12 });
  expect({ shots, truncated, items: acc.items }).toEqual({ shots: 1, truncated: 0, items: 12 });
  expect(chance).toBeCloseTo(1 / 3, 12);
  expect((await report(...argv, '--limit', '5')).tasks.arc_easy!.acc.items).toBe(5);
});

it('asks own questions of the text, and compares two checkpoints on the same items', async () => {
  const argv = ['--text', 'text.txt', '--own-items', '6', '--seq-len', '64', '--compare', 'two'];
  const both = await report(...argv);
  expect(Object.keys(both.tasks)).toEqual(['continuation', 'word-order']);
  const { comparison } = both;
  expect(comparison).toMatchObject({ checkpoint: 'two', texts: { text: { test: 'paired t' } } });
  const second = await report('--checkpoint', 'two', '--text', 'text.txt', '--own-items', '6', '--seq-len', '64');
  expect(comparison!.texts.text!.difference.value).toBeCloseTo(
    second.texts.text!.loss.value - both.texts.text!.loss.value,
    9,
  );
  const { difference, test } = comparison!.tasks.continuation!.acc;
  expect(test).toBe('McNemar, exact');
  expect(difference.value).toBeCloseTo(second.tasks.continuation!.acc.value - both.tasks.continuation!.acc.value, 12);
  expect(second).toMatchObject({ corpus: null, checkpoint: 'two' });
  const same = await report(...argv.slice(0, -1), 'one', '--tasks', 'none');
  expect(same.comparison!.texts.text).toMatchObject({ p: 1, difference: { value: 0 } });
  const out = describeReport(both).join('\n');
  expect(out).toContain('two minus one, on the same items:');
  expect(out).toMatch(/acc, word-order .* McNemar, exact/);
});

it('cuts the beginning of what is too long, and says so', async () => {
  const query = text(9, 200);
  writeFileSync(join(cwd, 'long.jsonl'), JSON.stringify({ query, choices: ['the river', 'a bird sings'], gold: 0 }));
  const { tasks } = await report('--tasks', 'long.jsonl');
  expect(tasks.long).toMatchObject({ truncated: 1, acc: { items: 1, standardError: null } });
});

describe('refusals', () => {
  const good = JSON.stringify({ query: 'q', choices: ['a', 'b'], gold: 0 });
  it.each<readonly [string, string, string]>([
    ['a foreign line', `${good}\nhello\n`, 'bad.jsonl:2: expected a JSON object, got hello'],
    [
      'a label that is no choice',
      `${good}\n\n{"query":"q","choices":["a","b"],"gold":7}`,
      'bad.jsonl:3: expected a label',
    ],
    ['a missing field', `${good}\n{"query":"q","gold":0}`, 'bad.jsonl:2: expected query, choices and gold'],
    ['a row cut short', `${good}\n{"query":"q`, 'bad.jsonl:2: expected a JSON object'],
    ['no rows', '\n', 'the file has no rows'],
    ['a foreign set', '{"text":"x"}', 'bad.jsonl:1: the fields are those of no format'],
    ['a line without an end', 'x'.repeat(2 << 20), 'bad.jsonl:1: the line is longer than'],
  ])('%s', async (_, content, sentence) => {
    writeFileSync(join(cwd, 'bad.jsonl'), content);
    const { exitCode, err, out } = await run('--tasks', 'bad.jsonl', '--out', 'out.json');
    expect(err).toContain(sentence);
    expect({ exitCode, out }).toEqual({ exitCode: 1, out: '' });
    expect(readdirSync(cwd)).not.toContain('out.json');
  });

  it.each<readonly [readonly string[], string]>([
    [['--tasks', 'none'], 'nothing to measure'],
    [['--tasks', 'missing.jsonl'], 'there is no file at'],
    [['--tasks', 'x=text.txt,x=text.txt'], 'x is there twice'],
    [['--tasks', 'x=text.txt', '--fewshot', '2'], 'add --fewshot-from x=FILE'],
    [['--tasks', 'none', '--fewshot-from', 'x=text.txt'], 'x is none of the tasks'],
    [['--checkpoint', 'absent'], 'there is nothing at'],
    [['--text', 'text.txt', '--seq-len', '90', '--text', 'short.txt'], 'short.txt'],
    [['--text', 'text.txt', '--out', 'text.txt'], 'text.txt is there already'],
    [['--held-out', 'absent'], 'no prepared corpus of preset absent'],
  ])('%o', async (argv, sentence) => {
    writeFileSync(join(cwd, 'short.txt'), 'the river');
    const { exitCode, err } = await run(...argv);
    expect(err).toContain(sentence);
    expect(exitCode).toBeGreaterThan(0);
  });

  it('leaves `eval needle` a command of its own', async () => {
    const { io, errors } = testIo({ cwd });
    expect(await main(['eval', 'needle', '--checkpoint', 'absent', '--depths', '2'], io)).toBe(2);
    expect(errors.join()).toContain('--depths');
    expect(await main(['eval', 'nedle'], io)).toBe(2);
  });
});

describe('--write', () => {
  const argv = ['--text', 'text.txt', '--tasks', 'none', '--seq-len', '32', '--sequences', '3', '--write'];

  it('keeps results beside a folder, and one table in its card', async () => {
    for (let i = 0; i < 2; i++) expect((await run(...argv)).exitCode).toBe(0);
    const card = readFileSync(join(cwd, 'one', 'README.md'), 'utf8');
    expect(card.match(/## Evaluation/g)).toHaveLength(1);
    expect(card).toMatch(/\| Loss, text \| \d\.\d{4} nats a token, \d\.\d{4} bits a byte \| \d\.\d{4} to \d\.\d{4} \|/);
    expect(evalReportSchema.parse(JSON.parse(readFileSync(join(cwd, 'one.eval.json'), 'utf8'))).checkpoint).toBe('one');
  });

  it('leaves the files of a run’s release alone', async () => {
    mkdirSync(join(cwd, 'run', 'releases'), { recursive: true });
    writeFileSync(join(cwd, 'run', 'journal.jsonl'), '');
    await writeCheckpoint(join('run', 'releases', 'release-3'), 'three');
    const folder = join(cwd, 'run', 'releases', 'release-3');
    const before = readdirSync(folder).map((name) => readFileSync(join(folder, name)).toString('base64'));
    expect((await run(...argv, '--checkpoint', folder)).exitCode).toBe(0);
    expect(readdirSync(folder).map((name) => readFileSync(join(folder, name)).toString('base64'))).toEqual(before);
    expect(readdirSync(join(cwd, 'run', 'releases'))).toEqual(['release-3', 'release-3.eval.json']);
  });
});
