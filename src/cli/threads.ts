/** @file The option `--threads`: 0 stands for all cores. */
import { availableParallelism } from 'node:os';
import type { Settings } from './settings.ts';

export const parseThreads = (settings: Settings): number =>
  settings.count('threads', { min: 0, max: 1024 }) || availableParallelism();
