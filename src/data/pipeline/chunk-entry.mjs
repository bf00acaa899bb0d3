/** @file Where a tokenising thread begins: registers the TypeScript loader, as `bin/accrete` does, then starts the worker. */
import '../../util/register-typescript.mjs';

await import('./chunk-worker.ts');
