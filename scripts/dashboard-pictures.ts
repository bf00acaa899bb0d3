/**
 * @file Pictures of the dashboard for the documents: `node --import tsx scripts/dashboard-pictures.ts URL FOLDER [RESULT.json]` opens the
 * network at URL in Debian's Chromium and writes `overview-dark.webp`, `miner-light.webp` (the first miner by work) and, with a result
 * file of `accrete plan` or `simulate`, `results-dark.webp`. It changes nothing of the run.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Browser, Page } from 'playwright-core';
import { canRun, launchChromium, needs, openPage } from '../tests/browser/chromium.ts';

/** Answers are there and curves are drawn. */
const settleMs = 5_000;

interface Picture {
  readonly name: string;
  readonly path: string;
  readonly theme: 'dark' | 'light';
  readonly prepare?: (page: Page) => Promise<unknown>;
}

function picturesOf(result: string | undefined): Picture[] {
  const toMiner = async (page: Page): Promise<void> => {
    await page.locator('a[href*="#/miners/"]').first().click();
  };
  const toResult = (page: Page): Promise<void> =>
    page.setInputFiles('input[type=file]', {
      ...{ name: 'result.json', mimeType: 'application/json', buffer: readFileSync(result!) },
    });
  return [
    { name: 'overview-dark', path: '', theme: 'dark' },
    { name: 'miner-light', path: '#/miners', theme: 'light', prepare: toMiner },
    ...(result === undefined
      ? []
      : [{ name: 'results-dark', path: '#/results', theme: 'dark' as const, prepare: toResult }]),
  ];
}

async function take(browser: Browser, url: string, { path, theme, prepare }: Picture): Promise<Buffer> {
  const { page, close } = await openPage(browser, `${url}/${path}`, { theme });
  await sleep(settleMs);
  await prepare?.(page);
  await sleep(settleMs);
  // Playwright writes PNG and JPEG only; a page in WebP has a quarter of their bytes.
  const session = await page.context().newCDPSession(page);
  const height = (await page.evaluate('document.documentElement.scrollHeight')) as number;
  const { data } = await session.send('Page.captureScreenshot', {
    ...{ format: 'webp', quality: 85, captureBeyondViewport: true },
    clip: { x: 0, y: 0, width: 1_280, height: Math.min(height, 1_600), scale: 1 },
  });
  await close();
  return Buffer.from(data, 'base64');
}

async function main([url, folder, result]: readonly string[]): Promise<number> {
  if (url === undefined || folder === undefined || !canRun) {
    console.error(`dashboard-pictures: expected URL FOLDER [RESULT.json], ${needs}`);
    return 2;
  }
  const browser = await launchChromium();
  for (const picture of picturesOf(result)) {
    const file = join(folder, `${picture.name}.webp`);
    writeFileSync(file, await take(browser, url.replace(/\/+$/, ''), picture));
    console.error(`${file} is written`);
  }
  await browser.close();
  return 0;
}

process.exitCode = await main(process.argv.slice(2));
