/**
 * @file Decoding beside llama.cpp (through node-llama-cpp): the same weights in float32, the same prompt, greedy, on the
 * CPU. Both sides are processes that stay alive and decode in turns, so that neither is timed while the other computes.
 * A side that continues the prompt with other tokens is an error, not a result.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Rng } from '../src/util/rng.ts';
import {
  type DecodeAnswer,
  type DecodeQuestion,
  type LogitsAnswer,
  type LogitsQuestion,
  type SubjectName,
  subjectConfig,
  subjectNames,
  writeSubject,
} from './decode-job.ts';
import { findLlamaCpp, type LlamaCpp } from './llama/install.ts';
import { type Bench, type BenchRow, percentile } from './measure.ts';
import { Side } from './side.ts';

const promptTokens = 256;
const decodedTokens = 128;
const rounds = 9;
/** llama.cpp's threads wait for each other busily: on a machine that others use, one token can take a second. */
const maxAnswerMs = 30_000;
const maxSubjectMs = 120_000;

/** Of a log-probability, in nats; the sums run in another order. */
const logProbabilityTolerance = 1e-4;

type DecodeSide = Side<DecodeQuestion | LogitsQuestion, DecodeAnswer | LogitsAnswer>;

export const decode: Bench = {
  name: 'decode',
  about: `${decodedTokens} tokens after a prompt of ${promptTokens}, float32, beside llama.cpp: tokens/s, ratio of each round's times`,
  async run() {
    const llama = findLlamaCpp();
    if ('missing' in llama) return [{ what: 'skipped', value: '', detail: llama.missing }];
    const rows: BenchRow[] = [];
    for (const subject of subjectNames)
      for (const threads of new Set([1, Math.min(2, availableParallelism())]))
        rows.push(...(await compare(subject, threads, llama)));
    return rows;
  },
};

interface Round {
  readonly ours: DecodeAnswer;
  readonly theirs: DecodeAnswer;
}

async function compare(subject: SubjectName, threads: number, llama: LlamaCpp): Promise<readonly BenchRow[]> {
  const folder = mkdtempSync(join(tmpdir(), 'accrete-bench-'));
  const file = join(folder, 'model.gguf');
  await writeSubject(subject, file);
  const here = import.meta.dirname;
  const context = promptTokens + decodedTokens + 8;
  const theirs: DecodeSide = new Side(process.execPath, [
    ...[join(here, 'llama', 'decode.mjs'), llama.module, file, String(threads), String(context)],
  ]);
  const ours: DecodeSide = new Side(process.execPath, [
    ...['--import', 'tsx', join(here, 'decode-ours.ts'), subject, String(threads)],
  ]);
  try {
    await Promise.all([ours.ready, theirs.ready]);
    const worst = await compareLogits(subject, ours, theirs);
    const done: Round[] = [];
    const startedAt = performance.now();
    for (let round = 0; round <= rounds && performance.now() - startedAt < maxSubjectMs; round++) {
      const question = { prompt: drawPrompt(subject, round), count: decodedTokens };
      const own = (await ours.ask(question)) as DecodeAnswer;
      const other = (await theirs.askWithin(question, maxAnswerMs)) as DecodeAnswer | null;
      if (other === null) break;
      const answers = { ours: own, theirs: other };
      checkAgreement(subject, answers);
      // The first round warms up.
      if (round > 0) done.push(answers);
    }
    return report(subject, threads, done, { llama, worst });
  } finally {
    ours.close();
    theirs.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

function drawPrompt(subject: SubjectName, round: number): number[] {
  const rng = new Rng(`bench prompt ${round}`);
  const { vocab_size } = subjectConfig(subject);
  return Array.from({ length: promptTokens }, () => 1 + rng.below(vocab_size - 1));
}

/** The worst difference, one prompt read token for token. */
async function compareLogits(subject: SubjectName, ours: DecodeSide, theirs: DecodeSide): Promise<number> {
  const question = { prompt: drawPrompt(subject, 0), logits: true } as const;
  const [own, other] = [await ours.ask(question), await theirs.ask(question)] as [LogitsAnswer, LogitsAnswer];
  const worst = Math.max(...own.map(({ next }, i) => Math.abs(next - other[i]!.next)));
  if (worst <= logProbabilityTolerance && own.every(({ greedy }, i) => greedy === other[i]!.greedy)) return worst;
  throw new Error(`${subject}: log-probabilities differ by ${worst}; at most ${logProbabilityTolerance} is rounding`);
}

interface Found {
  readonly llama: LlamaCpp;
  /** Difference of two log-probabilities. */
  readonly worst: number;
}

function checkAgreement(subject: SubjectName, { ours, theirs }: Round): void {
  const at = ours.ids.findIndex((id, i) => id !== theirs.ids[i]);
  if (at >= 0 || ours.ids.length !== theirs.ids.length)
    throw new Error(
      `${subject}: token ${at} is ${ours.ids[at]}, llama.cpp's ${theirs.ids[at]}; greedy tokens must agree`,
    );
}

function report(
  subject: SubjectName,
  threads: number,
  done: readonly Round[],
  { llama, worst }: Found,
): readonly BenchRow[] {
  const what = `${subject}, ${threads} threads`;
  const busy = `llama.cpp took more than ${maxAnswerMs / 1000} s for ${decodedTokens} tokens: other programs hold its cores`;
  if (done.length === 0) return [{ what, value: 'none', detail: busy }];
  const prefix = `${subject}, ${threads} ${threads === 1 ? 'thread' : 'threads'}`;
  const rates = (pick: (round: Round) => DecodeAnswer) => ({
    prompt: done.map((round) => (promptTokens / pick(round).ms[0]!) * 1000),
    // Of a round the median token: one that another process disturbed does not count.
    decoding: done.map((round) => 1000 / percentile(pick(round).ms.slice(1), 0.5)),
    fastest: 1000 / Math.min(...done.flatMap((round) => pick(round).ms.slice(1))),
  });
  const [ours, theirs] = [rates(({ ours }) => ours), rates(({ theirs }) => theirs)];
  const row = (what: string, values: readonly number[], detail = ''): BenchRow => ({
    ...{ what, value: `${Math.round(percentile(values, 0.5)).toLocaleString('en-US')} tokens/s` },
    detail: `${Math.round(percentile(values, 0.1))}-${Math.round(percentile(values, 0.9))} (10-90 % of ${values.length} rounds)${detail}`,
  });
  const ratio = (what: string, a: readonly number[], b: readonly number[], detail = ''): BenchRow => {
    const ratios = a.map((value, i) => value / b[i]!);
    const at = (share: number): string => percentile(ratios, share).toFixed(2);
    return { what, value: at(0.5), detail: `${at(0.1)}-${at(0.9)} (10-90 % of ${ratios.length} rounds)${detail}` };
  };
  const best = (fastest: number): string => `, fastest token ${Math.round(fastest)}/s`;
  return [
    row(`${prefix}: ours`, ours.decoding, best(ours.fastest)),
    row(`  ${llama.version}`, theirs.decoding, best(theirs.fastest)),
    ratio(
      '  ratio',
      ours.decoding,
      theirs.decoding,
      `; greedy tokens agree in ${done.length + 1} prompts, log-probabilities to ${worst.toExponential(0)}`,
    ),
    row('  prompt, ours', ours.prompt),
    row('  prompt, llama.cpp', theirs.prompt),
    ratio('  ratio', ours.prompt, theirs.prompt),
  ];
}
