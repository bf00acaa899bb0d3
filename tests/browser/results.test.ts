/** @file The page "Simulations & plans" in a real browser: each kind of result file is drawn, in both themes and on a phone; other files are refused. */
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/cli/environment.ts';
import { nativeEquation } from '../../src/cli/native-ed25519.ts';
import { planRun } from '../../src/plan/plan.ts';
import { fleetAttackNamed } from '../../src/simulate/fleet/fleet-attacks.ts';
import { planFleetFaults } from '../../src/simulate/fleet/fleet-chaos.ts';
import { fleetSchema } from '../../src/simulate/fleet/fleet-file.ts';
import { fleetOutcome } from '../../src/simulate/fleet/fleet-outcome.ts';
import { FleetRun } from '../../src/simulate/fleet/fleet-run.ts';
import { goodputAssumptions, publishedRows } from '../../src/simulate/fleet/goodput.ts';
import { type TrainedOutcome, trainedFormat } from '../../src/simulate/fleet/trained-fleet.ts';
import { makeLargeJournal } from '../support/large-journal.ts';
import { ReplayedRun } from '../support/replayed-run.ts';
import { canRun, launchChromium, needs, openPage, overflowOf, seriousFindings, siteFolder } from './chromium.ts';

const hours = 0.2;
const fleet = fleetSchema.parse({
  name: 'shown',
  machines: [{ kind: 'machine', count: 4, tokensPerSecond: 1_000, spread: 4 }],
  validators: { count: 5, tokensPerSecond: 10_000 },
  run: {
    ...{ preset: 'tiny', sequenceLength: 256, batchSequences: 16, fragments: 4, innerSteps: 4, stateRootEverySteps: 8 },
    ...{ graceSeconds: [1, 5], deadlineSeconds: 60, leaseSequences: 4_096, leaseSeconds: 120 },
    ...{ blockSeconds: 2, tempoBlocks: 90, auditAnswerSeconds: 60 },
  },
});

/** The files as the commands write them, by what the page then shows. */
function makeResults(): Readonly<Record<string, { readonly file: object; readonly shows: readonly string[] }>> {
  const attack = fleetAttackNamed('noise');
  if ('refusal' in attack) throw new Error(attack.refusal);
  const run = new FleetRun({
    ...{ fleet, hours, seed: '1', mode: 'stub', equation: nativeEquation, attack: { attack, share: 0.2 } },
    chaos: planFleetFaults({ seed: 1, count: 4, hours }),
  });
  run.run();
  const command = './bin/accrete simulate --fleet shown';
  const simulation = fleetOutcome(run, { command, name: 'shown', about: '', seed: '1', hours, notes: ['a note'] });
  const trained: TrainedOutcome = {
    ...{ format: trainedFormat, command, name: 'shown', seed: '1', hours, notes: ['a note'], learners: 6 },
    ...{ validators: 3, events: 900, headHash: '0'.repeat(64), merges: 12, failures: [], chaos: { crash: 2 } },
    faults: run.counts,
    samples: [0, 1, 2, 3].map((i) => ({
      ...{ hour: (i * hours) / 3, mergedTokens: 9_000 * i, doneTokens: 10_000 * i, up: 6 - (i % 2) },
      ...{ heldOut: 6.24 - 0.4 * i, modelled: 30 - i },
    })),
  };
  const goodput = {
    ...{ format: 'accrete-goodput/1', command, hours, seed: '1', assumptions: goodputAssumptions },
    rows: publishedRows.map((row) => ({ ...row, ours: row.published + 1, uptime: 99.97, trained: 90, headHash: '' })),
  };
  return {
    simulation: {
      file: simulation,
      shows: ['Attacked: noise', 'Attackers earned', 'Work and pay', 'What went wrong on purpose'],
    },
    trained: { file: trained, shows: ['Held-out loss', 'loss over merged tokens'] },
    goodput: { file: goodput, shows: ['beside Decoupled DiLoCo', '93 %'] },
    plan: {
      file: planRun(run.manifest, fleet, command, ['a note']),
      shows: [
        'What limits it, the worst first',
        'What would change it most',
        'What the store holds',
        'tokens over days',
      ],
    },
  };
}

describe.skipIf(!canRun)(`simulations and plans in ${needs}`, () => {
  let browser: Browser;
  let run: ReplayedRun;
  let results: ReturnType<typeof makeResults>;
  beforeAll(async () => {
    const { entries } = makeLargeJournal({ events: 60, miners: 2 });
    run = await ReplayedRun.open({ entries, clock: systemClock, site: siteFolder });
    results = makeResults();
    browser = await launchChromium();
  }, 300_000);
  afterAll(async () => {
    await browser?.close();
    await run?.close();
  });

  const openFile = (page: Page, text: string): Promise<void> =>
    page.setInputFiles('input[type=file]', {
      name: 'result.json',
      mimeType: 'application/json',
      buffer: Buffer.from(text),
    });

  it.each(['simulation', 'trained', 'goodput', 'plan'])(
    'draws a file of kind %s in both themes, without sideways scroll on a phone',
    async (kind) => {
      const { file, shows } = results[kind]!;
      for (const theme of ['dark', 'light'] as const) {
        const { page, faults, close } = await openPage(browser, `${run.url}/#/results`, { theme });
        await openFile(page, JSON.stringify(file));
        await page.getByText('How it was made').waitFor();
        for (const text of shows) expect(await page.getByText(text).count(), `${kind}: ${text}`).toBeGreaterThan(0);
        expect(await seriousFindings(page), `${kind}, ${theme}`).toEqual([]);
        await page.setViewportSize({ width: 360, height: 740 });
        expect(await overflowOf(page), `${kind}, ${theme}`).toBeLessThanOrEqual(0);
        expect(faults).toEqual([]);
        await close();
      }
    },
    300_000,
  );

  it('says what is wrong with any other file, and shows the next one', async () => {
    const { page, close } = await openPage(browser, `${run.url}/#/results`);
    await page.waitForSelector('input[type=file]');
    await openFile(page, 'no json');
    await page.getByText('the file is not JSON').waitFor();
    await openFile(page, JSON.stringify({ format: 'accrete-plan/2' }));
    await page.getByText('the file is no result of accrete simulate or plan').waitFor();
    await openFile(page, JSON.stringify(results.goodput!.file));
    await page.getByText('beside Decoupled DiLoCo').first().waitFor();
    expect(await page.getByText('The file cannot be shown').count()).toBe(0);
    await close();
  }, 180_000);
});
