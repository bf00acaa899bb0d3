/** @file Where a tokenising thread begins: registers the TypeScript loader, as `bin/accrete` does, then starts the worker. */
import { register } from 'tsx/esm/api';

register();
await import('./chunk-worker.ts');
