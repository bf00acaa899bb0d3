/** @file The model that a command's options name: `--checkpoint` on the own engine, `--gguf` on llama.cpp. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { readGgufTokenizer } from '../export/gguf/read-tokenizer.ts';
import { readChatTemplate } from '../inference/chat-template.ts';
import type { LanguageModel } from '../inference/language-model.ts';
import { openDecodeModel } from '../model/quasar-long/decode-model.ts';
import { UsageError } from '../util/errors.ts';
import { loadModel } from './checkpoint-model.ts';
import { locateCheckpoint } from './checkpoint-place.ts';
import { readTokenizerFiles, tokenizerOf } from './checkpoint-tokenizer.ts';
import { parseDevice } from './device.ts';
import type { Io } from './io.ts';
import { OwnSpeaker } from './own-speaker.ts';
import type { Settings } from './settings.ts';
import type { Speaker } from './speaker.ts';
import { parseThreads } from './threads.ts';

/** Of `--gguf`, else of `--checkpoint`. */
export async function openSpeaker(settings: Settings, io: Io): Promise<Speaker> {
  if (settings.has('gguf') === settings.has('checkpoint'))
    throw new UsageError('say what to run: --checkpoint DIR|URL (on the own engine) or --gguf FILE (on llama.cpp)');
  if (!settings.has('gguf')) return new OwnSpeaker(await openLanguageModel(settings, io));
  const { openLlamaSpeaker } = await import('./llama-cpp.ts');
  const contextTokens = contextOf(settings);
  return await openLlamaSpeaker(settings.path('gguf'), { threads: parseThreads(settings), contextTokens });
}

const contextOf = (settings: Settings): number => settings.count('context', { min: 0, max: 1 << 24 });

/** The model of `--checkpoint`, on the own engine. */
export async function openLanguageModel(settings: Settings, io: Io): Promise<LanguageModel> {
  const [threads, device, context] = [parseThreads(settings), parseDevice(settings), contextOf(settings)];
  const place = await locateCheckpoint(settings, io);
  const { config, params } = await loadModel(place);
  const isFolder = (await stat(place)).isDirectory();
  const texts = isFolder ? await readTokenizerFiles(place) : await readGgufTokenizer(place);
  const tokenizer = tokenizerOf(texts, config.vocab_size, place);
  const jinja = isFolder ? await readFile(join(place, 'chat_template.jinja'), 'utf8').catch(() => null) : null;
  const template = readChatTemplate(texts.config, jinja);
  const model = await openDecodeModel(config, params, { threads, device });
  return { name: place, model, tokenizer, template, contextTokens: context || config.max_position_embeddings };
}
