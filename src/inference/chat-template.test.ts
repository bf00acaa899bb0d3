/** @file Chat templates: Accrete's own form, forms of others, and strangers' templates that are refused by name. */
import { describe, expect, it } from 'vitest';
import { CHAT_TEMPLATE } from '../data/tokenizer-files.ts';
import { ChatTemplate, readChatTemplate } from './chat-template.ts';

const user = (content: string) => ({ role: 'user', content });
/** As many checkpoints have it. */
const chatMl =
  "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' + '\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

describe('a chat template', () => {
  it('makes the prompt of messages', () => {
    const template = new ChatTemplate(CHAT_TEMPLATE);
    const turns = [{ role: 'system', content: 'Be brief.' }, user('Hi <b>'), { role: 'assistant', content: 'Ho' }];
    expect(template.render([...turns, user('Why?')])).toBe(
      '<role>SYSTEM</role>Be brief.<role>HUMAN</role>Hi <b><role>ASSISTANT</role>Ho<role>HUMAN</role>Why?<role>ASSISTANT</role>',
    );
    expect(template.render([user('{{ 1 + 1 }}')], { addGenerationPrompt: false })).toBe(
      '<role>HUMAN</role>{{ 1 + 1 }}',
    );
  });

  it('tells what opens the next turn, at which an answer ends', () => {
    expect(new ChatTemplate(CHAT_TEMPLATE).turnOpening).toBe('<role>HUMAN</role>');
    expect(new ChatTemplate(chatMl).turnOpening).toBe('<|im_end|>\n<|im_start|>user\n');
    expect(new ChatTemplate("{{ messages[0]['content'] }}").turnOpening).toBeNull();
  });

  it('is refused where it is none, too long, or refuses the messages', () => {
    expect(() => new ChatTemplate('{% for %}')).toThrow(/chat template cannot be used/);
    expect(() => new ChatTemplate('x'.repeat(200_000))).toThrow(/200000 characters/);
    const strict = new ChatTemplate(
      "{% if messages[0].role != 'user' %}{{ raise_exception('user first') }}{% endif %}",
    );
    expect(() => strict.render([{ role: 'system', content: '' }])).toThrow(/user first/);
  });

  it('is read of tokenizer_config.json, or of chat_template.jinja before it', () => {
    const config = JSON.stringify({ chat_template: 'a{{ bos_token }}', bos_token: { content: '<s>' } });
    expect(readChatTemplate(config, null)?.render([])).toBe('a<s>');
    expect(readChatTemplate(config, 'b{{ bos_token }}')?.render([])).toBe('b<s>');
    const named = [
      { name: 'tool_use', template: 't' },
      { name: 'default', template: 'd' },
    ];
    expect(readChatTemplate(JSON.stringify({ chat_template: named }), null)?.render([])).toBe('d');
    expect(readChatTemplate('{}', null)).toBeNull();
    expect(() => readChatTemplate('{"chat_template": 3}', null)).toThrow(/chat_template/);
    expect(() => readChatTemplate('[', null)).toThrow(/no JSON/);
  });
});
