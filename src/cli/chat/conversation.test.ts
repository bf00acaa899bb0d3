/** @file What of a conversation is in the prompt when the context is small. */
import { expect, it } from 'vitest';
import { ChatTemplate } from '../../inference/chat-template.ts';
import { Conversation } from './conversation.ts';

/** A token a character; `s:` and `u:` and `a:` open turns. */
const template = new ChatTemplate(
  "{% for m in messages %}{{ m.role[0] + ':' + m.content + ' ' }}{% endfor %}{% if add_generation_prompt %}{{ 'a:' }}{% endif %}",
);
const encode = (text: string) => [...text].map((letter) => letter.codePointAt(0)!);
const decode = (ids: readonly number[]) => String.fromCodePoint(...ids);

it('holds the history, and forgets the oldest turns where they do not fit, never the system message', () => {
  const chat = new Conversation({ template, encode, contextTokens: 40, answerTokens: 8, system: 'sys' });
  expect(decode(chat.ask('one').prompt)).toBe('s:sys u:one a:');
  chat.answered('first');
  expect(decode(chat.ask('two').prompt)).toBe('s:sys u:one a:first u:two a:');
  chat.answered('second');
  const { prompt, forgotten } = chat.ask('three');
  expect({ text: decode(prompt), forgotten }).toEqual({ text: 's:sys u:two a:second u:three a:', forgotten: 2 });
  expect(chat.turns.map(({ content }) => content)).toEqual(['two', 'second', 'three']);
});

it('refuses a message that does not fit alone, and is as before', () => {
  const chat = new Conversation({ template, encode, contextTokens: 30, answerTokens: 8, system: null });
  chat.ask('one');
  chat.answered('first');
  expect(() => chat.ask('x'.repeat(30))).toThrow(expect.objectContaining({ code: 'CONTEXT_LENGTH_EXCEEDED' }));
  expect(decode(chat.ask('two').prompt)).toBe('u:one a:first u:two a:');
  chat.reset();
  expect(decode(chat.ask('three').prompt)).toBe('u:three a:');
});
