/**
 * @file The dashboard in headless Chromium over a long journal (--run DIR, as `scripts/large-journal.ts` writes it): first paint,
 * interactive, frames while the table of miners scrolls, memory of the page, size of the bundle, each beside its bar. Wall times
 * say how busy the machine is; the processor time of the page's main thread stands beside them.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import type { Browser, CDPSession, Page } from 'playwright-core';
import { journalFileName } from '../src/journal/file.ts';
import type { JournalEntry } from '../src/protocol/messages.ts';
import { canRun, launchChromium, needs, siteFolder } from '../tests/browser/chromium.ts';
import { largeLedgerOf } from '../tests/support/large-ledger.ts';
import { ReplayedRun } from '../tests/support/replayed-run.ts';
import { type Bench, type BenchRow, percentile } from './measure.ts';
import { frameWork, type TraceEvent } from './page-trace.ts';

const loads = 7;
/** Entries that come in while the table scrolls a second time. */
const liveEntries = 600;
const frameMs = 1_000 / 60;
/** The browser's clock ticks unevenly by so much without a frame being late. */
const jitterMs = 1.5;

const pause = (ms: number): Promise<void> => sleep(ms);

export const dashboard: Bench = {
  name: 'dashboard',
  about: 'the dashboard in headless Chromium over a journal (--run DIR)',
  async run({ run }) {
    const path = join(run, journalFileName);
    if (!canRun) return [{ what: 'skipped', value: '', detail: `needs ${needs}` }];
    if (!existsSync(path))
      return [{ what: 'skipped', value: '', detail: `no journal in ${run}; scripts/large-journal.ts makes one` }];
    const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
    const entries = lines.map((line) => JSON.parse(line) as JournalEntry);
    const served = await serve(entries);
    const browser = await launchChromium();
    try {
      return await measureAll(browser, served);
    } finally {
      await browser.close();
      await served.close();
    }
  },
};

async function serve(entries: readonly JournalEntry[]): Promise<ReplayedRun> {
  const startedMs = performance.now();
  const baseMs = entries.at(-1)!.timeMs + 1_000;
  const clock = { nowMs: () => Math.floor(baseMs + performance.now() - startedMs), sleep: pause };
  const played = entries.length - liveEntries;
  let ledger: Promise<ReturnType<typeof largeLedgerOf>> | null = null;
  const run: ReplayedRun = await ReplayedRun.open({
    ...{ entries, clock, played, site: siteFolder, requestsPerMinute: 1_000_000 },
    ledger: () => {
      ledger ??= Promise.resolve(largeLedgerOf(run.state));
      return ledger;
    },
  });
  return run;
}

async function measureAll(browser: Browser, run: ReplayedRun): Promise<BenchRow[]> {
  const learners = run.state.learners.size;
  const rows: BenchRow[] = [
    {
      what: 'run',
      value: `${run.state.size}`,
      detail: `entries, ${learners} learners; load average ${loadavg()[0]!.toFixed(1)}`,
    },
  ];
  for (const name of ['', 'miners']) rows.push(...(await measureLoads(browser, `${run.url}/#/${name}`, name)));
  const { page, session, close } = await open(browser, `${run.url}/#/miners`);
  rows.push(...(await measureScroll(page, session, 'scrolling miners')));
  const isOver = play(run);
  rows.push(...(await measureScroll(page, session, 'the same, the run going on')));
  await isOver;
  rows.push(...(await measureMemory(page, session, 'memory, miners')));
  for (const name of ['', 'training', 'merges', 'validators', 'rewards', 'record', 'miners']) {
    await page.goto(`${run.url}/#/${name}`);
    await settled(page);
  }
  rows.push(...(await measureMemory(page, session, 'memory, after seven pages')));
  await close();
  return [...rows, bundleRow()];
}

async function play(run: ReplayedRun): Promise<void> {
  for (let i = 0; i < liveEntries; i += 20) {
    await run.play(20);
    await pause(200);
  }
}

interface Opened {
  readonly page: Page;
  readonly session: CDPSession;
  close(): Promise<void>;
}

/** A new context: nothing is cached. */
async function open(browser: Browser, url: string): Promise<Opened> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  const session = await context.newCDPSession(page);
  await session.send('Performance.enable', { timeDomain: 'threadTicks' });
  await page.addInitScript(noteWhenSettled);
  await page.goto(url, { waitUntil: 'domcontentloaded' });
  await settled(page);
  return { page, session, close: () => context.close() };
}

/** Runs in the page: when it first showed a heading and nothing of it was still loading. */
const noteWhenSettled = `
  new MutationObserver((_, observer) => {
    if (document.querySelector('h1') === null || document.querySelector('.loading') !== null) return;
    requestAnimationFrame(() => setTimeout(() => { window.settledAtMs ??= performance.now(); }));
    observer.disconnect();
  }).observe(document, { childList: true, subtree: true });`;

async function settled(page: Page): Promise<void> {
  await page.waitForSelector('h1');
  await page.locator('.loading').first().waitFor({ state: 'detached' });
}

