/** @file What to type to run a GGUF file in other programs. */
import { basename } from 'node:path';
import { typedPath } from '../paths.ts';

/** llama.cpp's text completion (before December 2025 that was llama-cli with the same options) and chat; Ollama. */
export function ggufCommands(file: string, cwd: string): readonly string[] {
  const [path, modelfile] = [typedPath(file, cwd), typedPath(file.replace(/\.gguf$/, '.Modelfile'), cwd)];
  // Of a model's name Ollama takes letters, digits and these.
  const name = basename(file, '.gguf')
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, '-');
  return [
    `llama-completion -m ${path} -no-cnv -n 64 -p "The people of"     # llama.cpp; llama-cli -m FILE chats`,
    `ollama create ${name} -f ${modelfile} && ollama run ${name} "The people of"`,
  ];
}
