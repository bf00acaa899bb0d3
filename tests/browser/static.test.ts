/** @file The dashboard from plain files below a path, as `accrete snapshot` writes them: no API, no server of ours. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openRecordedRun } from '../../src/cli/api/recorded-run.ts';
import { writeSnapshotFolder } from '../../src/cli/api/snapshot-folder.ts';
import { systemClock } from '../../src/cli/environment.ts';
import { type RecordedRun, recordRun } from '../support/recorded-run.ts';
import { copyOf, flip, removeFolders, temporaryFolder } from '../support/tampering.ts';
import { canRun, launchChromium, needs, openPage, overflowOf, readSteps, seriousFindings } from './chromium.ts';

const base = '/runs/one/';
const types: Readonly<Record<string, string>> = {
  ...{ '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' },
  '.json': 'application/json',
};

describe.skipIf(!canRun)(`the dashboard from files in ${needs}`, () => {
  let browser: Browser;
  let recorded: RecordedRun;
  let out: string;
  beforeAll(async () => {
    recorded = await recordRun(temporaryFolder());
    out = join(temporaryFolder(), 'site');
    const opened = await openRecordedRun({ dir: recorded.dir, clock: systemClock });
    await writeSnapshotFolder(opened, { dir: recorded.dir, out, merges: 50, claims: 50, releases: 1 });
    await opened.close();
    browser = await launchChromium();
  }, 300_000);
  afterAll(async () => {
    await browser?.close();
    await recorded?.close();
    removeFolders();
  });

  it('shows every page, says that it is a snapshot, and asks nothing of anybody else', async () => {
    const { url, close } = await host(out);
    const [learner] = recorded.running.network.orchestrator.run.learners.values();
    for (const name of [
      '',
      'training',
      'merges',
      'miners',
      `miners/${learner!.hotkey}`,
      'validators',
      'rewards',
      'join',
    ]) {
      const { page, faults, close: closePage } = await openPage(browser, `${url}#/${name}`);
      await page.waitForSelector('h1');
      await page.locator('.loading').first().waitFor({ state: 'detached' });
      await page.getByText('A snapshot of').waitFor();
      expect(await page.locator('.state-fault').allInnerTexts(), name).toEqual([]);
      expect(await seriousFindings(page), name).toEqual([]);
      await page.setViewportSize({ width: 360, height: 740 });
      expect(await overflowOf(page), name).toBeLessThanOrEqual(0);
      expect(faults, name).toEqual([]);
      await closePage();
    }
    await close();
  }, 240_000);

  const verified = async (folder: string): Promise<Record<string, string>> => {
    const { url, close } = await host(folder);
    const { page, close: closePage } = await openPage(browser, `${url}#/record`);
    await page.getByText('A snapshot of').waitFor();
    await page.getByRole('button', { name: 'Verify in this browser' }).click();
    await page.getByRole('button', { name: 'Verify again' }).waitFor({ timeout: 120_000 });
    const steps = await readSteps(page);
    await closePage();
    await close();
    return steps;
  };

  it('verifies journal, ledger and release from the files alone', async () => {
    const steps = await verified(out);
    for (const name of ['journal', 'signatures', 'delegations', 'tree heads', 'ledger', 'anchors', 'releases'])
      expect(steps[name], JSON.stringify(steps, null, 1)).toMatch(/^passed/);
  }, 180_000);

  it('finds a changed byte of the journal, and of a release', async () => {
    const forged = copyOf(out);
    flip(join(forged, 'journal.jsonl'));
    expect(Object.values(await verified(forged)).some((step) => step.startsWith('failed'))).toBe(true);
    const other = copyOf(out);
    const [release] = readdirSync(join(out, 'releases'));
    flip(join(other, 'releases', release!, 'model.safetensors'));
    expect((await verified(other)).releases).toMatch(/^failed/);
  }, 240_000);
});

/** As any static host does: a path is a file or nothing. */
async function host(folder: string): Promise<{ readonly url: string; close(): Promise<void> }> {
  const server: Server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url!, 'http://host').pathname);
    const name = path === base ? 'index.html' : path.slice(base.length);
    const file = join(folder, name);
    if (!path.startsWith(base) || name.includes('..') || !existsSync(file) || !statSync(file).isFile()) {
      response.writeHead(404, { 'content-type': 'text/html' }).end('<h1>Not found</h1>');
      return;
    }
    response.writeHead(200, { 'content-type': types[extname(name)] ?? 'application/octet-stream' });
    response.end(readFileSync(file));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}${base}`,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
