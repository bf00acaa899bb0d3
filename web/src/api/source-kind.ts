/** @file Whether the page reads a server or files; `null` until that is known. Apart, for those who ask and those who find out. */
import { signal } from '@preact/signals';

export const sourceKind = signal<'live' | 'snapshot' | null>(null);
