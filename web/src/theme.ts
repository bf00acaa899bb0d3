/** @file Dark, light, or what the system says. Charts read their colours anew when `themeChange` counts up. */
import { signal } from '@preact/signals';

export type Theme = 'auto' | 'dark' | 'light';
const key = 'accrete-theme';
const themes: readonly Theme[] = ['auto', 'dark', 'light'];

const given = globalThis.document?.documentElement.dataset.theme;
export const theme = signal<Theme>(given === 'dark' || given === 'light' ? given : 'auto');
export const themeChange = signal(0);

globalThis.matchMedia?.('(prefers-color-scheme: light)').addEventListener('change', () => themeChange.value++);

export const nextTheme = (): Theme => themes[(themes.indexOf(theme.value) + 1) % themes.length]!;

export function setTheme(next: Theme): void {
  theme.value = next;
  if (next === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  try {
    if (next === 'auto') localStorage.removeItem(key);
    else localStorage.setItem(key, next);
  } catch {
    // Storage may be forbidden: the choice lasts for this visit.
  }
  themeChange.value++;
}
