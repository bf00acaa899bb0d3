/** @file Installs llama.cpp for the tests beside it, in a folder of its own (`bench/llama/install.ts`): it is no dependency. */
import { findLlamaCpp } from '../bench/llama/install.ts';

const found = findLlamaCpp();
if ('missing' in found) {
  console.error(`setup: ${found.missing}: tests beside llama.cpp are skipped`);
  process.exitCode = 1;
}
