/** @file Installs llama.cpp for the tests beside it, in a folder of its own (`bench/llama/install.ts`): it is no dependency. */
import { findLlamaCpp } from '../bench/llama/install.ts';

const installed = findLlamaCpp({ install: false });
if ('missing' in installed) {
  console.error('setup: installing llama.cpp for tests (npm packages, some 80 MB; ACCRETE_NO_LLAMA=1 leaves it out)');
  const found = findLlamaCpp();
  if ('missing' in found) {
    console.error(`setup: ${found.missing}: tests beside llama.cpp are skipped`);
    process.exitCode = 1;
  } else console.error(`setup: ${found.version} installed`);
}
