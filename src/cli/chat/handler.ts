/** @file Does `accrete chat`: a line, an answer, a line. Answers go to standard output, all else to standard error. */
import { InferenceError } from '../../inference/errors.ts';
import { templateOf } from '../../inference/language-model.ts';
import type { Handler } from '../command.ts';
import type { Io } from '../io.ts';
import { openSpeaker } from '../open-model.ts';
import { type ParsedSampling, parseSampling } from '../sampling.ts';
import type { Settings } from '../settings.ts';
import type { Speaker } from '../speaker.ts';
import { interruptedExitCode, type Speech, speech, speedOf } from '../speech.ts';
import { Conversation } from './conversation.ts';
import { type Lines, openLines } from './lines.ts';

interface ChatOptions extends ParsedSampling {
  readonly maxTokens: number;
  readonly system: string | null;
  readonly isJson: boolean;
}

const parseOptions = (settings: Settings): ChatOptions => ({
  ...parseSampling(settings),
  maxTokens: settings.count('max-tokens', { min: 1, max: 1 << 20 }),
  system: settings.has('system') ? settings.text('system') : null,
  isJson: settings.switch('json'),
});

export const handle: Handler = async (settings, io) => {
  const options = parseOptions(settings);
  const speaker = await openSpeaker(settings, io);
  // Opened after the model is there: until then Ctrl-C is the process's own signal.
  let lines: Lines | null = null;
  try {
    if (io.stop.aborted) return interruptedExitCode;
    const conversation = conversationOf(speaker, options);
    if (io.terminal !== null) io.err(`${speaker.name}: /reset forgets, /exit or Ctrl-D leaves, Ctrl-C ends an answer`);
    lines = openLines(process.stdin, process.stdout, io.stop);
    await converse(speaker, conversation, { options, lines, io });
    if (lines.isInterrupted && io.terminal !== null) io.write('\n');
    return lines.isInterrupted ? interruptedExitCode : 0;
  } finally {
    lines?.close();
    await speaker.release();
  }
};

function conversationOf(speaker: Speaker, { maxTokens, system }: ChatOptions): Conversation {
  const { contextTokens } = speaker;
  // A small context is not all kept for the answer.
  const answerTokens = Math.min(maxTokens, Math.max(1, Math.floor(contextTokens / 2)));
  const encode = (text: string): number[] => speaker.encode(text);
  return new Conversation({ template: templateOf(speaker), encode, contextTokens, answerTokens, system });
}

interface Parts {
  readonly options: ChatOptions;
  readonly lines: Lines;
  readonly io: Io;
}

async function converse(speaker: Speaker, conversation: Conversation, { options, lines, io }: Parts): Promise<void> {
  for (let turn = 0; ; ) {
    const line = await lines.next();
    if (line === null || line.trim() === '/exit') return;
    if (line.trim() === '') continue;
    if (line.trim() === '/reset') {
      conversation.reset();
      turn = 0;
      continue;
    }
    try {
      const said = await answer(speaker, conversation, line, { options, lines, io, turn });
      turn++;
      conversation.answered(said.text);
    } catch (error) {
      // Too long a line is no reason to leave.
      if (!(error instanceof InferenceError && error.code === 'CONTEXT_LENGTH_EXCEEDED')) throw error;
      io.err(error.message);
    }
  }
}

async function answer(
  speaker: Speaker,
  conversation: Conversation,
  line: string,
  { options, lines, io, turn }: Parts & { readonly turn: number },
): Promise<Speech> {
  const { prompt, forgotten } = conversation.ask(line);
  if (forgotten > 0) io.err(`(the context is full: the ${forgotten} oldest messages are forgotten)`);
  const { turnOpening } = speaker.template!;
  const maxTokens = Math.min(options.maxTokens, speaker.contextTokens - prompt.length);
  const write = (part: string): void => (options.isJson ? undefined : io.write(part));
  const said = await lines.answering((signal) =>
    speech(speaker, prompt, {
      ...options,
      ...{ maxTokens, signal, write },
      stops: [...options.stops, ...(turnOpening === null ? [] : [turnOpening])],
      // The first answer is that of any other program with this seed; later ones draw from streams of their own.
      seed: turn === 0 ? options.seed : `${options.seed} ${turn}`,
    }),
  );
  write('\n');
  const { text, finish, promptTokens, tokens, tokensPerSecond } = said;
  if (options.isJson)
    io.out(JSON.stringify({ role: 'assistant', content: text, finish, promptTokens, tokens, tokensPerSecond }));
  else io.err(`(${speedOf(said)}${finish === 'interrupted' ? '; interrupted' : ''})`);
  return said;
}
