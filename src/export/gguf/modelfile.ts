/** @file Ollama's Modelfile for a GGUF file that lies beside it: `ollama create NAME -f FILE`. */
import { CHAT_TEMPLATE_MARKS } from './chat-marks.ts';

export interface ModelfileOptions {
  readonly file: string;
  readonly contextLength: number;
  /** Whether the tokenizer's chat template is the project's. */
  readonly hasChatTemplate: boolean;
}

export function renderModelfile({ file, contextLength, hasChatTemplate }: ModelfileOptions): string {
  const { open, close, assistant } = CHAT_TEMPLATE_MARKS;
  const role = (name: string): string => `${open}${name}${close}`;
  const template = [
    `{{ range .Messages }}{{ if eq .Role "system" }}${role('SYSTEM')}{{ .Content }}{{ end }}`,
    `{{ if eq .Role "user" }}${role('HUMAN')}{{ .Content }}{{ end }}`,
    `{{ if eq .Role "assistant" }}${role(assistant)}{{ .Content }}{{ end }}{{ end }}${role(assistant)}`,
  ].join('');
  return [
    `FROM ./${file}`,
    `PARAMETER num_ctx ${contextLength}`,
    'PARAMETER temperature 0.8',
    'PARAMETER top_k 40',
    ...(hasChatTemplate
      ? [`PARAMETER stop "${open}"`, `TEMPLATE """${template}"""`]
      : ['TEMPLATE """{{ .Prompt }}"""']),
    '',
  ].join('\n');
}
