/** @file A restore as docs/operate.md says it: journal, store and ledger copied, put elsewhere, verified; the index made anew. */
import { cpSync, existsSync, mkdtempSync, rmSync, statSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openRecordedRun } from '../src/cli/api/recorded-run.ts';
import { systemClock } from '../src/cli/environment.ts';
import type { Io } from '../src/cli/io.ts';
import { main } from '../src/cli/main.ts';
import { journalFileName, openFileJournal } from '../src/journal/file.ts';
import { type RecordedRun, recordRun } from './support/recorded-run.ts';
import { testModel } from './support/replayed-run.ts';

/** What a back-up holds: nothing else is needed, and in this order, so that the store has all that the journal names. */
const parts = [journalFileName, 'ledger', 'store'];

describe('restore', () => {
  const dir = mkdtempSync(join(tmpdir(), 'accrete-restore-'));
  const [origin, backup, restored] = ['origin', 'backup', 'restored'].map((name) => join(dir, name)) as [
    string,
    string,
    string,
  ];
  let recorded: RecordedRun;
  beforeAll(async () => {
    recorded = await recordRun(origin);
    for (const part of parts) cpSync(join(origin, part), join(backup, part), { recursive: true });
    for (const part of parts) cpSync(join(backup, part), join(restored, part), { recursive: true });
  }, 300_000);
  afterAll(async () => {
    await recorded?.close();
    rmSync(dir, { recursive: true, force: true });
  });

  const run = async (...argv: string[]): Promise<{ readonly exitCode: number; readonly out: string }> => {
    const out: string[] = [];
    const never = new AbortController().signal;
    const tell = (text: string): void => void out.push(text);
    const io: Io = {
      ...{ out: tell, write: tell, err: tell, terminal: null, environment: {}, cwd: dir, stop: never, force: never },
    };
    return { exitCode: await main(argv, io), out: out.join('\n') };
  };

  it('verifies, and its index is that of the origin', async () => {
    const { exitCode, out } = await run('verify', restored);
    expect(exitCode, out).toBe(0);
    const [ours, theirs] = await Promise.all(
      [restored, origin].map((each) => openRecordedRun({ dir: each, clock: systemClock, model: testModel })),
    );
    expect(await ours!.sources.level()).toEqual(await theirs!.sources.level());
    expect(await ours!.sources.index.merges({ limit: 200 })).toEqual(
      await theirs!.sources.index.merges({ limit: 200 }),
    );
    await Promise.all([ours!.close(), theirs!.close()]);
    expect(existsSync(join(restored, 'index'))).toBe(false);
  }, 300_000);

  it('of a journal that was copied while it was written begins after its torn line', async () => {
    const path = join(restored, journalFileName);
    truncateSync(path, statSync(path).size - 5);
    const { journal, cutBytes } = await openFileJournal({ folder: restored });
    expect(cutBytes).toBeGreaterThan(0);
    expect(journal.head.size).toBe(recorded.entries.length - 1);
    await journal.close();
  });
});
