/** @file Where the learner's thread begins: registers the TypeScript loader, as `bin/accrete` does, then starts the worker. */
import '../../util/register-typescript.mjs';

await import('./learner-worker.ts');
