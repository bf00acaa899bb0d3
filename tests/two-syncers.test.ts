/**
 * @file Two syncers as real processes: the leader is killed between a merge and its fragment, and frozen past its lead; the other
 * goes on, nothing is lost or counted twice, and the record verifies. Times are printed, not asserted.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { nativeEquation } from '../src/cli/native-ed25519.ts';
import type { EventBody } from '../src/protocol/messages.ts';
import { RunFold } from '../src/roles/orchestrator/run-fold.ts';
import { auditCounts } from '../src/simulate/chaos/counted-once.ts';
import { syncerNames, TwoSyncers } from './support/two-syncers.ts';

const root = mkdtempSync(join(tmpdir(), 'accrete-two-'));
let network: TwoSyncers | null = null;
afterAll(async () => {
  await network?.close();
  rmSync(root, { recursive: true, force: true });
});

it('go on when the leader is killed in a merge, and when it is frozen and wakes', { timeout: 900_000 }, async () => {
  network = await TwoSyncers.open(root);
  const first = network.leader();
  const second = syncerNames.find((name) => name !== first)!;

  const outerStep = await network.killInMerge(first);
  const killedAtMs = performance.now();
  const published = () =>
    network!
      .entries(second)
      .filter(({ message }) => message.kind === 'fragment-published')
      .filter(({ message }) => (message.body as EventBody<'fragment-published'>).outerStep === outerStep);
  await network.until(() => published().length > 0, 'the merge that was half done');
  console.log(`killed in a merge: done by the other after ${Math.round(performance.now() - killedAtMs)} ms`);
  expect(network.leader()).toBe(second);
  const merges = network.merges(second);
  await network.until(() => network!.merges(second) >= merges + 2, 'merges of the second leader');

  network.startSyncer(first);
  await network.until(() => network!.logOf(first).includes('standing by'), 'the first to follow');
  network.signal(second, 'SIGSTOP');
  const frozenAtMs = performance.now();
  const before = network.merges(second);
  await network.until(() => network!.merges(first) >= before + 2, 'merges while the second is frozen');
  console.log(`frozen: two merges of the other after ${Math.round(performance.now() - frozenAtMs)} ms`);
  expect(network.leader()).toBe(first);
  const told = network.lines(second).length;
  network.signal(second, 'SIGCONT');
  // What it had begun is refused; it follows from there.
  await network.until(() => network!.logOf(second).includes('the lead is lost'), 'the frozen leader to be told');
  await network.until(() => network!.lines(second).length > told + 5, 'it to follow');

  const merged = network.merges(first);
  await network.until(() => network!.merges(first) >= merged + 2, 'merges with both there');
  await network.close();
  const [last, copy] = [network.lines(first), network.lines(second)];
  expect(last.slice(0, copy.length)).toEqual(copy);
  const fold = new RunFold({ equation: nativeEquation });
  const entries = network.entries(first);
  for (const entry of entries) fold.take(entry);
  expect(auditCounts(entries, fold.run)).toEqual([]);
  const { code, out } = await network.verify(first);
  expect(code, out).toBe(0);
});
