/** @file The dashboard in a real browser over a long recorded journal: every page in both themes and on a phone, keys, a server that goes away. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/cli/environment.ts';
import type { LedgerView } from '../../src/http/api/sources.ts';
import type { JournalEntry } from '../../src/protocol/messages.ts';
import { makeLargeJournal } from '../support/large-journal.ts';
import { largeLedgerOf } from '../support/large-ledger.ts';
import { ReplayedRun } from '../support/replayed-run.ts';
import { canRun, launchChromium, needs, openPage, overflowOf, seriousFindings, siteFolder } from './chromium.ts';

/** `MINER` stands for one of the run's. */
const pages = [
  ...['', 'training', 'fragments', 'merges', 'merges?step=3', 'miners', 'miners/MINER', 'validators', 'rewards'],
  ...['releases', 'releases/0', 'record', 'join'],
];
const clock = systemClock;

describe.skipIf(!canRun)(`the dashboard in ${needs}`, () => {
  let browser: Browser;
  let run: ReplayedRun;
  let entries: readonly JournalEntry[];
  let ledger: LedgerView | null = null;
  beforeAll(async () => {
    ({ entries } = makeLargeJournal({ events: 3_600, miners: 64 }));
    run = await ReplayedRun.open({
      ...{ entries, clock, site: siteFolder },
      ledger: async () => {
        ledger ??= largeLedgerOf(run.state);
        return ledger;
      },
    });
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
        const { page, faults, close } = await openPage(browser, `${run.url}/#/${pathOf(name)}`, { theme });
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

  function pathOf(name: string): string {
    const [learner] = run.state.learners.values();
    return name.replace('MINER', learner!.hotkey);
  }

  it('takes the focus in the order of the page, and shows where it is', async () => {
    const { page, close } = await openPage(browser, `${run.url}/#/miners`);
    await page.waitForSelector('table');
    const seen: { top: number; name: string; isOutlined: boolean }[] = [];
    for (let i = 0; i < 32; i++) {
      await page.keyboard.press('Tab');
      seen.push((await page.evaluate(focused)) as (typeof seen)[number]);
    }
    expect(seen.filter(({ isOutlined }) => !isOutlined).map(({ name }) => name)).toEqual([]);
    const order = ['skip-link', 'brand', 'button quiet', 'a', 'field', 'sort', 'miner-link'];
    const firsts = order.map((name) => seen.findIndex((each) => each.name.startsWith(name)));
    expect(firsts, JSON.stringify(seen)).toEqual([...firsts].sort((a, b) => a - b));
    expect(firsts).not.toContain(-1);
    const assertive = await page.locator('[aria-live="assertive"]').count();
    expect(assertive).toBe(0);
    await close();
  }, 120_000);

  it('draws the weights matrix, and says what so many tokens would have earned', async () => {
    const { page, close } = await openPage(browser, `${run.url}/#/validators`);
    const matrix = page.locator('table.matrix');
    await matrix.waitFor();
    expect(await matrix.locator('tbody tr').count()).toBe(8);
    expect(await matrix.locator('tfoot').innerText()).toMatch(/Consensus[\s\S]*Incentive/);
    await page.goto(`${run.url}/#/rewards`);
    await page.getByLabel('Verified tokens a day').fill('2000000');
    const rao = ((2 * minerRao(ledger!)) / scoredTokens(run)) * 1e6;
    expect(await page.locator('.result').innerText()).toContain(`${(rao / 1e9).toPrecision(4)} τ a day`);
    await close();
  }, 120_000);

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

/** Of all closed tempos. */
const minerRao = ({ epochs }: LedgerView): number => epochs.reduce((sum, epoch) => sum + epoch.minerRao, 0);
const scoredTokens = ({ state }: ReplayedRun): number =>
  state.tempo.history.flatMap(({ work }) => work).reduce((sum, { cellTokens }) => sum + cellTokens, 0) /
  state.fragments.length;

/** Runs in the page: what has the focus, by its class or tag, and whether a ring is drawn around it. */
const focused = `(() => {
  const at = document.activeElement;
  const { outlineStyle, outlineWidth } = getComputedStyle(at);
  return {
    top: at.getBoundingClientRect().top,
    name: at.className || at.tagName.toLowerCase(),
    isOutlined: outlineStyle !== 'none' && parseFloat(outlineWidth) >= 1,
  };
})()`;
