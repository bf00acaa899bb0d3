/** @file tmp */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { recordRun } from '../../tests/support/recorded-run.ts';
import { nativeEquation } from '../cli/native-ed25519.ts';
import { formatReport } from '../cli/verify/handler.ts';
import { hashArtifact } from '../store/node-hash.ts';
import { nodeSha256 } from '../util/node-sha256.ts';
import { FolderRecord } from './folder-record.ts';
import { verifyRecord } from './verify.ts';

it('x', { timeout: 120000 }, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'accrete-verify-'));
  const t0 = performance.now();
  const run = await recordRun(dir);
  console.log('made', performance.now() - t0, run.entries.length, dir);
  const record = await FolderRecord.open(dir);
  const t = performance.now();
  const report = await verifyRecord(record, { equation: nativeEquation, sha256: nodeSha256, artifactOf: hashArtifact });
  console.log(performance.now() - t, formatReport(report).join('\n'));
  await run.close();
  expect(report.ok).toBe(true);
});
