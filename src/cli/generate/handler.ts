/** @file Does `accrete generate`: the prompt and its continuation on standard output, as it comes. */
import { roomFor } from '../../inference/language-model.ts';
import { UsageError } from '../../util/errors.ts';
import type { Handler } from '../command.ts';
import { openSpeaker } from '../open-model.ts';
import { interruptedExitCode, speech, speedOf } from '../speech.ts';
import { parseGenerateOptions } from './options.ts';

export const handle: Handler = async (settings, io) => {
  const options = parseGenerateOptions(settings);
  const isJson = settings.switch('json');
  const speaker = await openSpeaker(settings, io);
  try {
    const text = options.prompt === '-' ? await readInput() : options.prompt;
    const prompt = speaker.encode(text);
    if (prompt.length === 0) throw new UsageError('--prompt is empty; give at least one character');
    roomFor(speaker.contextTokens, prompt.length, options.maxTokens);
    const write = (part: string) => (isJson ? undefined : io.write(part));
    write(text);
    await speaker.prepare(prompt.length);
    const said = await speech(speaker, prompt, { ...options, signal: io.stop, write });
    write('\n');
    if (isJson) {
      const { promptTokensPerSecond, tokensPerSecond, promptTokens, tokens, finish } = said;
      const speed = { promptTokens, tokens, promptTokensPerSecond, tokensPerSecond };
      io.out(JSON.stringify({ prompt: text, text: said.text, finish, ...speed }));
    } else io.err(speedOf(said));
    return said.finish === 'interrupted' ? interruptedExitCode : 0;
  } finally {
    await speaker.release();
  }
};

const maxInputBytes = 1 << 26;

async function readInput(): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin) {
    chunks.push(chunk as Buffer);
    size += (chunk as Buffer).length;
    if (size > maxInputBytes) throw new UsageError(`--prompt -: more than ${maxInputBytes} bytes on standard input`);
  }
  return Buffer.concat(chunks).toString('utf8');
}
