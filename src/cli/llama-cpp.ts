/**
 * @file A GGUF file on llama.cpp, through node-llama-cpp. That package carries binaries, so it is no dependency: it is
 * looked for, and where it is absent the operator is told what to type. Nothing is downloaded or compiled here.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ChatTemplate } from '../inference/chat-template.ts';
import { BaseError, UsageError } from '../util/errors.ts';
import { llamaDir } from './paths.ts';
import type { Speaker, SpeakOptions } from './speaker.ts';

export class LlamaCppError extends BaseError<'LLAMA_NOT_INSTALLED' | 'LLAMA_FAILED'> {}

/** As much of the package's interface as is used here. */
interface LlamaModule {
  getLlama(options: object): Promise<{ loadModel(options: object): Promise<LlamaModel> }>;
  readonly LlamaLogLevel: { readonly error: string };
}
interface LlamaModel {
  readonly fileInfo: {
    readonly metadata: { readonly tokenizer?: { readonly chat_template?: unknown } };
  };
  readonly trainContextSize: number;
  readonly tokens: { readonly bosString?: string | null; readonly eosString?: string | null };
  createContext(options: object): Promise<{ getSequence(): LlamaSequence }>;
  tokenize(text: string, specialTokens: boolean, options: string): number[];
  detokenize(ids: readonly number[], specialTokens: boolean): string;
  dispose(): Promise<void>;
}
interface LlamaSequence {
  adaptStateToTokens(ids: readonly number[], allowShift: boolean): Promise<void>;
  readonly nextTokenIndex: number;
  evaluate(ids: readonly number[], options: object): AsyncIterable<number>;
}

/** The module of the pinned version. @throws LlamaCppError LLAMA_NOT_INSTALLED, saying what to type */
export function findLlamaCpp(folder = llamaDir()): string {
  const module = join(folder, 'node_modules', 'node-llama-cpp', 'dist', 'index.js');
  if (existsSync(module)) return module;
  throw new LlamaCppError(
    'LLAMA_NOT_INSTALLED',
    '--gguf needs llama.cpp, which is not installed (some 80 MB); in the folder of Accrete type: node --import tsx scripts/install-llama.ts',
  );
}

export async function openLlamaSpeaker(
  path: string,
  { threads, contextTokens }: { readonly threads: number; readonly contextTokens: number },
): Promise<Speaker> {
  if (!existsSync(path)) throw new UsageError(`--gguf: there is no file at ${path}; check the path`);
  const module = (await import(pathToFileURL(findLlamaCpp()).href)) as LlamaModule;
  const model = await openModel(module, path, threads);
  const contextSize = contextTokens || Math.min(model.trainContextSize, 4_096);
  // As exact as the own engine: the cache's default of 16 bits and flash attention change logits by 1e-2.
  const exact = { flashAttention: false, experimentalKvCacheKeyType: 'F32', experimentalKvCacheValueType: 'F32' };
  const context = await model.createContext({ contextSize, threads, ...exact }).catch((cause) => {
    throw new LlamaCppError('LLAMA_FAILED', `${path}: llama.cpp cannot make room for ${contextSize} tokens`, { cause });
  });
  const sequence = context.getSequence();
  return {
    name: path,
    template: templateIn(model),
    contextTokens: contextSize,
    encode: (text) => model.tokenize(text, true, 'trimLeadingSpace'),
    decode: (ids) => model.detokenize(ids, false),
    prepare: async () => {},
    speak: (prompt, options) => speak(sequence, prompt, options),
    release: () => model.dispose(),
  };
}

async function openModel(module: LlamaModule, modelPath: string, threads: number): Promise<LlamaModel> {
  const options = { gpu: false, build: 'never', skipDownload: true, maxThreads: threads };
  const llama = await module.getLlama({ ...options, logLevel: module.LlamaLogLevel.error });
  return await llama.loadModel({ modelPath }).catch((cause: Error) => {
    const sentence = `${modelPath}: llama.cpp does not load it (${cause.message.slice(0, 200)}); a file of architecture quasar_long runs on the own engine: --checkpoint ${modelPath}`;
    throw new LlamaCppError('LLAMA_FAILED', sentence, { cause });
  });
}

function templateIn({ fileInfo, tokens }: LlamaModel): ChatTemplate | null {
  const text = fileInfo.metadata.tokenizer?.chat_template;
  const special = { bos_token: tokens.bosString ?? '', eos_token: tokens.eosString ?? '' };
  return typeof text === 'string' ? new ChatTemplate(text, special) : null;
}

async function* speak(
  sequence: LlamaSequence,
  prompt: readonly number[],
  { maxTokens, temperature, topK, topP, repetitionPenalty = 1, seed, signal, onPrompt }: SpeakOptions,
): AsyncGenerator<number, void> {
  await sequence.adaptStateToTokens(prompt.slice(0, -1), false);
  const rest = prompt.slice(sequence.nextTokenIndex);
  const penalty =
    repetitionPenalty === 1 ? {} : { repeatPenalty: { penalty: repetitionPenalty, punishTokens: prompt } };
  const sampling = { temperature, topK, topP: topP ?? 1, seed: seedNumber(seed), ...penalty };
  let count = 0;
  for await (const id of sequence.evaluate(rest, { ...sampling, yieldEogToken: false })) {
    if (count === 0) onPrompt?.();
    signal.throwIfAborted();
    yield id;
    if (++count === maxTokens) return;
  }
}

/** llama.cpp takes 32 bits. */
function seedNumber(seed: number | string): number {
  if (typeof seed === 'number') return seed % 2 ** 32;
  let hash = 2_166_136_261;
  for (const letter of seed) hash = Math.imul(hash ^ letter.codePointAt(0)!, 16_777_619);
  return hash >>> 0;
}
