/** @file Where the thread of `merge-thread.ts` begins: registers the TypeScript loader, then starts the worker. */
import { register } from 'tsx/esm/api';

register();
await import('./merge-worker.ts');
