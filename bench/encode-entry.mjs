/** @file Where a thread of the data bench begins. */
import { register } from 'tsx/esm/api';

register();
await import('./encode-worker.ts');
