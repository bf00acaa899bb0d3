/** @file Debian's Chromium for tests of the dashboard: one process a test file, a fresh context a page, faults of the page kept. */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import { debianProgram } from '../support/debian.ts';

export const chromiumProgram = debianProgram('chromium');
export const siteFolder = join(import.meta.dirname, '..', '..', 'web', 'dist');
export const isSiteBuilt = existsSync(join(siteFolder, 'index.html'));
export const needs = `Chromium (${chromiumProgram.need}) and a built dashboard (npm run build:web)`;
export const canRun = chromiumProgram.isThere && isSiteBuilt;

/** As root, Chromium starts only without its sandbox. */
export const launchChromium = (): Promise<Browser> =>
  chromium.launch({ executablePath: chromiumProgram.file, args: ['--no-sandbox', '--disable-gpu'], timeout: 60_000 });

export interface PageOptions {
  readonly theme?: 'dark' | 'light';
  readonly width?: number;
}

export interface OpenedPage {
  readonly page: Page;
  /** What the page threw, and what it asked for elsewhere. */
  readonly faults: readonly string[];
  close(): Promise<void>;
}

export async function openPage(browser: Browser, url: string, options: PageOptions = {}): Promise<OpenedPage> {
  const { theme = 'dark', width = 1280 } = options;
  const context = await browser.newContext({ colorScheme: theme, viewport: { width, height: 800 } });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  const faults: string[] = [];
  page.on('pageerror', (error) => faults.push(error.message));
  page.on('request', (request) => {
    if (new URL(request.url()).origin !== new URL(url).origin) faults.push(`asked ${request.url()}`);
  });
  await page.goto(url, { waitUntil: 'domcontentloaded' });
  return { page, faults, close: () => context.close() };
}

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

interface AxeResult {
  readonly violations: readonly {
    readonly id: string;
    readonly impact: string | null;
    readonly nodes: readonly { readonly html: string }[];
  }[];
}

/** Findings that are serious or worse, as sentences. */
export async function seriousFindings(page: Page): Promise<string[]> {
  await page.evaluate(axeSource);
  const { violations } = (await page.evaluate('axe.run(document, { resultTypes: ["violations"] })')) as AxeResult;
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join(' | ')}`);
}

export const overflowOf = (page: Page): Promise<number> =>
  page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth') as Promise<number>;

/** Steps of a verification that has ended: state and text of each. */
export async function readSteps(page: Page): Promise<Record<string, string>> {
  const rows = await page.locator('.verify-step').all();
  const steps: Record<string, string> = {};
  for (const row of rows) {
    const [name, state] = [await row.getAttribute('data-step'), await row.getAttribute('data-state')];
    steps[name!] = `${state}: ${await row.innerText()}`;
  }
  return steps;
}
