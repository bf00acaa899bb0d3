/** @file The one verification of a page: it goes on while the reader looks at other pages, and its result stays. */
import { signal } from '@preact/signals';
import { baseUrl } from '../api/client.ts';
import type { VerifyProgress, VerifyRequest } from './progress.ts';

export const progress = signal<VerifyProgress | null>(null);
export const isVerifying = signal(false);
/** The verification itself broke: a bug, or a browser without workers. */
export const breakdown = signal<string | null>(null);

let worker: Worker | null = null;

/** `from`: where the record lies, if not beside the page. */
export function startVerification(options: Omit<VerifyRequest, 'base'>): void {
  stopVerification();
  progress.value = null;
  breakdown.value = null;
  isVerifying.value = true;
  const opened = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' });
  worker = opened;
  opened.addEventListener('message', ({ data }: MessageEvent<VerifyProgress>) => {
    if (worker !== opened) return;
    progress.value = data;
    if (data.isDone) stopVerification();
  });
  opened.addEventListener('error', (event) => {
    if (worker !== opened) return;
    breakdown.value = event.message || 'the worker could not be started';
    stopVerification();
  });
  opened.postMessage({ base: baseUrl().href, ...options } satisfies VerifyRequest);
}

export function stopVerification(): void {
  worker?.terminate();
  worker = null;
  isVerifying.value = false;
}
