/** @file Where the thread of `merge-thread.ts` begins: registers the TypeScript loader, then starts the worker. */
import '../util/register-typescript.mjs';

await import('./merge-worker.ts');
