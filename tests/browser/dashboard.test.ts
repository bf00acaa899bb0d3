/** @file The dashboard in a real browser over a long recorded journal: every page in both themes and on a phone, keys, a server that goes away. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/cli/environment.ts';
import type { JournalEntry } from '../../src/protocol/messages.ts';
import { makeLargeJournal } from '../support/large-journal.ts';
import { ReplayedRun } from '../support/replayed-run.ts';
import { canRun, launchChromium, needs, openPage, overflowOf, seriousFindings, siteFolder } from './chromium.ts';

const pages = ['', 'training', 'fragments', 'merges', 'miners', 'validators', 'rewards', 'releases', 'record', 'join'];
const clock = systemClock;

describe.skipIf(!canRun)(`the dashboard in ${needs}`, () => {
  let browser: Browser;
  let run: ReplayedRun;
  let entries: readonly JournalEntry[];
  beforeAll(async () => {
    ({ entries } = makeLargeJournal({ events: 3_000, miners: 64 }));
    run = await ReplayedRun.open({ entries, clock, site: siteFolder });
    browser = await launchChromium();
  }, 240_000);
  afterAll(async () => {
    await browser?.close();
    await run?.close();
  });

  it.each(pages)(
    'page "%s": no fault, no serious finding of axe in either theme, no sideways scroll on a phone',
    async (name) => {
      for (const theme of ['dark', 'light'] as const) {
        const { page, faults, close } = await openPage(browser, `${run.url}/#/${name}`, { theme });
        await page.waitForSelector('h1');
        await page.locator('.loading').first().waitFor({ state: 'detached' });
        expect(await page.getByText('This page has a bug').count()).toBe(0);
        expect(await seriousFindings(page), `${name}, ${theme}`).toEqual([]);
        await page.setViewportSize({ width: 360, height: 740 });
        expect(await overflowOf(page), `${name}, ${theme}`).toBeLessThanOrEqual(0);
        expect(faults).toEqual([]);
        await close();
      }
    },
    180_000,
  );

  it('is walked by keys: skip link, navigation, heading', async () => {
    const { page, close } = await openPage(browser, run.url);
    await page.waitForSelector('h1');
    await page.keyboard.press('Tab');
    expect(await page.evaluate('document.activeElement.className')).toContain('skip-link');
    await page.keyboard.press('Enter');
    expect(await page.evaluate('document.activeElement.id')).toBe('main');
    await page.locator('nav a[href="#/record"]').first().focus();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { level: 1, name: 'The record' }).waitFor();
    expect(await page.evaluate('document.activeElement.tagName')).toBe('H1');
    await close();
  }, 120_000);

  it('says when the server is gone, keeps what it showed, and goes on when it is back', async () => {
    const first = await ReplayedRun.open({ entries, clock, site: siteFolder, played: 1_000 });
    const { port } = first.server;
    const { page, close } = await openPage(browser, `${first.url}/#/miners`);
    await page.waitForSelector('table');
    await first.close();
    await page.getByText('Connection lost').waitFor();
    expect(await page.locator('table tbody tr').count()).toBeGreaterThan(0);
    const second = await ReplayedRun.open({ entries, clock, site: siteFolder, port });
    await page
      .getByRole('button', { name: 'Try now' })
      .click({ timeout: 5_000 })
      .catch(() => undefined);
    await page.getByText('Connection lost').waitFor({ state: 'detached' });
    await close();
    await second.close();
  }, 180_000);

  it('is less than 250 KB of gzip in all', () => {
    const assets = readdirSync(join(siteFolder, 'assets')).map((name) =>
      readFileSync(join(siteFolder, 'assets', name)),
    );
    expect(assets.reduce((sum, bytes) => sum + gzipSync(bytes).byteLength, 0)).toBeLessThan(250 * 1024);
  });
});
