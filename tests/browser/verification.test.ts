/** @file "Verify in this browser" against a recorded real run with its ledger, store and releases, and against falsified ones. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/cli/environment.ts';
import { serveReleases } from '../../src/http/release-files.ts';
import { ManualBlockClock } from '../../src/ledger/block-clock.ts';
import { EmbeddedChain } from '../../src/ledger/embedded.ts';
import type { EventBody, JournalEntry } from '../../src/protocol/messages.ts';
import { FsStore } from '../../src/store/fs.ts';
import { serveStore } from '../../src/store/http-server.ts';
import { canonicalJson } from '../../src/util/canonical-json.ts';
import { type RecordedRun, recordRun } from '../support/recorded-run.ts';
import { ReplayedRun } from '../support/replayed-run.ts';
import { chainAgain, copyOf, flip, ofKind, removeFolders, temporaryFolder } from '../support/tampering.ts';
import { canRun, launchChromium, needs, openPage, readSteps, siteFolder } from './chromium.ts';

const clock = systemClock;

describe.skipIf(!canRun)(`verification in ${needs}`, () => {
  let browser: Browser;
  let recorded: RecordedRun;
  let lines: string[];
  beforeAll(async () => {
    recorded = await recordRun(temporaryFolder());
    lines = recorded.entries.map((entry) => canonicalJson(entry));
    browser = await launchChromium();
  }, 300_000);
  afterAll(async () => {
    await browser?.close();
    await recorded?.close();
    removeFolders();
  });

  async function stepsOf(served: readonly string[], dir: string = recorded.dir): Promise<Record<string, string>> {
    const close = await serve(dir, recorded.entries, served);
    const opened = await openPage(browser, `${close.url}/#/record`);
    try {
      await opened.page.getByRole('button', { name: 'Verify in this browser' }).click();
      await opened.page.locator('.verify-step').first().waitFor();
      await opened.page.getByRole('button', { name: 'Verify again' }).waitFor({ timeout: 120_000 });
      expect(opened.faults).toEqual([]);
      return await readSteps(opened.page);
    } finally {
      await opened.close();
      await close.close();
    }
  }

  it('passes every step on the record as it is', async () => {
    const steps = await stepsOf(lines);
    for (const name of ['journal', 'signatures', 'delegations', 'tree heads', 'ledger', 'anchors', 'releases'])
      expect(steps[name], JSON.stringify(steps, null, 1)).toMatch(/^passed/);
    expect(steps.journal).toContain(`${lines.length.toLocaleString('en-US')} entries`);
  }, 240_000);

  it('finds a flipped byte of a signature at its entry', async () => {
    const { seq, entry } = ofKind(recorded.entries, 'claim-commit', 1);
    const signature = entry.message.signature.replace(/^./, (digit) => (digit === '0' ? '1' : '0'));
    const forged = recorded.entries.with(seq, { ...entry, message: { ...entry.message, signature } });
    const steps = await stepsOf(chainAgain(forged, seq).map((each) => canonicalJson(each)));
    expect(steps.signatures).toMatch(new RegExp(`^failed.*entry ${seq}, claim-commit`, 's'));
  }, 180_000);

  it('finds a changed body, an entry that is left out, two in another order, another text', async () => {
    const { seq, entry } = ofKind(recorded.entries, 'claim-reveal', 1);
    const cases: [string, string[], string, number][] = [
      ['left out', lines.toSpliced(seq, 1), 'journal', seq],
      ['swapped', lines.with(seq, lines[seq + 1]!).with(seq + 1, lines[seq]!), 'journal', seq],
      ['another text', lines.with(seq, ` ${lines[seq]}`), 'journal', seq],
      ['another time', lines.with(seq, canonicalJson({ ...entry, timeMs: entry.timeMs + 1 })), 'journal', seq + 1],
    ];
    for (const [what, served, step, at] of cases) {
      const steps = await stepsOf(served);
      expect(steps[step], `${what}: ${JSON.stringify(steps)}`).toMatch(new RegExp(`^failed.*entry ${at},`, 's'));
      expect(steps.anchors, what).toMatch(/^not checked/);
    }
  }, 300_000);

  it('finds a journal that was cut by what is anchored', async () => {
    const head = recorded.entries.filter(({ message }) => message.kind === 'tree-head')[0]!;
    const steps = await stepsOf(lines.slice(0, head.seq));
    expect(steps.anchors, JSON.stringify(steps)).toMatch(/^failed.*the journal was cut/s);
  }, 180_000);

  it('finds a changed piece of a release file', async () => {
    const { body } = ofKind(recorded.entries, 'release-published', -1);
    const dir = copyOf(recorded.dir);
    const folder = join(dir, 'releases', `release-${body.release}`);
    const name = readdirSync(folder).find((file) => file.endsWith('.safetensors'))!;
    flip(join(folder, name));
    const steps = await stepsOf(lines, dir);
    expect(steps.releases).toMatch(new RegExp(`^failed.*release ${body.release}, ${name}`, 's'));
  }, 180_000);
});

/** API, page, and the record of the folder beside them. */
async function serve(dir: string, entries: readonly JournalEntry[], lines: readonly string[]) {
  const { ledger: binding, owner } = (entries[0]!.message.body as EventBody<'run'>).manifest;
  const blockClock = new ManualBlockClock({ blockMs: binding.blockMs, startMs: entries.at(-1)!.timeMs + 5_000 });
  const chain = await EmbeddedChain.open({
    genesis: { ...binding, owner },
    dir: join(dir, 'ledger'),
    clock: blockClock,
  });
  const store = await FsStore.open(join(dir, 'store'));
  const run = await ReplayedRun.open({
    ...{ entries, clock, site: siteFolder },
    lines: (from, limit) => lines.slice(from, from + limit),
    ledgerHistory: {
      genesis: chain.publicGenesis,
      blocks: (from, limit) => chain.blocks(from, limit),
      calls: (cursor, limit) => chain.calls(cursor, limit),
    },
    mounts: {
      '/store/': serveStore(store, { secret: new Uint8Array(32) }),
      '/releases/': serveReleases(join(dir, 'releases')),
    },
  });
  return {
    url: run.url,
    close: async () => {
      await run.close();
      await chain.close();
    },
  };
}
