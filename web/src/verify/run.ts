/** @file The one verification of a page: it goes on while the reader looks at other pages, and its result stays. */
import { signal } from '@preact/signals';
import type { ApiSnapshot } from '../../../src/protocol/api/snapshot.ts';
import { baseUrl } from '../api/client.ts';
import { snapshot } from '../api/source.ts';
import type { VerifyProgress, VerifyRequest } from './progress.ts';

export const progress = signal<VerifyProgress | null>(null);
export const isVerifying = signal(false);
/** The verification itself broke: a bug, or a browser without workers. */
export const breakdown = signal<string | null>(null);

let worker: Worker | null = null;

/** Of the record that lies beside the page. */
export function startVerification(options: Omit<VerifyRequest, 'base' | 'files'>): void {
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
  opened.postMessage({ base: baseUrl().href, files: filesOf(snapshot.peek()), ...options } satisfies VerifyRequest);
}

const filesOf = (told: ApiSnapshot | null): VerifyRequest['files'] =>
  told === null ? null : { journalPath: told.journalPath, hasLedger: told.hasLedger };

export function stopVerification(): void {
  worker?.terminate();
  worker = null;
  isVerifying.value = false;
}
