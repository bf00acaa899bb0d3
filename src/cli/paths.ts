/** @file Where things lie in a clone. */
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const inClone = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

/** Prepared text: made once for all runs of this clone. */
export const corpusDir = inClone('.accrete/corpus');
/** The dashboard as `npm run build:web` leaves it; need not be there. */
export const siteDir = inClone('web/dist');
export const program = inClone('bin/accrete');
export const setupScript = inClone('scripts/setup.mjs');

/** In a run's folder: the answer of `GET /status` when its orchestrator ended. */
export const finalStatusFile = 'final-status.json';

/** As short as it can be typed in `cwd`, quoted where a shell needs it. */
export function typedPath(path: string, cwd: string): string {
  const short = relative(cwd, path);
  const shown = short.startsWith('..') ? path : short || '.';
  return /^[\w./-]+$/.test(shown) ? shown : `'${shown.replaceAll("'", "'\\''")}'`;
}

/** Where `scripts/install-llama.ts` puts node-llama-cpp, in the version that is pinned beside it. */
export function llamaDir(): string {
  const { dependencies } = JSON.parse(readFileSync(inClone('scripts/llama/package.json'), 'utf8'));
  return inClone(`.accrete/bench/node-llama-cpp-${dependencies['node-llama-cpp']}`);
}
/** What was pulled without saying where to. */
export const pulledDir = inClone('.accrete/pulled');
