/** @file A word with a tone; the tone is never the only sign, for the word says it too. */
import type { ComponentChildren } from 'preact';

export type Tone = 'good' | 'warn' | 'bad' | 'info' | 'plain';

export function Badge({ tone, title, children }: { tone: Tone; title?: string; children: ComponentChildren }) {
  return (
    <span class={`badge badge-${tone}`} title={title}>
      {children}
    </span>
  );
}

const healthTones: Readonly<Record<string, Tone>> = {
  healthy: 'good',
  starting: 'info',
  degraded: 'warn',
  stalled: 'bad',
  ended: 'plain',
};
export const healthTone = (word: string): Tone => healthTones[word] ?? 'plain';

const claimTones: Readonly<Record<string, Tone>> = {
  merged: 'good',
  accepted: 'good',
  merging: 'good',
  refused: 'bad',
  voided: 'bad',
};
export const claimTone = (status: string): Tone => claimTones[status] ?? 'info';

export const codeTone = (code: string | null): Tone =>
  code === null ? 'plain' : code === 'OK' ? 'good' : code === 'OPEN' ? 'info' : 'bad';