async function measureLoads(browser: Browser, url: string, name: string): Promise<BenchRow[]> {
  const paints: number[] = [];
  const settledAt: number[] = [];
  const work: number[] = [];
  for (let i = 0; i < loads; i++) {
    const { page, session, close } = await open(browser, url);
    await page.waitForFunction(() => (globalThis as { settledAtMs?: number }).settledAtMs !== undefined);
    paints.push((await page.evaluate('performance.getEntriesByName("first-contentful-paint")[0].startTime')) as number);
    settledAt.push((await page.evaluate('window.settledAtMs')) as number);
    work.push((await metricOf(session, 'TaskDuration')) * 1_000);
    await close();
  }
  const page = name === '' ? 'overview' : name;
  const ms = (values: readonly number[], share: number): string => `${Math.round(percentile(values, share))} ms`;
  const range = (values: readonly number[]): string => `${ms(values, 0)} to ${ms(values, 1)}, ${loads} loads`;
  return [
    { what: `${page}: first paint`, value: ms(paints, 0.5), detail: `bar 1,000 ms; ${range(paints)}` },
    { what: `${page}: interactive`, value: ms(settledAt, 0.5), detail: `bar 2,000 ms; ${range(settledAt)}` },
    { what: `${page}: main thread`, value: ms(work, 0.5), detail: `of processor up to then; ${range(work)}` },
  ];
}

async function metricOf(session: CDPSession, name: string): Promise<number> {
  const { metrics } = await session.send('Performance.getMetrics');
  return metrics.find((metric) => metric.name === name)?.value ?? Number.NaN;
}

/** Down and up again at 2,400 pixels a second. */
async function measureScroll(page: Page, session: CDPSession, what: string): Promise<BenchRow[]> {
  await page.evaluate(startFrames);
  const trace = await traced(session, async () => {
    for (const yDistance of [-4_800, 4_800])
      await session.send('Input.synthesizeScrollGesture', {
        ...{ x: 640, y: 500, yDistance, speed: 2_400, preventFling: true, gestureSourceType: 'mouse' },
      });
  });
  const frames = (await page.evaluate('window.stopFrames()')) as number[];
  const late = frames.filter((ms) => ms > frameMs + jitterMs).length;
  const work = frameWork(trace);
  const share = (part: number, of: number): string => `${((100 * part) / of).toFixed(1)} %`;
  return [
    {
      what: `${what}: late frames`,
      value: share(late, frames.length),
      detail: `of ${frames.length} took over 16.7 ms; the longest ${Math.max(...frames).toFixed(0)} ms, p99 ${percentile(frames, 0.99).toFixed(1)} ms`,
    },
    {
      what: `${what}: work of a frame`,
      value: `${percentile(work, 0.5).toFixed(1)} ms`,
      detail: `of processor on the main thread; p99 ${percentile(work, 0.99).toFixed(1)} ms, most ${Math.max(...work).toFixed(1)} ms; ${share(work.filter((ms) => ms > frameMs).length, work.length)} of ${work.length} frames over 16.7 ms`,
    },
  ];
}

const startFrames = `
  (() => {
    const frames = [];
    let last = null;
    let isOn = true;
    const tick = (now) => {
      if (last !== null) frames.push(now - last);
      last = now;
      if (isOn) requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
    window.stopFrames = () => { isOn = false; return frames; };
  })()`;

async function traced(session: CDPSession, work: () => Promise<void>): Promise<TraceEvent[]> {
  const events: TraceEvent[] = [];
  session.on('Tracing.dataCollected', ({ value }) => events.push(...(value as unknown as TraceEvent[])));
  const isComplete = new Promise<void>((resolve) => session.once('Tracing.tracingComplete', () => resolve()));
  const includedCategories = ['toplevel', 'devtools.timeline', '__metadata'];
  await session.send('Tracing.start', { traceConfig: { includedCategories }, transferMode: 'ReportEvents' });
  await work();
  await session.send('Tracing.end');
  await isComplete;
  return events;
}

/** After a collection of garbage: what the page holds, not what it has not given back yet. */
async function measureMemory(page: Page, session: CDPSession, what: string): Promise<BenchRow[]> {
  await session.send('HeapProfiler.collectGarbage');
  const heapBytes = await metricOf(session, 'JSHeapUsedSize');
  const nodes = await metricOf(session, 'Nodes');
  const browser = await page.context().browser()!.newBrowserCDPSession();
  const { processInfo } = (await browser.send('SystemInfo.getProcessInfo')) as {
    processInfo: readonly { readonly type: string; readonly id: number }[];
  };
  // The largest: one context is open, others are spares.
  const privateBytes = Math.max(
    ...processInfo.filter(({ type }) => type === 'renderer').map(({ id }) => privateOf(id)),
  );
  const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
  return [
    { what, value: megabytes(heapBytes), detail: `JavaScript heap, ${nodes} nodes; bar 150 MB` },
    {
      what: `${what}: process`,
      value: Number.isFinite(privateBytes) ? megabytes(privateBytes) : 'not known',
      detail: 'private memory of the whole renderer, the engine with it; bar 150 MB',
    },
  ];
}

/** Bytes that no other process shares (Linux); NaN elsewhere. */
function privateOf(pid: number): number {
  try {
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    return [...rollup.matchAll(/^Private_\w+:\s+(\d+) kB/gm)].reduce((sum, [, kib]) => sum + Number(kib) * 1_024, 0);
  } catch {
    return Number.NaN;
  }
}

function bundleRow(): BenchRow {
  const assets = join(siteFolder, 'assets');
  const sizes = readdirSync(assets).map((name) => gzipSync(readFileSync(join(assets, name))).byteLength);
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  return {
    what: 'bundle',
    value: `${Math.round(bytes / 1_024)} KB`,
    detail: 'all files with gzip, those of pages not opened too; bar 250 KB',
  };
}
