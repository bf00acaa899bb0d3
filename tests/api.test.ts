/** @file The read API of a real small run, recorded to a folder: its answers fit their schemas and the ledger, and can be snapshot. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openRecordedRun } from '../src/cli/api/recorded-run.ts';
import { systemClock } from '../src/cli/environment.ts';
import { main } from '../src/cli/main.ts';
import { answers, levelled } from '../src/http/api/answers.ts';
import type { Sources } from '../src/http/api/sources.ts';
import { apiRoutes } from '../src/protocol/api/routes.ts';
import { snapshotSchema } from '../src/protocol/api/snapshot.ts';
import { type RecordedRun, recordRun } from './support/recorded-run.ts';
import { testIo } from './support/test-io.ts';

let folder: string;
let recorded: RecordedRun;
let opened: Awaited<ReturnType<typeof openRecordedRun>>;
let sources: Sources;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'accrete-api-'));
  recorded = await recordRun(join(folder, 'run'));
  opened = await openRecordedRun({ dir: recorded.dir, clock: systemClock });
  sources = await levelled(opened.sources);
}, 600_000);
afterAll(async () => {
  await opened.close();
  await recorded.close();
  rmSync(folder, { recursive: true, force: true });
});

describe('a recorded run', () => {
  it('is at the state that it ended with', () => {
    const { run } = recorded.running.network.orchestrator;
    expect(sources.asOf).toEqual({ size: run.size, headHash: run.headHash, atMs: run.lastTimeMs });
  });

  it('answers with model, join commands and phases', async () => {
    const run = apiRoutes.run.answer.strict().parse(await answers.run(sources, {}, {}));
    expect(run.preset).toBe('tiny');
    expect(run.model.paramsTotal).toBeGreaterThan(run.model.paramsActive);
    expect(run.join.mineCommand).toContain('--join {url}');
    expect(run.phases[0]).toMatchObject({ index: 0, fromTokens: 0, startedAtTokens: 0 });
  });

  it('answers with what the ledger paid, to the rao', async () => {
    const rewards = apiRoutes.rewards.answer.strict().parse(await answers.rewards(sources, {}, {}));
    const neurons = await recorded.running.network.ledger.metagraph();
    const { totals, tempos } = rewards;
    expect(tempos.length).toBeGreaterThan(1);
    for (const each of tempos) {
      const parts = each.minerRao + each.validatorRao + each.ownerRao;
      // Of each emission 18 % are the owner's, but where nobody else can be paid.
      expect([0.18, 1]).toContain(Math.round((each.ownerRao / parts) * 1_000) / 1_000);
    }
    const ledger = (await sources.ledger())!;
    const known = ledger.epochs.at(-1)!.block;
    const paid = neurons.reduce((sum, { emissionRao }) => sum + emissionRao, 0);
    // The live chain may have ended a tempo after the last call that the record holds.
    expect(totals.minerRao + totals.validatorRao).toBeLessThanOrEqual(paid);
    expect(totals.minerRao).toBeGreaterThan(0);
    expect(known % recorded.running.network.ledger.tempoBlocks).toBe(0);
    expect(rewards.payout!.minerRaoPerMillionTokens).toBeGreaterThan(0);
    const weights = apiRoutes.weights.answer.strict().parse(await answers.weights(sources, {}, {}));
    expect(weights.neurons.length).toBe(neurons.length);
    expect(weights.rows.length).toBeGreaterThan(0);
    for (const { weights: row } of weights.rows)
      expect(row.reduce((sum, [, share]) => sum + share, 0)).toBeCloseTo(1, 9);
  });

  it('answers with heads that the ledger holds, audits and evaluations', async () => {
    const record = apiRoutes.record.answer.strict().parse(await answers.record(sources, {}, {}));
    expect(record.treeHeads.filter(({ isAnchored }) => isAnchored).length).toBeGreaterThan(0);
    expect(record.commitment!.data).toBe(record.treeHeads.find(({ isAnchored }) => isAnchored)!.root);
    expect(record.segments.length).toBe(sources.state.releases.length - 1);
    expect(record.segments.every(({ merges }) => merges > 0)).toBe(true);
    const overview = apiRoutes.overview.answer.strict().parse(await answers.overview(sources, {}, {}));
    expect(overview.audits.passed).toBeGreaterThan(0);
    expect(overview.health.word).toBe('ended');
    expect(overview.heldOutLosses['held-out']).toBeLessThan(overview.initialLosses['held-out']!);
    const release = await answers.release(sources, { release: sources.state.releases.length - 1 }, {});
    expect(apiRoutes.release.answer.strict().parse(release).modelCard).toContain('quasar_long');
    const { hotkey } = [...sources.state.learners.values()][0]!;
    const miner = apiRoutes.miner.answer.strict().parse(await answers.miner(sources, { hotkey }, {}));
    expect(miner.auditDetails.length).toBeGreaterThan(0);
    expect(miner.ledger!.emissionRao).toBeGreaterThan(0);
    expect(miner.isActive).toBeNull();
  });

  it('is written as files by `accrete snapshot`, which reads a folder and changes nothing in it', async () => {
    const out = join(folder, 'site');
    const before = readFileSync(join(recorded.dir, 'journal.jsonl'));
    const { io, lines } = testIo({ cwd: folder });
    expect(await main(['snapshot', recorded.dir, '--out', out], io)).toBe(0);
    expect(lines.join('\n')).toMatch(new RegExp(`^\\d+ files of ${sources.asOf.size} entries in `));
    const snapshot = snapshotSchema.parse(JSON.parse(readFileSync(join(out, 'api/v1/snapshot.json'), 'utf8')));
    for (const name of snapshot.files) expect(existsSync(join(out, 'api/v1', name)), name).toBe(true);
    expect(snapshot.asOf).toEqual(sources.asOf);
    expect(readFileSync(join(out, snapshot.journalPath!))).toEqual(before);
    expect(readFileSync(join(recorded.dir, 'journal.jsonl'))).toEqual(before);
  });

  it('is refused where no run lies', async () => {
    const { io, errors } = testIo({ cwd: folder });
    expect(await main(['snapshot', join(folder, 'nothing')], io)).not.toBe(0);
    expect(errors.join('\n')).toContain('no run lies there');
  });
});
