/** @file Does `accrete eval`: tables or JSON on standard output, progress on standard error. */
import { realpath, stat, writeFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { type EvalComparison, type EvalReport, evalReportOf } from '../../evaluation/eval-report.ts';
import { plain } from '../../evaluation/tasks/formats.ts';
import { makeOwnTasks } from '../../evaluation/tasks/own-tasks.ts';
import { compareTasks } from '../../evaluation/tasks/score.ts';
import { compareTexts } from '../../evaluation/text-loss.ts';
import { readGgufTokenizer } from '../../export/gguf/read-tokenizer.ts';
import { UsageError } from '../../util/errors.ts';
import { loadModel } from '../checkpoint-model.ts';
import { locateCheckpoint, placeOf } from '../checkpoint-place.ts';
import { readTokenizerFiles, tokenizerOf } from '../checkpoint-tokenizer.ts';
import type { Handler } from '../command.ts';
import type { Io } from '../io.ts';
import { keepReport } from './keep.ts';
import { type EvalTask, type LoadedModel, type Measured, measure } from './measure.ts';
import { type EvalOptions, parseEvalOptions } from './options.ts';
import { describeReport } from './report.ts';
import { openTaskFile, readPool } from './task-file.ts';
import { type EvalTexts, readTexts } from './texts.ts';

export const handle: Handler = async (settings, io) =>
  await evaluate(settings, io).catch((error: unknown) => {
    if (!io.stop.aborted) throw error;
    io.err('stopped; nothing was written');
    return 1;
  });

const evaluate: Handler = async (settings, io) => {
  const options = parseEvalOptions(settings, io.cwd);
  const checkpoint = await realpath(await locateCheckpoint(settings, io));
  const compare = settings.has('compare') ? await locateOther(settings.text('compare'), io) : null;
  if (options.out !== null && (await stat(options.out).catch(() => null)) !== null)
    throw new UsageError(`--out: ${options.out} is there already; choose another name or remove it`);
  let model: LoadedModel | null = await openModel(checkpoint);
  const seqLen = Math.min(options.seqLen, model.config.max_position_embeddings);
  const tokenizerJson = (await tokenizerTexts(checkpoint)).json;
  const texts = await readTexts({ ...options, seqLen, tokenizer: model.tokenizer, tokenizerJson });
  const tasks = await openTasks(options, texts);
  if (texts.sequences.size === 0 && tasks.length === 0)
    throw new UsageError(
      'nothing to measure: no prepared corpus has this tokenizer; give --text FILE or --tasks NAME=FILE',
    );
  const plan = { sequences: texts.sequences, tasks };
  const first = await measure(model, plan, { ...options, seqLen }, io);
  model = null; // the second one takes its place in memory
  const findings = { checkpoint: basename(checkpoint), seed: options.seed, corpus: texts.corpus, seqLen, ...first };
  let comparison: EvalComparison | null = null;
  if (compare !== null) {
    const other = await openModel(compare);
    await checkComparable(other, { compare, tokenizerJson, seqLen, hasTexts: texts.sequences.size > 0 });
    comparison = compareAll(basename(compare), first, await measure(other, plan, { ...options, seqLen }, io));
  }
  const report = evalReportOf(findings, comparison);
  if (options.out !== null) await writeFile(options.out, `${JSON.stringify(report, null, 2)}\n`, { flag: 'wx' });
  if (options.isWritten) for (const line of await keepReport(checkpoint, report)) io.err(line);
  tell(report, settings.switch('json'), io.out);
  return 0;
};

function tell(report: EvalReport, isJson: boolean, out: (line: string) => void): void {
  if (isJson) out(JSON.stringify(report));
  else for (const line of describeReport(report)) out(line);
}

/** Without links: `releases/latest` is the release that it points at. */
const locateOther = async (typed: string, io: Io): Promise<string> =>
  await realpath(await placeOf(typed, { option: 'compare', release: null }, io));

/** Of a folder; of a GGUF file from beside it, or, where it travels alone, from inside. */
async function tokenizerTexts(path: string): Promise<{ readonly json: string; readonly config: string }> {
  if ((await stat(path)).isDirectory()) return await readTokenizerFiles(path);
  return await readTokenizerFiles(dirname(path)).catch(async () => await readGgufTokenizer(path));
}

async function openModel(path: string): Promise<LoadedModel> {
  const { config, params } = await loadModel(path);
  return { config, params, tokenizer: tokenizerOf(await tokenizerTexts(path), config.vocab_size, path) };
}

async function openTasks(options: EvalOptions, texts: EvalTexts): Promise<readonly EvalTask[]> {
  const tasks: EvalTask[] = [];
  if (options.hasOwnTasks && texts.pieces.size > 0) {
    const own = makeOwnTasks(texts.pieces, { count: options.ownItems, seed: options.seed });
    for (const [name, { items, examples }] of own)
      tasks.push({ name, format: plain, pool: examples, items: (limit) => items.slice(0, limit) });
  }
  for (const file of options.tasks) {
    const task = await openTaskFile(file);
    const split = options.fewshotFrom.find(({ name }) => name === file.name);
    const pool = split === undefined || options.fewshot === 0 ? [] : await readPool(split, task.format);
    tasks.push({ ...task, pool });
  }
  return tasks;
}

async function checkComparable(
  { config }: LoadedModel,
  options: {
    readonly compare: string;
    readonly tokenizerJson: string;
    readonly seqLen: number;
    readonly hasTexts: boolean;
  },
): Promise<void> {
  const { compare, tokenizerJson, seqLen, hasTexts } = options;
  if (!hasTexts) return;
  if ((await tokenizerTexts(compare)).json !== tokenizerJson)
    throw new UsageError(
      `--compare: ${compare} has another tokenizer, so losses a token cannot be paired; compare tasks alone with --held-out none`,
    );
  if (config.max_position_embeddings < seqLen)
    throw new UsageError(
      `--compare: ${compare} reads ${config.max_position_embeddings} tokens, the sequences have ${seqLen}; add --seq-len ${config.max_position_embeddings}`,
    );
}

function compareAll(checkpoint: string, first: Measured, second: Measured): EvalComparison {
  const pairs = <T, U>(a: ReadonlyMap<string, T>, b: ReadonlyMap<string, T>, compare: (x: T, y: T) => U) =>
    new Map([...a].flatMap(([name, value]) => (b.has(name) ? [[name, compare(value, b.get(name)!)] as const] : [])));
  return {
    checkpoint,
    texts: pairs(first.texts, second.texts, compareTexts),
    tasks: pairs(first.tasks, second.tasks, compareTasks),
  };
}
