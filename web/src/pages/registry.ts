/**
 * @file All pages as data: navigation, routes and titles follow from it. To add one: write `pages/NAME.tsx` with a default
 * export that takes `PageProps`, and a line here. Pages but the overview are loaded when they are first opened.
 */
import type { ComponentType } from 'preact';
import type { PageProps } from './page.ts';

export type PageGroup = 'Run' | 'People' | 'Record' | 'Take part';
export const pageGroups: readonly PageGroup[] = ['Run', 'People', 'Record', 'Take part'];

export interface Page {
  /** Pattern of the address after `#/`. */
  readonly path: string;
  readonly title: string;
  readonly group: PageGroup;
  /** False: reached from another page, no line in the navigation. */
  readonly isInNavigation: boolean;
  readonly load: () => Promise<{ readonly default: ComponentType<PageProps> }>;
}

const page = (path: string, title: string, group: PageGroup, load: Page['load'], isInNavigation = true): Page => ({
  path,
  title,
  group,
  load,
  isInNavigation,
});

export const pages: readonly Page[] = [
  page('', 'Overview', 'Run', () => import('./overview.tsx')),
  page('training', 'Loss & throughput', 'Run', () => import('./training.tsx')),
  page('fragments', 'Fragments', 'Run', () => import('./fragments.tsx')),
  page('merges', 'Merges', 'Run', () => import('./merges.tsx')),
  page('miners', 'Miners', 'People', () => import('./miners.tsx')),
  page('miners/:hotkey', 'Miner', 'People', () => import('./miner.tsx'), false),
  page('validators', 'Validators', 'People', () => import('./validators.tsx')),
  page('rewards', 'Rewards', 'People', () => import('./rewards.tsx')),
  page('releases', 'Releases', 'Record', () => import('./releases.tsx')),
  page('record', 'Record & proof', 'Record', () => import('./record.tsx')),
  page('join', 'Join', 'Take part', () => import('./join.tsx')),
  page('results', 'Simulations & plans', 'Take part', () => import('./results.tsx')),
];
