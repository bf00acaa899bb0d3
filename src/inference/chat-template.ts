/**
 * @file Adapter of `@huggingface/jinja`: a checkpoint's chat template, which makes a prompt of messages. A template is a
 * stranger's program: its text and what it writes are bounded, and it sees nothing but the messages and the special tokens.
 */
import { Template } from '@huggingface/jinja';
import { z } from 'zod';
import { InferenceError } from './errors.ts';

export interface ChatMessage {
  readonly role: string;
  readonly content: string;
}

const maxTemplateLength = 1 << 17;
const maxPromptLength = 1 << 26;
/** What cannot stand in a conversation by chance. */
const marks = ['\u0001first\u0002', '\u0001second\u0002'] as const;

const configSchema = z.looseObject({
  chat_template: z.union([z.string(), z.array(z.looseObject({ name: z.string(), template: z.string() }))]).nullish(),
  bos_token: z.union([z.string(), z.looseObject({ content: z.string() })]).nullish(),
  eos_token: z.union([z.string(), z.looseObject({ content: z.string() })]).nullish(),
});

export class ChatTemplate {
  /** Text with which the template ends an assistant's turn and opens the user's next: the answer ends before it. */
  readonly turnOpening: string | null;
  readonly #template: Template;
  readonly #tokens: Readonly<Record<string, string>>;

  /** @throws InferenceError BAD_CHAT_TEMPLATE */
  constructor(text: string, tokens: Readonly<Record<string, string>> = {}) {
    if (text.length > maxTemplateLength)
      throw bad(`${text.length} characters; a chat template of at most ${maxTemplateLength} is read`);
    try {
      this.#template = new Template(text);
    } catch (cause) {
      throw bad((cause as Error).message, cause);
    }
    this.#tokens = tokens;
    this.turnOpening = this.#findTurnOpening();
  }

  /** The prompt after which the assistant's answer begins. @throws InferenceError BAD_CHAT_TEMPLATE */
  render(messages: readonly ChatMessage[], { addGenerationPrompt = true } = {}): string {
    let text: string;
    try {
      text = this.#template.render({ ...this.#tokens, messages, add_generation_prompt: addGenerationPrompt });
    } catch (cause) {
      throw bad((cause as Error).message, cause);
    }
    if (text.length > maxPromptLength) throw bad(`it makes ${text.length} characters of ${messages.length} messages`);
    return text;
  }

  #findTurnOpening(): string | null {
    const [first, second] = marks;
    const turns = ['hi', first, second].map((content, i) => ({ role: i === 1 ? 'assistant' : 'user', content }));
    let text: string;
    try {
      text = this.render(turns, { addGenerationPrompt: false });
    } catch {
      return null; // A template of one turn: its answers end with the end-of-text token alone.
    }
    const [from, to] = [text.indexOf(first) + first.length, text.indexOf(second)];
    return text.includes(first) && to > from ? text.slice(from, to) : null;
  }
}

/**
 * Of a checkpoint's tokenizer_config.json and, where it is there, chat_template.jinja, which wins. Null where neither names
 * one. @throws InferenceError BAD_CHAT_TEMPLATE
 */
export function readChatTemplate(configText: string, jinja: string | null): ChatTemplate | null {
  let json: unknown;
  try {
    json = JSON.parse(configText);
  } catch (cause) {
    throw bad('tokenizer_config.json is no JSON', cause);
  }
  const config = configSchema.safeParse(json);
  if (!config.success) throw bad(z.prettifyError(config.error).slice(0, 300));
  const { chat_template: stored, bos_token, eos_token } = config.data;
  const named = Array.isArray(stored) ? stored.find(({ name }) => name === 'default')?.template : stored;
  const text = jinja ?? named ?? null;
  if (text === null) return null;
  const tokens: Record<string, string> = {};
  for (const [name, token] of Object.entries({ bos_token, eos_token }))
    if (token) tokens[name] = typeof token === 'string' ? token : token.content;
  return new ChatTemplate(text, tokens);
}

const bad = (why: string, cause?: unknown): InferenceError =>
  new InferenceError('BAD_CHAT_TEMPLATE', `the chat template cannot be used: ${why.slice(0, 500)}`, { cause });
