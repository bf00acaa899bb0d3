/** @file Where things lie in a clone. */
import { fileURLToPath } from 'node:url';

const inClone = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

/** Prepared text: made once for all runs of this clone. */
export const corpusDir = inClone('.accrete/corpus');
export const program = inClone('bin/accrete');
export const setupScript = inClone('scripts/setup.mjs');
